#include "async/frame_pool.h"

#include <array>
#include <new>

namespace braid {
namespace {

constexpr std::size_t kStep = 64;
constexpr std::size_t kClasses = 64;  // frames up to 4 KiB; larger ones come from the heap

struct Free {
    Free* next;
};

struct Lists {
    std::array<Free*, kClasses> free{};
    ~Lists() {
        for (Free*& list : free) {
            while (list != nullptr) {
                Free* frame = list;
                list = frame->next;
                ::operator delete(frame);
            }
        }
    }
};
thread_local Lists t_lists;

std::size_t class_of(std::size_t size) { return (size + kStep - 1) / kStep; }

}  // namespace

void* allocate_frame(std::size_t size) {
    const std::size_t cls = class_of(size);
    if (cls >= kClasses) return ::operator new(size);
    Free*& list = t_lists.free[cls];
    if (list == nullptr) return ::operator new(cls * kStep);
    Free* frame = list;
    list = frame->next;
    return frame;
}

void free_frame(void* frame, std::size_t size) noexcept {
    const std::size_t cls = class_of(size);
    if (cls >= kClasses) {
        ::operator delete(frame);
        return;
    }
    t_lists.free[cls] = new (frame) Free{t_lists.free[cls]};
}

}  // namespace braid
