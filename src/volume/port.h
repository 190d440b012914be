// A port: one virtual disk on one controller. It checks ranges, moves a request from the virtual disk to the
// group's logical space, and closes in an orderly way: operations in flight finish, later ones fail with
// `not_ready`. (Rows V1 and V2.)
//
// Guarantees: after closed() is set no operation of this port touches the group any more. Needs: the group
// outlives the moment closed() is set; whoever calls an operation keeps the port alive until it returns.
// Never orders or merges requests: that is the group's matter.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "amf/group_space.h"
#include "async/sync.h"
#include "async/task.h"
#include "base/buffer.h"
#include "base/result.h"
#include "base/types.h"

namespace braid {

/// What a port is made from.
struct VirtualDisk {
    std::string name;         ///< what hosts ask for
    std::string description;  ///< for people; may be empty
    std::uint64_t size = 0;   ///< bytes, any number
    ExtentIndex first;        ///< its extents follow each other in the group's space
};

/// How zeros are written.
struct ZeroMode {
    bool may_leave_hole = true;  ///< extents without a zone may stay so, and others lose theirs
    bool fast = false;           ///< refuse with `unsupported` rather than be as slow as a write
    bool fua = false;
};

class Port {
public:
    Port(Executor& executor, GroupSpace& group, VirtualDisk disk);

    const std::string& name() const { return disk_.name; }
    const std::string& description() const { return disk_.description; }
    std::uint64_t size() const { return disk_.size; }

    /// Ranges of any alignment. `invalid` if one ends beyond the virtual disk; a length of 0 inside does
    /// nothing.
    bool contains(std::uint64_t offset, std::uint64_t length) const {
        return offset <= disk_.size && length <= disk_.size - offset;
    }
    Task<Status> read(std::uint64_t offset, std::span<std::byte> into);
    Task<Status> write(std::uint64_t offset, Slice data, bool fua);
    /// Fast zeros succeed only where the whole range is a hole and may stay one: then there is nothing to
    /// write.
    Task<Status> write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode);
    /// The content is not needed: from the answer on the range reads as zeros. What has been trimmed as a
    /// whole gives its space back.
    Task<Status> trim(std::uint64_t offset, std::uint64_t length, bool fua = false);
    /// A hint that the range will be read. It is accepted and nothing is done: there is no cache yet.
    Task<Status> cache(std::uint64_t offset, std::uint64_t length);
    /// Covers all completed writes through all ports of this virtual disk.
    Task<Status> flush();
    /// As of GroupSpace.
    Task<Result<std::vector<AllocationRun>>> allocation(std::uint64_t offset, std::uint64_t length,
                                                        std::size_t most,
                                                        AllocationDetail detail = AllocationDetail::blocks);

    /// Lets nothing in any more. Idempotent.
    void close();
    bool closing() const { return gate_.closed(); }
    /// Set by close() itself: for those who must tell their hosts.
    Event& close_begun() { return close_begun_; }
    /// Set when the port is closed and its last operation has returned.
    Event& closed() { return gate_.drained(); }
    std::size_t in_flight() const { return gate_.inside(); }

private:
    std::uint64_t base() const { return disk_.first.v * kExtentSize; }

    GroupSpace& group_;
    VirtualDisk disk_;
    Gate gate_;
    Event close_begun_;
};

}  // namespace braid
