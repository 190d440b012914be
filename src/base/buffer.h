// Memory for block data: 4 KiB aligned, reference counted, from a per-thread pool of size classes, so that
// the data path does not allocate once warm. Copies of one buffer may be on several threads: its bytes are
// then read only. It goes into the pool of the thread that gives the last one back.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace braid {

class Buffer {
public:
    Buffer() = default;
    /// `size` bytes, not cleared, aligned to 4 KiB.
    explicit Buffer(std::size_t size);
    static Buffer zeroed(std::size_t size);
    static Buffer copy_of(std::span<const std::byte> bytes);

    Buffer(const Buffer& other) : head_(other.head_), size_(other.size_) { retain(); }
    Buffer(Buffer&& other) noexcept
        : head_(std::exchange(other.head_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    Buffer& operator=(Buffer other) noexcept {
        std::swap(head_, other.head_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~Buffer() { release(); }

    std::byte* data() const;
    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    std::span<std::byte> span() const { return {data(), size_}; }
    std::span<std::byte> span(std::size_t at, std::size_t count) const { return span().subspan(at, count); }

    /// Bytes handed out on this thread less those returned there: the leak checks read it.
    static std::size_t bytes_in_use();

private:
    struct Head;
    struct Pool;
    static Pool& pool();
    void retain();
    void release();
    Head* head_ = nullptr;
    std::size_t size_ = 0;
};

/// A run of bytes kept alive by the buffer that holds it.
struct Slice {
    Buffer owner;
    std::span<const std::byte> bytes;

    Slice() = default;
    Slice(Buffer buffer) : owner(std::move(buffer)), bytes(owner.span()) {}
    Slice(Buffer buffer, std::span<const std::byte> part) : owner(std::move(buffer)), bytes(part) {}
    friend bool operator==(const Slice& a, const Slice& b) { return std::ranges::equal(a.bytes, b.bytes); }
};

/// What stays for long keeps no more memory than a few times its own: from a larger buffer it is copied.
Slice to_keep(Slice data);

}  // namespace braid
