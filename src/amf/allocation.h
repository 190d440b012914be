// What of a range is allocated, as hosts are told.
#pragma once

#include <cstdint>
#include <vector>

namespace braid {

/// A run of bytes that are all allocated, or all a hole that reads as zeros.
struct AllocationRun {
    std::uint64_t length = 0;
    bool hole = false;
    friend bool operator==(const AllocationRun&, const AllocationRun&) = default;
};

/// How close one looks.
enum class AllocationDetail : std::uint8_t {
    extents,  ///< with a zone, or without
    blocks,   ///< and what was trimmed of those with a zone
};

/// Joins neighbours of one kind, until there are so many runs.
class AllocationRuns {
public:
    explicit AllocationRuns(std::size_t most) : most_(most) {}

    /// What comes after all that was added. False: there is no place for it, and for nothing behind it.
    bool add(std::uint64_t length, bool hole) {
        if (full_) return false;
        if (!runs_.empty() && runs_.back().hole == hole) {
            runs_.back().length += length;
        } else if (runs_.size() < most_) {
            runs_.push_back({length, hole});
        } else {
            full_ = true;
        }
        return !full_;
    }
    std::vector<AllocationRun> take() && { return std::move(runs_); }

private:
    std::size_t most_;
    bool full_ = false;
    std::vector<AllocationRun> runs_;
};

}  // namespace braid
