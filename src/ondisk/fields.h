// Fixed places in a block, for the encoders and decoders of this folder: a writer over given bytes instead of
// a growing vector, and what both need for checksums and names.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "base/codec.h"
#include "base/zeros.h"
#include "ondisk/page.h"

namespace braid {

/// Writes fields one after the other, little-endian. Running over the end is a broken invariant.
class FieldWriter {
public:
    explicit FieldWriter(std::span<std::byte> out) : out_(out) {}

    template <std::unsigned_integral T>
    void put(T value) {
        const auto place = next(sizeof(T));
        for (std::size_t i = 0; i < sizeof(T); ++i) {
            place[i] = static_cast<std::byte>((static_cast<std::uint64_t>(value) >> (8 * i)) & 0xff);
        }
    }
    template <class Tag, class Rep>
    void put(Strong<Tag, Rep> value) {
        put(value.v);
    }
    void put(const Uuid& id) {
        std::ranges::copy(std::as_bytes(std::span(id.bytes)), next(id.bytes.size()).begin());
    }
    /// The text and zeros up to `size`; at least one zero.
    void name(std::string_view text, std::size_t size) {
        ASSERT(text.size() < size);
        const auto place = next(size);
        std::ranges::fill(place, std::byte{0});
        std::ranges::copy(std::as_bytes(std::span(text)), place.begin());
    }
    void zeros(std::size_t size) { std::ranges::fill(next(size), std::byte{0}); }
    /// Zeros up to `offset` from the writer's start.
    void pad_to(std::size_t offset) {
        ASSERT(offset >= written_);
        zeros(offset - written_);
    }
    /// Zeros up to the end.
    void finish() { zeros(out_.size()); }
    std::size_t written() const { return written_; }

private:
    std::span<std::byte> next(std::size_t size) {
        ASSERT(size <= out_.size());
        const auto place = out_.first(size);
        out_ = out_.subspan(size);
        written_ += size;
        return place;
    }
    std::span<std::byte> out_;
    std::size_t written_ = 0;
};

/// A name field: text, then only zeros, at least one. Fails the reader for anything else.
inline std::string read_name(Reader& in, std::size_t size) {
    const auto field = in.raw(size);
    const auto end = std::ranges::find(field, std::byte{0});
    if (end == field.end() || !all_zero({end, field.end()})) {
        in.fail();
        return {};
    }
    return {reinterpret_cast<const char*>(field.data()), static_cast<std::size_t>(end - field.begin())};
}

/// CRC32C of a block whose own four bytes at `crc_offset` count as zeros.
std::uint32_t block_checksum(ConstPageBytes bytes, std::size_t crc_offset);

}  // namespace braid
