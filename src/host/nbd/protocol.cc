#include "host/nbd/protocol.h"

#include <concepts>
#include <cstring>

namespace braid::nbd {
namespace {

template <std::unsigned_integral T>
T load(const std::byte* from) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) value = value << 8 | std::to_integer<std::uint64_t>(from[i]);
    return static_cast<T>(value);
}

template <std::unsigned_integral T>
void store(std::byte* to, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        to[i] = static_cast<std::byte>(static_cast<std::uint64_t>(value) >> 8 * (sizeof(T) - 1 - i));
    }
}

template <std::unsigned_integral T>
void append(Bytes& out, T value) {
    out.resize(out.size() + sizeof(T));
    store(out.data() + out.size() - sizeof(T), value);
}

void append_text(Bytes& out, std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    out.insert(out.end(), bytes.begin(), bytes.end());
}

// Reads option data; like braid::Reader it stays failed after the first short read.
class Cursor {
public:
    explicit Cursor(std::span<const std::byte> in) : in_(in) {}
    template <std::unsigned_integral T>
    T get() {
        const auto bytes = raw(sizeof(T));
        return bytes.empty() ? T{0} : load<T>(bytes.data());
    }
    std::string string() {
        const std::size_t size = get<std::uint32_t>();
        if (size > kMaxNameLength) ok_ = false;
        const auto bytes = raw(size);
        const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        if (text.contains('\0')) ok_ = false;
        return text;
    }
    bool ok() const { return ok_; }
    bool done() const { return ok_ && in_.empty(); }

private:
    std::span<const std::byte> raw(std::size_t size) {
        if (!ok_ || in_.size() < size) {
            ok_ = false;
            return {};
        }
        const auto bytes = in_.first(size);
        in_ = in_.subspan(size);
        return bytes;
    }
    std::span<const std::byte> in_;
    bool ok_ = true;
};

// Fills in what every chunk begins with; all our replies are one chunk, the last of its request.
ReplyHead chunk(Chunk type, std::uint64_t cookie, std::uint32_t payload) {
    ReplyHead head;
    store(head.bytes.data(), kChunkMagic);
    store(head.bytes.data() + 4, kChunkDone);
    store(head.bytes.data() + 6, static_cast<std::uint16_t>(type));
    store(head.bytes.data() + 8, cookie);
    store(head.bytes.data() + 16, payload);
    head.size = kChunkHeaderSize;
    return head;
}

}  // namespace

WireError wire_error(Error error) {
    switch (error.code) {
        case Errc::not_ready:
        case Errc::offline:
        case Errc::cancelled:  // here; another controller may well have it
            return WireError::shutdown;
        case Errc::no_space:
            return WireError::no_space;
        case Errc::unsupported:
            return WireError::not_supported;
        case Errc::invalid:
            return WireError::invalid;
        default:
            return WireError::io;
    }
}

Result<Request> decode_request(std::span<const std::byte, kRequestSize> from) {
    if (load<std::uint32_t>(from.data()) != kRequestMagic) return fail(Errc::corrupt);
    Request request;
    request.flags = load<std::uint16_t>(from.data() + 4);
    request.type = static_cast<Command>(load<std::uint16_t>(from.data() + 6));
    request.cookie = load<std::uint64_t>(from.data() + 8);
    request.offset = load<std::uint64_t>(from.data() + 16);
    request.length = load<std::uint32_t>(from.data() + 24);
    return request;
}

Result<OptionHeader> decode_option_header(std::span<const std::byte, kOptionHeaderSize> from) {
    if (load<std::uint64_t>(from.data()) != kOptionMagic) return fail(Errc::corrupt);
    return OptionHeader{static_cast<Option>(load<std::uint32_t>(from.data() + 8)),
                        load<std::uint32_t>(from.data() + 12)};
}

std::uint32_t decode_client_flags(std::span<const std::byte, kClientFlagsSize> from) {
    return load<std::uint32_t>(from.data());
}

Result<InfoRequest> decode_info_request(std::span<const std::byte> from) {
    Cursor in(from);
    InfoRequest request;
    request.name = in.string();
    const std::size_t count = in.get<std::uint16_t>();
    for (std::size_t i = 0; i < count && in.ok(); ++i) {
        const auto info = static_cast<Info>(in.get<std::uint16_t>());
        request.wants_name |= info == Info::name;
        request.wants_description |= info == Info::description;
    }
    if (!in.done()) return fail(Errc::invalid);
    return request;
}

Result<MetaRequest> decode_meta_request(std::span<const std::byte> from) {
    Cursor in(from);
    MetaRequest request;
    request.name = in.string();
    const std::size_t count = in.get<std::uint32_t>();
    if (count > kMaxQueries) return fail(Errc::invalid);
    for (std::size_t i = 0; i < count && in.ok(); ++i) request.queries.push_back(in.string());
    if (!in.done()) return fail(Errc::invalid);
    return request;
}

Result<std::string> decode_name(std::span<const std::byte> from) {
    if (from.size() > kMaxNameLength) return fail(Errc::invalid);
    std::string name(reinterpret_cast<const char*>(from.data()), from.size());
    if (name.contains('\0')) return fail(Errc::invalid);
    return name;
}

void append_greeting(Bytes& out) {
    append(out, kGreetingMagic);
    append(out, kOptionMagic);
    append(out, static_cast<std::uint16_t>(fixed_newstyle | no_zeroes));
}

void append_option_reply(Bytes& out, Option option, OptionReply type, std::span<const std::byte> data) {
    append(out, kOptionReplyMagic);
    append(out, static_cast<std::uint32_t>(option));
    append(out, static_cast<std::uint32_t>(type));
    append(out, static_cast<std::uint32_t>(data.size()));
    out.insert(out.end(), data.begin(), data.end());
}

void append_server(Bytes& out, std::string_view name) {
    Bytes data;
    append(data, static_cast<std::uint32_t>(name.size()));
    append_text(data, name);
    append_option_reply(out, Option::list, OptionReply::server, data);
}

void append_info_export(Bytes& out, Option option, std::uint64_t size, std::uint16_t flags) {
    Bytes data;
    append(data, static_cast<std::uint16_t>(Info::export_));
    append(data, size);
    append(data, flags);
    append_option_reply(out, option, OptionReply::info, data);
}

void append_info_text(Bytes& out, Option option, Info info, std::string_view text) {
    Bytes data;
    append(data, static_cast<std::uint16_t>(info));
    append_text(data, text);
    append_option_reply(out, option, OptionReply::info, data);
}

void append_info_block_size(Bytes& out, Option option) {
    Bytes data;
    append(data, static_cast<std::uint16_t>(Info::block_size));
    append(data, kMinimumBlock);
    append(data, kPreferredBlock);
    append(data, kMaximumBlock);
    append_option_reply(out, option, OptionReply::info, data);
}

void append_meta_context(Bytes& out, Option option, std::uint32_t id) {
    Bytes data;
    append(data, id);
    append_text(data, kAllocationContext);
    append_option_reply(out, option, OptionReply::meta_context, data);
}

void append_export(Bytes& out, std::uint64_t size, std::uint16_t flags, bool padding) {
    append(out, size);
    append(out, flags);
    if (padding) out.resize(out.size() + kExportNamePadding);
}

ReplyHead simple_reply(std::uint64_t cookie, WireError error) {
    ReplyHead head;
    store(head.bytes.data(), kSimpleReplyMagic);
    store(head.bytes.data() + 4, static_cast<std::uint32_t>(error));
    store(head.bytes.data() + 8, cookie);
    head.size = kSimpleReplySize;
    return head;
}

ReplyHead data_chunk(std::uint64_t cookie, std::uint64_t offset, std::uint32_t length) {
    ReplyHead head = chunk(Chunk::offset_data, cookie, length + 8);
    store(head.bytes.data() + head.size, offset);
    head.size += 8;
    return head;
}

ReplyHead error_chunk(std::uint64_t cookie, WireError error) {
    ReplyHead head = chunk(Chunk::error, cookie, 6);
    store(head.bytes.data() + head.size, static_cast<std::uint32_t>(error));
    store(head.bytes.data() + head.size + 4, std::uint16_t{0});  // no message
    head.size += 6;
    return head;
}

ReplyHead empty_chunk(std::uint64_t cookie) { return chunk(Chunk::none, cookie, 0); }

ReplyHead status_chunk(std::uint64_t cookie, std::uint32_t descriptors) {
    ReplyHead head = chunk(Chunk::block_status, cookie, 4 + 8 * descriptors);
    store(head.bytes.data() + head.size, kAllocationContextId);
    head.size += 4;
    return head;
}

void put_descriptor(std::span<std::byte, 8> into, std::uint32_t length, std::uint32_t state) {
    store(into.data(), length);
    store(into.data() + 4, state);
}

}  // namespace braid::nbd
