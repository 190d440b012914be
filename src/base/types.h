// The names and sizes that every layer shares.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>

#include "base/strong.h"

namespace braid {

/// A controller's number in the cluster, given at its first join and kept with its name. 0 is nobody.
using ControllerId = Strong<struct ControllerIdTag, std::uint16_t>;
/// An AMF of a group: its controller, and which of that controller's AMFs of the group it is. The first one
/// has its controller's number.
using AmfId = Strong<struct AmfIdTag, std::uint16_t>;
constexpr unsigned kAmfIndexShift = 12;
constexpr std::uint16_t kMaxControllerId = (1u << kAmfIndexShift) - 1;
constexpr std::size_t kMaxAmfs = 8;  ///< of one group in one controller
constexpr AmfId amf_id(ControllerId controller, unsigned index = 0) {
    return AmfId(static_cast<std::uint16_t>(controller.v | index << kAmfIndexShift));
}
constexpr ControllerId controller_of(AmfId amf) {
    return ControllerId(static_cast<std::uint16_t>(amf.v & kMaxControllerId));
}
constexpr unsigned amf_index(AmfId amf) { return amf.v >> kAmfIndexShift; }
/// One start of one controller: the epoch of the view that first held it. Larger is newer.
using Incarnation = Strong<struct IncarnationTag, std::uint64_t>;
/// Number of a view. 0 is "no view yet".
using Epoch = Strong<struct EpochTag, std::uint64_t>;
/// A disk's place in a redundancy group, 0 .. 63.
using MemberIndex = Strong<struct MemberIndexTag, std::uint8_t>;
/// A stripe of a group's logical space: extent * rows per extent + row.
using StripeIndex = Strong<struct StripeIndexTag, std::uint64_t>;
/// An extent (64 MiB) of a group's logical space.
using ExtentIndex = Strong<struct ExtentIndexTag, std::uint32_t>;
/// A virtual disk's number within its group.
using VolumeId = Strong<struct VolumeIdTag, std::uint32_t>;

constexpr std::uint32_t kBlockSize = 4096;          ///< bytes; the unit of checks, alignment and parity
constexpr std::uint64_t kExtentSize = 64ull << 20;  ///< bytes of a group's logical space
constexpr std::size_t kMaxMembers = 64;             ///< disks of a group
constexpr std::size_t kMaxWidth = 24;               ///< strips of a stripe
constexpr std::size_t kMaxParity = 3;               ///< parity strips of a stripe
constexpr std::size_t kMaxControllers = 16;         ///< controllers that share a group
constexpr std::size_t kMaxGroupAmfs = 16;           ///< AMFs of a group, of all controllers together

/// 16 bytes; of a group, a disk or a cluster.
struct Uuid {
    std::array<std::uint8_t, 16> bytes{};
    friend auto operator<=>(const Uuid&, const Uuid&) = default;
    bool is_nil() const { return *this == Uuid{}; }
};

std::string to_string(const Uuid& id);  ///< 8-4-4-4-12 hexadecimal digits

/// Monotonic time that goes on in suspend, in nanoseconds. Never compared between machines.
using Nanos = std::chrono::nanoseconds;
using namespace std::chrono_literals;

}  // namespace braid

template <>
struct std::hash<braid::Uuid> {
    std::size_t operator()(const braid::Uuid& id) const {
        std::size_t h = 0;
        for (std::uint8_t b : id.bytes) h = h * 131 + b;
        return h;
    }
};
