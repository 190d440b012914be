// braidd.toml: the facts of this machine. Groups, virtual disks and ports stand on the disks, never here.
//
//   [controller]  name = "ctl-a"  state = "/var/lib/braidd"  host = "rack1"  site = "north"
//   [listen]      nbd = ["127.0.0.1:10809", "unix:/run/braidd/nbd.sock"]  peers = "127.0.0.1:0"
//                 api = ["unix:/run/braidd/api.sock", "127.0.0.1:9420"]
//   [cluster]     provider = "local"  directory = "/run/braidd/cluster"  ping_timeout_ms = 1000
//   [disks]       scan = ["/srv/disks/d*"]  engine = "auto"
//   [limits]      memory = "256MiB"  cache = "64MiB"  dirty = "32MiB"  passed = "64KiB"  window = "4MiB"
//   spin_us = 50
//                 spare_delay_s = 30  host_p99_ms = 10  background_min = "10MiB"
//   [log]         level = "info"
//
// Unknown keys, wrong types and syntax errors are errors with line and column. Nothing is guessed.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"

namespace braid {

enum class DiskEngine : std::uint8_t { automatic, uring, threads };

struct DaemonConfig {
    std::string name;                       ///< required
    std::string host, site;                 ///< labels: copies of records stand elsewhere, if they can
    std::string state = "/var/lib/braidd";  ///< directory
    std::vector<std::string> nbd;           ///< none: no NBD server
    std::string peers = "127.0.0.1:0";
    std::vector<std::string> api;
    std::string cluster_directory;         ///< of the member store; default: "cluster" in the state directory
    std::uint32_t ping_timeout_ms = 1000;  ///< 10 .. 600000
    std::vector<std::string> scan;         ///< required: glob patterns
    DiskEngine engine = DiskEngine::automatic;
    std::uint32_t disk_delay_us = 0;  ///< before each command, for measurements, 0 .. 1000000
    std::uint64_t memory =
        256ull << 20;  ///< bytes that requests of hosts may hold on each data thread, 16 MiB .. 1 TiB
    std::uint64_t cache = 64ull << 20;  ///< bytes of clean data of each group on each data thread, 0 .. 1 TiB
    std::uint64_t checksums = 16ull << 20;  ///< bytes of checksums in memory, the same, 0 .. 1 TiB
    std::uint64_t dirty = 32ull << 20;      ///< bytes answered and not written yet, the same, 1 MiB .. 32 GiB
    std::uint32_t dirty_age_ms = 1000;      ///< 10 .. 60000
    std::uint64_t passed = 64ull << 10;     ///< of these, bytes that go along with one lock, 0 .. 8 MiB
    std::uint64_t window = 4ull << 20;      ///< of these, bytes without their copies, the same, 0 .. 1 TiB
    std::uint32_t window_age_ms = 200;      ///< 1 .. 60000
    std::uint32_t spare_delay_s = 30;       ///< from the failure of a member to the rebuild, 0 .. 31536000
    std::uint32_t host_p99_us = 10'000;  ///< that background work leaves hosts, 0: it does not care, .. 60 s
    std::uint64_t background_min = 10ull << 20;  ///< bytes per second that they go at in any case, for each
                                                 ///< group on each data thread, 1 MiB .. 1 TiB
    std::uint32_t spin_us = 50;                  ///< 0 .. 10000
    LogLevel log_level = LogLevel::info;
};

/// One line for the operator: what is wrong, and what to write instead. 1-based; 0 where no place can be
/// named.
struct ConfigError {
    std::string text;
    std::uint32_t line = 0;
    std::uint32_t column = 0;
};

std::expected<DaemonConfig, ConfigError> parse_config(std::string_view text);

}  // namespace braid
