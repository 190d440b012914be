// Coroutine frames come from per-thread free lists by size class, so that a warm data path does not allocate.
#pragma once

#include <cstddef>

namespace braid {

void* allocate_frame(std::size_t size);
void free_frame(void* frame, std::size_t size) noexcept;

/// Base of promise types.
struct PooledFrame {
    static void* operator new(std::size_t size) { return allocate_frame(size); }
    static void operator delete(void* frame, std::size_t size) noexcept { free_frame(frame, size); }
};

}  // namespace braid
