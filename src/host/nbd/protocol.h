// The NBD protocol (fixed newstyle) as bytes: constants, decoders, encoders. Pure. All numbers on the wire
// are big-endian. Decoders take what the network sent and return an error for anything that is not
// well-formed; they never assert.
//
//   server: greeting            client: client flags
//   client: option header, data          server: any number of option replies, the last one final
//   ... until EXPORT_NAME or GO is granted; then requests and replies, matched by cookie, in any order.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/codec.h"
#include "base/result.h"

namespace braid::nbd {

constexpr std::uint64_t kGreetingMagic = 0x4e42444d41474943;  ///< "NBDMAGIC"
constexpr std::uint64_t kOptionMagic = 0x49484156454f5054;    ///< "IHAVEOPT"
constexpr std::uint64_t kOptionReplyMagic = 0x0003e889045565a9;
constexpr std::uint32_t kRequestMagic = 0x25609513;
constexpr std::uint32_t kSimpleReplyMagic = 0x67446698;
constexpr std::uint32_t kChunkMagic = 0x668e33ef;

constexpr std::size_t kGreetingSize = 18, kClientFlagsSize = 4, kOptionHeaderSize = 16, kRequestSize = 28;
constexpr std::size_t kSimpleReplySize = 16, kChunkHeaderSize = 20, kExportNamePadding = 124;
constexpr std::size_t kMaxNameLength = 4096;
constexpr std::size_t kMaxQueries = 64;

constexpr std::uint32_t kMinimumBlock = 1, kPreferredBlock = 4096, kMaximumBlock = 32u << 20;
constexpr std::uint32_t kAllocationContextId = 1;
constexpr std::string_view kAllocationContext = "base:allocation";

/// Both the server's handshake flags and the client's answer.
enum HandshakeFlag : std::uint16_t { fixed_newstyle = 1 << 0, no_zeroes = 1 << 1 };

enum class Option : std::uint32_t {
    export_name = 1,
    abort = 2,
    list = 3,
    starttls = 5,
    info = 6,
    go = 7,
    structured_reply = 8,
    list_meta_context = 9,
    set_meta_context = 10,
};

enum class OptionReply : std::uint32_t {
    ack = 1,
    server = 2,
    info = 3,
    meta_context = 4,
    err_unsup = 0x80000001,
    err_policy = 0x80000002,
    err_invalid = 0x80000003,
    err_unknown = 0x80000006,
    err_shutdown = 0x80000007,
    err_too_big = 0x80000009,
};

enum class Info : std::uint16_t { export_ = 0, name = 1, description = 2, block_size = 3 };

enum TransmissionFlag : std::uint16_t {
    has_flags = 1 << 0,
    send_flush = 1 << 2,
    send_fua = 1 << 3,
    send_trim = 1 << 5,
    send_write_zeroes = 1 << 6,
    send_df = 1 << 7,
    can_multi_conn = 1 << 8,
    send_cache = 1 << 10,
    send_fast_zero = 1 << 11,
};

enum class Command : std::uint16_t {
    read = 0,
    write = 1,
    disc = 2,
    flush = 3,
    trim = 4,
    cache = 5,
    write_zeroes = 6,
    block_status = 7,
};
constexpr std::size_t kCommands = 8;

enum CommandFlag : std::uint16_t {
    fua = 1 << 0,
    no_hole = 1 << 1,
    df = 1 << 2,
    req_one = 1 << 3,
    fast_zero = 1 << 4,
};

enum class Chunk : std::uint16_t { none = 0, offset_data = 1, block_status = 5, error = 0x8001 };
constexpr std::uint16_t kChunkDone = 1;

enum BlockState : std::uint32_t { hole = 1 << 0, reads_zero = 1 << 1 };

/// Error numbers on the wire, whatever the host's own are.
enum class WireError : std::uint32_t {
    none = 0,
    io = 5,
    invalid = 22,
    no_space = 28,
    overflow = 75,
    not_supported = 95,
    shutdown = 108,
};
WireError wire_error(Error error);

struct Request {
    std::uint16_t flags = 0;
    Command type = Command::read;  ///< may hold a number that is not a command
    std::uint64_t cookie = 0;
    std::uint64_t offset = 0;
    std::uint32_t length = 0;
};

struct OptionHeader {
    Option option = Option::abort;  ///< may hold a number that is not an option
    std::uint32_t length = 0;
};

/// INFO and GO.
struct InfoRequest {
    std::string name;
    bool wants_name = false;
    bool wants_description = false;
};

/// LIST_META_CONTEXT and SET_META_CONTEXT.
struct MetaRequest {
    std::string name;
    std::vector<std::string> queries;
};

/// `corrupt` where a magic number is wrong: the stream is out of step and ends.
Result<Request> decode_request(std::span<const std::byte, kRequestSize> from);
Result<OptionHeader> decode_option_header(std::span<const std::byte, kOptionHeaderSize> from);
std::uint32_t decode_client_flags(std::span<const std::byte, kClientFlagsSize> from);
/// `invalid` where the option's data is not what its header says; the stream itself is in step.
Result<InfoRequest> decode_info_request(std::span<const std::byte> from);
Result<MetaRequest> decode_meta_request(std::span<const std::byte> from);
Result<std::string> decode_name(std::span<const std::byte> from);

void append_greeting(Bytes& out);
void append_option_reply(Bytes& out, Option option, OptionReply type, std::span<const std::byte> data = {});
void append_server(Bytes& out, std::string_view name);
void append_info_export(Bytes& out, Option option, std::uint64_t size, std::uint16_t flags);
void append_info_text(Bytes& out, Option option, Info info, std::string_view text);
void append_info_block_size(Bytes& out, Option option);
void append_meta_context(Bytes& out, Option option, std::uint32_t id);
/// The whole answer to EXPORT_NAME.
void append_export(Bytes& out, std::uint64_t size, std::uint16_t flags, bool padding);

/// The head of a reply: what stands before its data.
struct ReplyHead {
    std::array<std::byte, 32> bytes;
    std::size_t size = 0;
    std::span<const std::byte> span() const { return std::span(bytes).first(size); }
};
ReplyHead simple_reply(std::uint64_t cookie, WireError error);
/// The only chunk of its reply. Data of `length` bytes follows.
ReplyHead data_chunk(std::uint64_t cookie, std::uint64_t offset, std::uint32_t length);
ReplyHead error_chunk(std::uint64_t cookie, WireError error);
ReplyHead empty_chunk(std::uint64_t cookie);
/// `descriptors` of 8 bytes each follow: see put_descriptor().
ReplyHead status_chunk(std::uint64_t cookie, std::uint32_t descriptors);
void put_descriptor(std::span<std::byte, 8> into, std::uint32_t length, std::uint32_t state);

}  // namespace braid::nbd
