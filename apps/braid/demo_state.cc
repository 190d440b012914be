#include "braid/demo_state.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace braid::cli {

namespace {

namespace fs = std::filesystem;

constexpr const char* kFile = "demo.json";
constexpr int kAnswerMs = 40'000;

std::string link_path() {
    const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
    return fmt::format("{}/braid-demo-{}", runtime != nullptr ? runtime : "/tmp", ::getuid());
}

std::optional<DemoState> read_state(const std::string& directory) {
    std::ifstream file(directory + "/" + kFile);
    const auto json = nlohmann::json::parse(file, nullptr, false);
    if (!json.is_object() || !json.contains("controllers") || !json.contains("control")) return std::nullopt;
    DemoState state{json.value("control", ""), {}};
    for (const auto& c : json["controllers"]) {
        state.controllers.push_back({c.value("name", ""), c.value("api", ""), c.value("nbd", "")});
    }
    return state;
}

bool unix_address(const std::string& path, sockaddr_un& address) {
    address = {};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return false;
    std::memcpy(address.sun_path, path.data(), path.size());
    return true;
}

/// Up to the end of a line; empty if none came in time.
std::string read_line(int fd, int timeout_ms) {
    std::string line;
    char c = 0;
    pollfd waiting{fd, POLLIN, 0};
    while (line.size() < 4096) {
        if (::poll(&waiting, 1, timeout_ms) <= 0) return {};
        if (::read(fd, &c, 1) != 1 || c == '\n') return line;
        line += c;
    }
    return {};
}

}  // namespace

void write_state(const std::string& directory, const DemoState& state) {
    nlohmann::ordered_json json{{"schema", "braid/demo"}, {"version", 1}, {"control", state.control}};
    for (const DemoController& c : state.controllers) {
        json["controllers"].push_back({{"name", c.name}, {"api", c.api}, {"nbd", c.nbd}});
    }
    std::ofstream(directory + "/" + kFile) << json.dump(2) << "\n";
}

std::optional<DemoState> find_demo() {
    if (const char* const directory = std::getenv("BRAID_DIR")) return read_state(directory);
    return read_state(link_path());
}

void link_demo(const std::string& directory) {
    std::error_code ignored;
    if (fs::is_symlink(link_path(), ignored)) fs::remove(link_path(), ignored);
    fs::create_directory_symlink(directory, link_path(), ignored);
}

void unlink_demo(const std::string& directory) {
    std::error_code error;
    if (fs::read_symlink(link_path(), error) == directory && !error) fs::remove(link_path(), error);
}

Answer<std::string> tell_demo(const DemoState& demo, const std::string& line) {
    sockaddr_un address;
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || !unix_address(demo.control, address) ||
        ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
        if (fd >= 0) ::close(fd);
        return failure(kUnreachable, "no demo runs: start one with 'braid demo'");
    }
    const std::string out = line + "\n";
    const bool sent = ::send(fd, out.data(), out.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(out.size());
    const std::string answer = sent ? read_line(fd, kAnswerMs) : "";
    ::close(fd);
    if (answer.starts_with("ok ")) return answer.substr(3);
    if (answer.starts_with("error ") && answer.size() > 8) {
        return failure(static_cast<Exit>(answer[6] - '0'), answer.substr(8));
    }
    return failure(kFailed, "the demo gave no answer: is it stopping?");
}

int listen_for_lines(const std::string& path) {
    sockaddr_un address;
    if (!unix_address(path, address)) return -1;
    ::unlink(path.c_str());
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 && ::listen(fd, 8) == 0)
        return fd;
    ::close(fd);
    return -1;
}

void serve_line(int listener, const std::function<std::string(const std::string&)>& act) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    const std::string line = read_line(fd, 1000);
    const std::string answer = (line.empty() ? "error 2 no command" : act(line)) + "\n";
    ::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
    ::close(fd);
}

}  // namespace braid::cli
