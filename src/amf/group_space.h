// The logical space of one redundancy group as the virtual disks see it: the seam between `volume` above and
// the AMF below. Any offset and length within the group's extents; the caller has checked the range. Used on
// the executor's thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "amf/allocation.h"
#include "async/task.h"
#include "base/buffer.h"
#include "base/result.h"
#include "base/types.h"
#include "replica/errand.h"

namespace braid {

class GroupSpace {
public:
    virtual ~GroupSpace() = default;

    /// Fills `into`, which stays valid until the task returns. Linearizable per 4 KiB block.
    virtual Task<Status> read(std::uint64_t offset, std::span<std::byte> into) = 0;
    /// `data.bytes` stay valid and unchanged until the task returns. With `fua` the data is on stable storage
    /// by then. `errand`: what a controller outside of the group calls it. If that is repeated, only that is
    /// done of it, here and in write_zeroes(), which has not taken effect yet.
    virtual Task<Status> write(std::uint64_t offset, Slice data, bool fua, Errand errand = {}) = 0;
    /// The range reads as zeros afterwards. `may_leave_hole`: an extent without a zone may stay without one,
    /// and one that has been written with such zeros as a whole gives its zone back.
    virtual Task<Status> write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_leave_hole,
                                      bool fua, Errand errand = {}) = 0;
    /// Covers all writes that any controller had completed before the call.
    virtual Task<Status> flush() = 0;
    /// Of a range that is not empty, from its beginning on, at most so many runs (not 0), neighbours of
    /// different kinds: they may then cover less. Every byte of a hole read as zeros at some moment of the
    /// call.
    virtual Task<Result<std::vector<AllocationRun>>> allocation(std::uint64_t offset, std::uint64_t length,
                                                                std::size_t most,
                                                                AllocationDetail detail) = 0;
};

}  // namespace braid
