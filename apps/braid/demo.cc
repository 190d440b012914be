#include "braid/demo.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "braid/demo_state.h"
#include "braid/process.h"
#include "braid/render.h"
#include "braid/sizes.h"

namespace braid::cli {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

constexpr auto kStartDeadline = std::chrono::seconds(30);
constexpr int kStopMs = 20'000;
constexpr std::size_t kLongestSocketDirectory = 70;  // of 107 bytes that a socket's path may have

class Demo {
public:
    explicit Demo(const DemoOptions& options) : options_(options) {}
    ~Demo() { tear_down(); }

    int run() {
        if (const auto done = prepare(); !done) return report(done.error());
        if (const auto done = bring_up(); !done) return report(done.error());
        return options_.run.empty() ? stay() : captive();
    }

private:
    struct Daemon {
        DemoController controller;
        std::string directory;
        pid_t pid = 0;  ///< 0: not running
    };

    Answer<void> prepare();
    Answer<void> make_disks();
    void write_config(const Daemon& daemon) const;
    Answer<void> bring_up();
    bool start(Daemon& daemon);
    Answer<void> wait_for(const std::string& what, const std::function<bool()>& reached);
    Answer<void> create_objects();
    std::vector<std::pair<std::string, std::string>> environment() const;
    std::vector<std::string> uris() const;
    void introduce() const;
    int stay();
    int captive();
    /// Waits up to `ms`; takes signals, the dead and the control socket as they come. False after SIGINT or
    /// SIGTERM.
    bool attend(int ms);
    void reap();
    std::string control(const std::string& line);
    void tear_down();
    Client client() const;
    std::string log_tail(const Daemon& daemon) const;

    const DemoOptions options_;
    std::string directory_, disk_directory_, socket_directory_;
    bool made_directory_ = false, reuse_ = false;
    std::vector<Daemon> daemons_;
    std::map<pid_t, int> ended_;  // children that ended, with their wait status
    int signals_ = -1, listener_ = -1;
    bool interrupted_ = false;
};

Client Demo::client() const {
    std::vector<std::string> apis;
    for (const Daemon& d : daemons_) {
        if (d.pid != 0) apis.push_back(d.controller.api);
    }
    return Client(std::move(apis), 10);
}

std::string Demo::log_tail(const Daemon& daemon) const {
    std::ifstream log(daemon.directory + "/log");
    std::vector<std::string> lines;
    for (std::string line; std::getline(log, line);) lines.push_back(line);
    if (lines.size() > 5) lines.erase(lines.begin(), lines.end() - 5);
    return fmt::format("{}", fmt::join(lines, "\n       "));
}

Answer<void> Demo::prepare() {
    if (options_.controllers < 1 || options_.controllers > 16)
        return failure(kUsage, "--controllers is 1 to 16");
    if (options_.disks < 3 || options_.disks > 64) return failure(kUsage, "--disks is 3 to 64");
    sigset_t set;
    sigemptyset(&set);
    for (const int s : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&set, s);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    signals_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    adopt_orphans();

    std::error_code error;
    if (options_.dir.empty()) {
        std::string pattern = (fs::temp_directory_path() / "braid-demo-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr)
            return failure(kFailed, "cannot make a temporary directory");
        directory_ = pattern;
        made_directory_ = true;
    } else {
        made_directory_ = fs::create_directories(options_.dir, error);
        directory_ = fs::absolute(options_.dir, error).lexically_normal().string();
        while (directory_.size() > 1 && directory_.ends_with('/')) directory_.pop_back();
        if (!fs::is_directory(directory_, error)) {
            return failure(kFailed, fmt::format("cannot make {}: {}", options_.dir, error.message()));
        }
    }
    socket_directory_ = directory_;
    if (directory_.size() > kLongestSocketDirectory) {
        std::string pattern = "/tmp/braid-demo-XXXXXX";
        if (::mkdtemp(pattern.data()) == nullptr)
            return failure(kFailed, "cannot make a directory below /tmp");
        socket_directory_ = pattern;
    }
    if (const auto made = make_disks(); !made) return made;
    for (unsigned i = 0; i < options_.controllers; ++i) {
        Daemon daemon;
        daemon.controller.name = fmt::format("ctl-{}", static_cast<char>('a' + i));
        daemon.directory = directory_ + "/" + daemon.controller.name;
        daemon.controller.api = fmt::format("unix:{}/{}.api", socket_directory_, daemon.controller.name);
        const auto port = free_port();
        if (!port) return failure(kFailed, "no free TCP port on 127.0.0.1");
        daemon.controller.nbd = fmt::format("127.0.0.1:{}", *port);
        fs::create_directories(daemon.directory, error);
        write_config(daemon);
        daemons_.push_back(std::move(daemon));
    }
    DemoState state{socket_directory_ + "/demo.control", {}};
    for (const Daemon& d : daemons_) state.controllers.push_back(d.controller);
    listener_ = listen_for_lines(state.control);
    if (listener_ < 0) return failure(kFailed, fmt::format("cannot listen on {}", state.control));
    write_state(directory_, state);
    link_demo(directory_);
    return {};
}

Answer<void> Demo::make_disks() {
    std::error_code error;
    const std::string place = directory_ + "/disks";
    reuse_ = fs::exists(place + "/d0", error);
    if (reuse_) return {};
    if (const char* const elsewhere = std::getenv("BRAID_DEMO_DISKS");
        elsewhere != nullptr && *elsewhere != 0) {
        std::string pattern = fmt::format("{}/braid-disks-XXXXXX", elsewhere);
        if (::mkdtemp(pattern.data()) == nullptr) {
            return failure(kFailed, fmt::format("cannot make a directory in BRAID_DEMO_DISKS={}", elsewhere));
        }
        disk_directory_ = fs::absolute(pattern, error).string();
        fs::create_directory_symlink(disk_directory_, place, error);
    } else {
        fs::create_directories(place, error);
    }
    for (unsigned i = 0; i < options_.disks; ++i) {
        const std::string path = fmt::format("{}/d{}", place, i);
        std::ofstream(path).close();
        fs::resize_file(path, options_.disk_size, error);
        if (error) {
            return failure(kFailed, fmt::format("cannot make {} of {}: {}", path,
                                                size_text(options_.disk_size), error.message()));
        }
    }
    return {};
}

void Demo::write_config(const Daemon& d) const {
    const auto quoted = [](const std::string& text) {
        return Json(text).dump(-1, ' ', true);
    };  // a TOML string, too
    std::ofstream(d.directory + "/braidd.toml") << fmt::format(
        "[controller]\nname = {}\nstate = {}\n\n"
        "[listen]\nnbd = [{}]\npeers = {}\napi = [{}]\n\n"
        "[cluster]\nprovider = \"local\"\ndirectory = {}\nping_timeout_ms = {}\n\n"
        "[disks]\nscan = [{}]\ndelay_us = {}\n\n[limits]\nspin_us = {}\n",
        quoted(d.controller.name), quoted(d.directory), quoted(d.controller.nbd),
        quoted(fmt::format("unix:{}/{}.peer", socket_directory_, d.controller.name)),
        quoted(d.controller.api), quoted(directory_ + "/cluster"), options_.ping_timeout_ms,
        quoted(directory_ + "/disks/d*"), options_.disk_delay_us, options_.spin_us);
}

bool Demo::start(Daemon& daemon) {
    const std::string beside = program_directory() + "/braidd";
    ChildSetup setup;
    setup.argv = {fs::exists(beside) ? beside : "braidd", "--config", daemon.directory + "/braidd.toml"};
    setup.log = daemon.directory + "/log";
    setup.own_group = true;
    const auto pid = start_child(setup);
    daemon.pid = pid.value_or(0);
    return pid.has_value();
}

Answer<void> Demo::wait_for(const std::string& what, const std::function<bool()>& reached) {
    const auto end = Clock::now() + kStartDeadline;
    while (!reached()) {
        if (!attend(20)) return failure(kFailed, "interrupted");
        for (const Daemon& d : daemons_) {
            if (d.pid != 0) continue;
            return failure(kFailed, fmt::format("{} ended while {}; the end of its log:\n       {}",
                                                d.controller.name, what, log_tail(d)));
        }
        if (Clock::now() > end) {
            return failure(kFailed, fmt::format("gave up after {} s {}; the end of {}'s log:\n       {}",
                                                kStartDeadline.count(), what, daemons_[0].controller.name,
                                                log_tail(daemons_[0])));
        }
    }
    return {};
}

Answer<void> Demo::bring_up() {
    for (Daemon& d : daemons_) {
        if (!start(d)) return failure(kFailed, "cannot start a process");
    }
    const auto all_up = [this] {
        for (const Daemon& d : daemons_) {
            const auto answer = Client({d.controller.api}, 5).get("/api/v1/status");
            if (!answer) return false;
            const Json status = Json::parse(*answer, nullptr, false);
            const auto up = std::ranges::count_if(status["controllers"],
                                                  [](const Json& c) { return c["state"] == "up"; });
            if (static_cast<std::size_t>(up) != daemons_.size()) return false;
        }
        return true;
    };
    if (const auto done = wait_for("the controllers find each other", all_up); !done) return done;
    if (!reuse_) {
        if (const auto done = create_objects(); !done) return done;
    }
    const auto served = [this] {
        for (const Daemon& d : daemons_) {
            const auto answer = Client({d.controller.api}, 5).get("/api/v1/ports");
            if (!answer) return false;
            const Json ports = Json::parse(*answer, nullptr, false)["ports"];
            const bool open = std::ranges::any_of(ports, [&](const Json& p) {
                return p["controller"] == d.controller.name && p["state"] == "open";
            });
            if (!open) return false;
        }
        return true;
    };
    return wait_for("the ports open", served);
}

Answer<void> Demo::create_objects() {
    Json disks = Json::array();
    for (unsigned i = 0; i < options_.disks; ++i) disks.push_back(fmt::format("{}/disks/d{}", directory_, i));
    Json group{{"name", "g0"}, {"level", options_.level}, {"disks", disks}};
    for (const auto& [key, value] : options_.sharing.fields()) group[key] = Json::parse(value);
    const std::size_t sharing = daemons_.size() - options_.outside;
    Json outside = Json::array();
    for (std::size_t i = 0; i < daemons_.size(); ++i) {
        const std::string& name = daemons_[i].controller.name;
        (i < sharing ? group["controllers"] : outside).push_back(name);
    }
    if (auto done = client().post("/api/v1/groups", group.dump()); !done)
        return std::unexpected(done.error());
    std::uint64_t usable = 0;
    const auto known = [&] {
        const auto answer = client().get("/api/v1/groups/g0");
        if (!answer) return false;
        const Json g = Json::parse(*answer, nullptr, false);
        usable = g.value("usable_bytes", std::uint64_t{0});
        return !g.value("assembling", true) && g["attached"].size() == sharing;
    };
    if (const auto done = wait_for("the group is attached everywhere", known); !done) return done;
    const Json volume{{"name", "v0"}, {"group", "g0"}, {"size", std::min(usable, options_.volume_size)}};
    if (auto done = client().post("/api/v1/volumes", volume.dump()); !done)
        return std::unexpected(done.error());
    if (auto done = client().post("/api/v1/ports", Json{{"volume", "v0"}}.dump()); !done) {
        return std::unexpected(done.error());
    }
    if (outside.empty()) return {};
    if (auto done = client().post("/api/v1/ports", Json{{"volume", "v0"}, {"controllers", outside}}.dump());
        !done) {
        return std::unexpected(done.error());
    }
    return {};
}

std::vector<std::string> Demo::uris() const {
    std::vector<std::string> all;
    for (const Daemon& d : daemons_) all.push_back(fmt::format("nbd://{}/v0", d.controller.nbd));
    return all;
}

std::vector<std::pair<std::string, std::string>> Demo::environment() const {
    const char* const path = std::getenv("PATH");
    return {{"BRAID_URIS", fmt::format("{}", fmt::join(uris(), " "))},
            {"BRAID_API", daemons_[0].controller.api},
            {"BRAID_DIR", directory_},
            {"PATH", fmt::format("{}:{}", program_directory(), path != nullptr ? path : "/usr/bin:/bin")}};
}

void Demo::introduce() const {
    const auto all = uris();
    for (std::size_t i = 0; i < all.size(); ++i) {
        fmt::print("{:<12} {}\n", daemons_[i].controller.name, all[i]);
    }
    const std::string& far = daemons_.size() > 1 ? daemons_[1].controller.name : daemons_[0].controller.name;
    const std::string self = program_directory() + "/braid";
    fmt::print(
        "directory    {}\n\ntry          nbdcopy --progress FILE {}\n             {} demo kill {}\n"
        "             {} demo start {}\n             {} status\nCtrl-C stops everything.\n\n",
        directory_, all[0], self, far, self, far, self);
    std::fflush(stdout);
}

int Demo::stay() {
    const bool terminal = ::isatty(STDOUT_FILENO) != 0;
    introduce();
    std::string shown;
    std::size_t lines = 0;
    do {
        const auto answer = client().get("/api/v1/status");
        const std::string text = answer ? status_text(*answer) : "braid: " + answer.error().message + "\n";
        if (terminal && lines > 0) fmt::print("\033[{}A\033[J", lines);
        if (terminal || text != shown) fmt::print("{}", text);
        std::fflush(stdout);
        shown = text;
        lines = static_cast<std::size_t>(std::ranges::count(text, '\n'));
    } while (attend(1000));
    fmt::print("stopping\n");
    return kOk;
}

int Demo::captive() {
    ChildSetup setup;
    setup.argv = {"/bin/sh", "-c", options_.run};
    setup.environment = environment();
    const auto pid = start_child(setup);
    if (!pid) return report({kFailed, "cannot start a process"});
    while (!ended_.contains(*pid)) {
        if (attend(60'000) || ended_.contains(*pid)) continue;
        ::kill(*pid, SIGTERM);
        interrupted_ = false;  // a second signal is passed on again
    }
    const int status = ended_[*pid];
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool Demo::attend(int ms) {
    pollfd waiting[2] = {{signals_, POLLIN, 0}, {listener_, POLLIN, 0}};
    const auto end = Clock::now() + std::chrono::milliseconds(ms);
    for (;;) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
        if (::poll(waiting, 2, static_cast<int>(std::max<std::int64_t>(0, left))) <= 0) return !interrupted_;
        signalfd_siginfo info{};
        bool child_ended = false;
        while (::read(signals_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
            if (info.ssi_signo == SIGCHLD) {
                reap();
                child_ended = true;
            } else {
                interrupted_ = true;
            }
        }
        if ((waiting[1].revents & POLLIN) != 0)
            serve_line(listener_, [this](const auto& line) { return control(line); });
        if (interrupted_) return false;
        if (child_ended) return true;
    }
}

void Demo::reap() {
    int status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
        ended_[pid] = status;
        for (Daemon& d : daemons_) {
            if (d.pid == pid) d.pid = 0;
        }
    }
}

std::string Demo::control(const std::string& line) {
    const std::size_t space = line.find(' ');
    const std::string verb = line.substr(0, space);
    const std::string name = space == std::string::npos ? "" : line.substr(space + 1);
    const auto at =
        std::ranges::find_if(daemons_, [&](const Daemon& d) { return d.controller.name == name; });
    if (at == daemons_.end()) {
        std::vector<std::string> names;
        for (const Daemon& d : daemons_) names.push_back(d.controller.name);
        return fmt::format("error 3 there is no controller '{}' in the demo: {}", name,
                           fmt::join(names, ", "));
    }
    reap();
    if (verb == "start") {
        if (at->pid != 0) return fmt::format("error 6 {} is running (pid {})", name, at->pid);
        if (!start(*at)) return "error 1 cannot start a process";
        const auto end = Clock::now() + kStartDeadline;
        while (!Client({at->controller.api}, 5).get("/livez")) {
            reap();
            if (at->pid == 0) return fmt::format("error 1 {} ended at once: see {}/log", name, at->directory);
            if (Clock::now() > end)
                return fmt::format("error 7 {} does not answer yet: see {}/log", name, at->directory);
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        return fmt::format("ok {} started (pid {})", name, at->pid);
    }
    if (at->pid == 0) return fmt::format("error 6 {} is not running: braid demo start {}", name, name);
    const pid_t pid = at->pid;
    if (verb == "stop")
        return ::kill(pid, SIGSTOP) == 0 ? fmt::format("ok {} stopped (pid {})", name, pid)
                                         : "error 1 failed";
    if (verb == "cont")
        return ::kill(pid, SIGCONT) == 0 ? fmt::format("ok {} goes on (pid {})", name, pid)
                                         : "error 1 failed";
    if (verb != "kill") return fmt::format("error 2 unknown command '{}'", verb);
    ::kill(pid, SIGKILL);
    int status = 0;
    if (::waitpid(pid, &status, 0) == pid) ended_[pid] = status;
    at->pid = 0;
    return fmt::format("ok {} killed (pid {})", name, pid);
}

void Demo::tear_down() {
    if (directory_.empty()) return;
    std::vector<pid_t> daemons, others;
    reap();
    for (const Daemon& d : daemons_) {
        if (d.pid != 0) daemons.push_back(d.pid);
    }
    for (const pid_t pid : children()) {
        if (std::ranges::find(daemons, pid) == daemons.end()) others.push_back(pid);
    }
    end_children(others, 2000);  // what the captive command left behind
    end_children(daemons, kStopMs);
    if (listener_ >= 0) ::close(listener_);
    if (signals_ >= 0) ::close(signals_);
    unlink_demo(directory_);
    std::error_code ignored;
    if (socket_directory_ != directory_) fs::remove_all(socket_directory_, ignored);
    for (const char* file : {"demo.control", "demo.json"}) fs::remove(directory_ + "/" + file, ignored);
    if (options_.keep) {
        fmt::print("kept         {}\n", directory_);
        return;
    }
    if (!disk_directory_.empty()) fs::remove_all(disk_directory_, ignored);
    for (const Daemon& d : daemons_) fs::remove_all(d.directory, ignored);
    for (const char* part : {"disks", "cluster"}) fs::remove_all(directory_ + "/" + part, ignored);
    if (made_directory_) fs::remove_all(directory_, ignored);
}

}  // namespace

int demo(const DemoOptions& options) { return Demo(options).run(); }

int demo_control(const std::string& verb, const std::string& controller) {
    const auto demo = find_demo();
    if (!demo) return report({kUnreachable, "no demo runs: start one with 'braid demo'"});
    const auto answer = tell_demo(*demo, verb + " " + controller);
    if (!answer) return report(answer.error());
    fmt::print("{}\n", *answer);
    return kOk;
}

}  // namespace braid::cli
