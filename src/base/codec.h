// Fixed little-endian encoding. A Writer appends to a byte vector; a Reader never reads beyond its span:
// after the first short read it stays failed and yields zeros, so a decoder checks `ok()` once at the end.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace braid {

using Bytes = std::vector<std::byte>;

class Writer {
public:
    explicit Writer(Bytes& out) : out_(out) {}

    template <std::unsigned_integral T>
    void put(T value) {
        static_assert(std::endian::native == std::endian::little);
        const std::size_t at = out_.size();
        out_.resize(at + sizeof(T));
        std::memcpy(out_.data() + at, &value, sizeof(T));
    }
    template <class Tag, class Rep>
    void put(Strong<Tag, Rep> value) {
        put(value.v);
    }
    void put(const Uuid& id) { raw(std::as_bytes(std::span(id.bytes))); }
    void raw(std::span<const std::byte> bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
    /// u16 length, then the bytes.
    void string(std::string_view text) {
        put(static_cast<std::uint16_t>(text.size()));
        raw(std::as_bytes(std::span(text)));
    }

private:
    Bytes& out_;
};

class Reader {
public:
    explicit Reader(std::span<const std::byte> in) : in_(in) {}

    bool ok() const { return ok_; }
    std::size_t left() const { return in_.size(); }
    /// All read, nothing short.
    bool done() const { return ok_ && in_.empty(); }

    template <std::unsigned_integral T>
    T get() {
        if (in_.size() < sizeof(T)) {
            short_read();
            return 0;
        }
        T value;
        std::memcpy(&value, in_.data(), sizeof(T));
        in_ = in_.subspan(sizeof(T));
        return value;
    }
    template <class S>
        requires requires { typename S::rep; }
    S get() {
        return S(get<typename S::rep>());
    }
    Uuid uuid() {
        Uuid id;
        const auto bytes = raw(id.bytes.size());
        if (bytes.size() == id.bytes.size()) std::memcpy(id.bytes.data(), bytes.data(), bytes.size());
        return id;
    }
    /// `size` bytes of the input, or an empty span and a failed reader.
    std::span<const std::byte> raw(std::size_t size) {
        if (in_.size() < size) {
            short_read();
            return {};
        }
        const auto bytes = in_.first(size);
        in_ = in_.subspan(size);
        return bytes;
    }
    std::string string(std::size_t limit) {
        const std::size_t size = get<std::uint16_t>();
        if (size > limit) {
            short_read();
            return {};
        }
        const auto bytes = raw(size);
        return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    void fail() { short_read(); }

private:
    void short_read() {
        ok_ = false;
        in_ = {};
    }
    std::span<const std::byte> in_;
    bool ok_ = true;
};

}  // namespace braid
