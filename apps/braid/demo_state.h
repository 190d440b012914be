// How other `braid` processes find a running demo: a file in its directory, a well-known link to that
// directory, and a UNIX socket on which the demo takes one line ("kill ctl-b") and answers one ("ok ...",
// "error 3 ...").
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "braid/outcome.h"

namespace braid::cli {

struct DemoController {
    std::string name;
    std::string api;  ///< "unix:PATH"
    std::string nbd;  ///< "127.0.0.1:41233"
};

struct DemoState {
    std::string control;  ///< path of the socket
    std::vector<DemoController> controllers;
};

void write_state(const std::string& directory, const DemoState& state);
/// Of the demo in BRAID_DIR, else of the one that was started last; nothing if none runs.
std::optional<DemoState> find_demo();
/// Makes `directory` the one that find_demo() finds, until unlink_demo().
void link_demo(const std::string& directory);
void unlink_demo(const std::string& directory);

/// Sends one line to a demo and returns its answer.
Answer<std::string> tell_demo(const DemoState& demo, const std::string& line);
/// A listening socket at `path`, or -1.
int listen_for_lines(const std::string& path);
/// Takes one line from a new connection, answers with what `act` returns.
void serve_line(int listener, const std::function<std::string(const std::string&)>& act);

}  // namespace braid::cli
