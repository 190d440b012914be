#include "braid/process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

namespace braid::cli {

namespace {

constexpr int kNoExec = 127;

[[noreturn]] void become(const ChildSetup& setup, pid_t parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(kNoExec);  // it died before the line above
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    if (setup.own_group) {
        ::setpgid(0, 0);
        const int null = ::open("/dev/null", O_RDONLY);
        if (null >= 0) ::dup2(null, STDIN_FILENO);
    }
    if (!setup.log.empty()) {
        const int log = ::open(setup.log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
        if (log < 0) ::_exit(kNoExec);
        ::dup2(log, STDOUT_FILENO);
        ::dup2(log, STDERR_FILENO);
    }
    for (const auto& [name, value] : setup.environment) ::setenv(name.c_str(), value.c_str(), 1);
    std::vector<char*> argv;
    for (const std::string& word : setup.argv) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    ::execvp(argv[0], argv.data());
    ::_exit(kNoExec);
}

}  // namespace

std::optional<pid_t> start_child(const ChildSetup& setup) {
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid == 0) become(setup, parent);
    if (pid < 0) return std::nullopt;
    return pid;
}

std::vector<pid_t> children() {
    std::vector<pid_t> found;
    std::ifstream list("/proc/self/task/" + std::to_string(::getpid()) + "/children");
    for (pid_t pid = 0; list >> pid;) found.push_back(pid);
    return found;
}

void adopt_orphans() { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }

void end_children(const std::vector<pid_t>& pids, int deadline_ms) {
    for (const pid_t pid : pids) {
        ::kill(pid, SIGTERM);
        ::kill(pid, SIGCONT);
    }
    std::vector<pid_t> left = pids;
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(deadline_ms);
    while (!left.empty()) {
        std::erase_if(left, [](pid_t pid) { return ::waitpid(pid, nullptr, WNOHANG) != 0; });
        if (left.empty()) return;
        if (std::chrono::steady_clock::now() >= end) break;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    for (const pid_t pid : left) ::kill(pid, SIGKILL);
    for (const pid_t pid : left) ::waitpid(pid, nullptr, 0);
}

std::string program_directory() {
    std::error_code error;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
    return error ? std::string(".") : self.parent_path().string();
}

std::optional<unsigned> free_port() {
    constexpr unsigned kFirst = 10'000,
                       kEnd = 32'768;  // from there on the kernel gives them to whoever connects
    static unsigned next = std::random_device()();
    for (unsigned tries = kFirst; tries < kEnd; ++tries) {
        const unsigned port = kFirst + next++ % (kEnd - kFirst);
        const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) return std::nullopt;
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(static_cast<std::uint16_t>(port));
        const bool free = ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
        ::close(fd);
        if (free) return port;
    }
    return std::nullopt;
}

}  // namespace braid::cli
