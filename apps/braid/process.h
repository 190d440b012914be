// Child processes of the demo: none outlives it, however it ends.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace braid::cli {

struct ChildSetup {
    std::vector<std::string> argv;
    std::vector<std::pair<std::string, std::string>> environment;  ///< added to ours
    std::string log;         ///< stdout and stderr go to the end of this file; empty: they are ours
    bool own_group = false;  ///< the terminal's Ctrl-C does not reach it, its standard input is empty
};

/// Starts it; the kernel kills it when this process dies. Signals are unblocked in it.
std::optional<pid_t> start_child(const ChildSetup& setup);

/// All living children of this process, adopted orphans included.
std::vector<pid_t> children();
/// Orphans of our children become ours, so that children() sees them.
void adopt_orphans();

/// SIGCONT and SIGTERM to each, SIGKILL to those that are still there after the deadline; returns when all
/// are reaped.
void end_children(const std::vector<pid_t>& pids, int deadline_ms);

/// Directory of this program's file.
std::string program_directory();

/// A TCP port of the loopback that nobody has now, another one each time, and that the kernel gives nobody
/// who connects somewhere.
std::optional<unsigned> free_port();

}  // namespace braid::cli
