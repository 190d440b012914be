// A bounded queue from one thread to one other: a ring of slots and two counters, no lock, no system call.
// Guarantees: what is taken was put, in that order, each once; what the putting thread wrote before is seen
// by the taking one. put() only on one thread, take() only on one; empty() on either.
//
// The counters are read and written in one order that both threads agree on, so that a taker that says it
// goes to sleep and then finds the queue empty, and a putter that puts and then finds nobody asleep, cannot
// both be right.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <utility>
#include <vector>

#include "base/assert.h"

namespace braid {

template <class T>
class SpscQueue {
public:
    /// `capacity` is a power of two.
    explicit SpscQueue(std::size_t capacity) : slots_(capacity) { ASSERT(std::has_single_bit(capacity)); }

    /// False, and `value` untouched, if it is full.
    bool put(T& value) {
        const std::size_t at = put_.load(std::memory_order_relaxed);
        if (at - seen_taken_ == slots_.size()) {
            seen_taken_ = taken_.load(std::memory_order_acquire);
            if (at - seen_taken_ == slots_.size()) return false;
        }
        slots_[at & (slots_.size() - 1)] = std::move(value);
        put_.store(at + 1, std::memory_order_seq_cst);
        return true;
    }
    /// False if it is empty.
    bool take(T& into) {
        const std::size_t at = taken_.load(std::memory_order_relaxed);
        if (at == put_.load(std::memory_order_acquire)) return false;
        into = std::exchange(slots_[at & (slots_.size() - 1)], T{});
        taken_.store(at + 1, std::memory_order_release);
        return true;
    }
    bool empty() const {
        return taken_.load(std::memory_order_relaxed) == put_.load(std::memory_order_seq_cst);
    }

private:
    static constexpr std::size_t kLine = 64;
    std::vector<T> slots_;
    alignas(kLine) std::atomic<std::size_t> put_ = 0;
    std::size_t seen_taken_ = 0;  ///< the putter's: saves it a look at the taker's line
    alignas(kLine) std::atomic<std::size_t> taken_ = 0;
};

}  // namespace braid
