// `braid demo`: a whole cluster on this machine, to look at, to test with and to throw away.
#pragma once

#include <cstdint>
#include <string>

#include "braid/commands.h"

namespace braid::cli {

struct DemoOptions {
    unsigned controllers = 3;
    unsigned outside = 0;  ///< of these, the last ones do not share the group: their ports are forwarded
    unsigned disks = 6;
    std::uint64_t disk_size = 1ull << 30;
    std::uint64_t volume_size = 1ull << 30;
    std::string level = "raid6";
    SharingRequest sharing;
    std::string dir;    ///< empty: a fresh temporary one
    bool keep = false;  ///< leave the directory; with disks in it the next demo uses them again
    std::string run;    ///< captive command; empty: stay in the foreground
    unsigned ping_timeout_ms = 1000;
    unsigned spin_us = 50;
    unsigned disk_delay_us = 0;
};

/// Starts it, runs it, stops it. The exit code of the captive command, else kOk after Ctrl-C.
int demo(const DemoOptions& options);

/// kill, stop, cont, start: to a controller of the running demo.
int demo_control(const std::string& verb, const std::string& controller);

}  // namespace braid::cli
