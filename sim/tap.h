// Somebody who looks on from outside, sees every frame on the links and every command at the disks, and can
// make them wait. Without one nothing is different, the order of events included.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "io/disk.h"

namespace braid::sim {

class Process;

class Tap {
public:
    virtual ~Tap() = default;

    /// Bytes of the first frame of what is sent; it travels by itself.
    virtual std::size_t frame_length(std::span<const std::byte> bytes) = 0;
    virtual void sent(const Process& from, const Process& to, std::span<const std::byte> frame) = 0;
    /// It is due. While this says yes it waits, and so does whatever follows on its stream.
    virtual bool holds(const Process& from, const Process& to, std::span<const std::byte> frame) = 0;
    virtual void arrives(const Process& from, const Process& to, std::span<const std::byte> frame) = 0;

    virtual void begins(const Process& process, std::uint64_t member, const DiskOp& op) = 0;
    /// It is due. While this says yes it waits.
    virtual bool holds(const Process& process, std::uint64_t member, const DiskOp& op) = 0;
    virtual void done(const Process& process, std::uint64_t member, const DiskOp& op) = 0;
};

}  // namespace braid::sim
