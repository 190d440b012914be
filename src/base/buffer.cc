#include "base/buffer.h"

#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/assert.h"

namespace braid {

struct Buffer::Head {
    std::atomic<std::uint32_t> references;
    std::uint32_t size_class;
    std::byte* memory;
};

namespace {

constexpr std::size_t kAlignment = 4096;
constexpr std::size_t kClasses = 16;  // 4 KiB << class: up to 128 MiB
constexpr std::size_t kPooledBytesPerClass = 64u
                                             << 20;  // beyond this a returned buffer goes back to the heap

}  // namespace

// Buffers returned on this thread, by class. Only ever reached on its own thread.
struct Buffer::Pool {
    std::array<std::vector<Head*>, kClasses> free;
    std::size_t in_use = 0;

    ~Pool() {
        for (auto& list : free) {
            for (Head* head : list) {
                std::free(head->memory);
                delete head;
            }
        }
    }
};

Buffer::Pool& Buffer::pool() {
    static thread_local Pool pool;
    return pool;
}

static std::size_t class_of(std::size_t size) {
    const std::size_t blocks = (size + kAlignment - 1) / kAlignment;
    return static_cast<std::size_t>(std::bit_width(blocks - 1));
}

Buffer::Buffer(std::size_t size) : size_(size) {
    if (size == 0) return;
    const std::size_t cls = class_of(size);
    ASSERT(cls < kClasses);
    auto& free = pool().free[cls];
    if (!free.empty()) {
        head_ = free.back();
        free.pop_back();
        head_->references.store(1, std::memory_order_relaxed);
    } else {
        void* memory = std::aligned_alloc(kAlignment, kAlignment << cls);
        ASSERT(memory != nullptr);
        head_ = new Head{1, static_cast<std::uint32_t>(cls), static_cast<std::byte*>(memory)};
    }
    pool().in_use += kAlignment << cls;
}

void Buffer::retain() {
    if (head_ != nullptr) head_->references.fetch_add(1, std::memory_order_relaxed);
}

void Buffer::release() {
    if (head_ == nullptr) return;
    // Who has the only copy need not tell anybody.
    if (head_->references.load(std::memory_order_acquire) != 1 &&
        head_->references.fetch_sub(1, std::memory_order_acq_rel) != 1) {
        return;
    }
    const std::size_t bytes = kAlignment << head_->size_class;
    pool().in_use -= bytes;
    auto& free = pool().free[head_->size_class];
    if ((free.size() + 1) * bytes <= kPooledBytesPerClass) {
        free.push_back(head_);
    } else {
        std::free(head_->memory);
        delete head_;
    }
    head_ = nullptr;
}

Buffer Buffer::zeroed(std::size_t size) {
    Buffer buffer(size);
    if (size != 0) std::memset(buffer.data(), 0, size);
    return buffer;
}

Buffer Buffer::copy_of(std::span<const std::byte> bytes) {
    Buffer buffer(bytes.size());
    if (!bytes.empty()) std::memcpy(buffer.data(), bytes.data(), bytes.size());
    return buffer;
}

std::byte* Buffer::data() const { return head_ == nullptr ? nullptr : head_->memory; }

std::size_t Buffer::bytes_in_use() { return pool().in_use; }

Slice to_keep(Slice data) {
    constexpr std::size_t kTimes = 4;
    if (data.owner.size() <= kTimes * data.bytes.size()) return data;
    return Slice(Buffer::copy_of(data.bytes));
}

}  // namespace braid
