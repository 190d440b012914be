// The record in the member store: the cluster's identity and its present view. Little-endian:
//
//   magic "brdM" u32 | version u16 | 0 u16 | CRC32C of what follows u32 | cluster uuid | epoch u64 |
//   members u16 { id u16, incarnation u64, name, address, pid u64, start time u64, host,
//   site, groups u16 { uuid, since u64, AMFs u8 } } |
//   known u16 { id u16, name, pid u64, left epoch u64, fenced u8 }                      (strings: u16 length,
//   bytes)
//
// The decoder takes any bytes, and only what the transitions (transitions.h) can have made passes it.
#pragma once

#include <span>

#include "base/codec.h"
#include "base/result.h"
#include "icl/view.h"

namespace braid {

constexpr std::size_t kMaxControllerName = 31;  ///< bytes
constexpr std::size_t kMaxAddress = 255;        ///< bytes
constexpr std::size_t kMaxLabel = 31;           ///< bytes, of a host or site
constexpr std::size_t kMaxClusterMembers = 64;
constexpr std::size_t kMaxKnownControllers = kMaxControllerId;
constexpr std::size_t kMaxAttachedGroups = 1024;

struct ClusterRecord {
    Uuid cluster;  ///< nil: nobody has joined yet
    View view;
};

Bytes encode_record(const ClusterRecord& record);
/// No bytes at all are the record before the first join. corrupt, unsupported.
Result<ClusterRecord> decode_record(std::span<const std::byte> bytes);

}  // namespace braid
