// The daemon: one controller in the real world.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>

#include "admin/server.h"
#include "base/log.h"
#include "braidd/config.h"
#include "controller/controller.h"
#include "io/uring/loop.h"
#include "io/uring/member_store.h"
#include "io/uring/network.h"
#include "io/uring/random.h"
#include "io/uring/shelf.h"
#include "io/uring/side_threads.h"
#include "io/uring/unique_fd.h"

namespace braid {
namespace {

constexpr Nanos kStopDeadline = 30s;
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

class LoopThread final : public admin::DataThread {
public:
    explicit LoopThread(Loop& loop) : loop_(loop) {}
    void post(std::move_only_function<void()> act) override { loop_.post_remote(std::move(act)); }
    Executor& executor() override { return loop_.executor(); }

private:
    Loop& loop_;
};

LoopOptions loop_options(const DaemonConfig& config) {
    LoopOptions options;
    options.spin = std::chrono::microseconds(config.spin_us);
    options.engine = config.engine == DiskEngine::uring     ? LoopOptions::EngineKind::uring
                     : config.engine == DiskEngine::threads ? LoopOptions::EngineKind::threads
                                                            : LoopOptions::EngineKind::automatic;
    return options;
}

ShelfOptions shelf_options(const DaemonConfig& config) {
    return {config.scan, std::chrono::microseconds(config.disk_delay_us)};
}

ControllerConfig controller_config(const DaemonConfig& config) {
    ControllerConfig out;
    out.name = config.name;
    out.peer_address = config.peers;
    out.nbd = config.nbd;
    out.ping_timeout = std::chrono::milliseconds(config.ping_timeout_ms);
    out.cache = config.cache;
    out.dirty = config.dirty;
    out.passed = config.passed;
    out.checksums = config.checksums;
    out.dirty_age = std::chrono::milliseconds(config.dirty_age_ms);
    out.window = config.window;
    out.window_age = std::chrono::milliseconds(config.window_age_ms);
    out.spare_delay = std::chrono::seconds(config.spare_delay_s);
    out.host_p99 = std::chrono::microseconds(config.host_p99_us);
    out.background_min = config.background_min;
    out.location = {config.host, config.site};
    out.nbd_limits.total_bytes_in_flight = config.memory;
    out.nbd_limits.bytes_in_flight = std::min<std::size_t>(out.nbd_limits.bytes_in_flight, config.memory / 2);
    return out;
}

admin::UnixMillis wall_clock() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

/// What lives as long as the daemon, in the order in which it needs each other.
class Daemon {
public:
    Daemon(const DaemonConfig& config, Loop& loop, MemberStore& members, FileShelf& shelf, int signals)
        : config_(config),
          loop_(loop),
          thread_(loop),
          network_(loop),
          sides_(loop, loop_options(config), shelf_options(config)),
          controller_(Environment{loop.executor(), loop.clock(), network_, members, shelf, random_, sides_},
                      controller_config(config)),
          signals_(signals),
          end_(loop.executor()),
          scope_(loop.executor()) {}

    int run() {
        scope_.spawn(live());
        loop_.run();
        return exit_code_;
    }

private:
    Task<void> live() {
        scope_.spawn(watch_signals());
        scope_.spawn(watch_fence());
        if (const Status started = co_await controller_.start(); !started) {
            LOG_ERROR("daemon.start_failed", {"reason", to_string(started.error().code)},
                      {"detail", started.error().detail}, {"peers", config_.peers});
            exit_code_ = kExitFailed;
            loop_.stop();
            co_return;
        }
        auto api = admin::Server::start(thread_, controller_, {config_.api, wall_clock});
        if (!api) {
            LOG_ERROR("daemon.api_failed", {"reason", api.error()});
            exit_code_ = kExitFailed;
        } else {
            api_ = std::move(*api);
            for (const std::string& address : api_->addresses()) LOG_INFO("daemon.api", {"address", address});
            LOG_INFO("daemon.ready", {"controller", config_.name}, {"engine", loop_.engine_name()});
            co_await end_;
            api_->close();
        }
        scope_.spawn(give_up_later());
        co_await controller_.stop();
        LOG_INFO("daemon.stopped", {"controller", config_.name});
        loop_.stop();
    }

    Task<void> watch_signals() {
        for (bool again = false;; again = true) {
            co_await KernelCall(loop_, KernelOp::Verb::poll, signals_, POLLIN);
            signalfd_siginfo info{};
            if (::read(signals_, &info, sizeof info) != static_cast<ssize_t>(sizeof info)) continue;
            LOG_INFO("daemon.signal", {"number", info.ssi_signo}, {"sender", info.ssi_pid});
            if (again) ::_exit(kExitFailed);  // told twice: no more waiting for hosts and peers
            end_.set();
        }
    }

    /// The others have gone on without us: nothing of ours may touch a disk or a peer any more.
    Task<void> watch_fence() {
        co_await controller_.fenced();
        LOG_ERROR("daemon.fenced", {"controller", config_.name});
        ::_exit(kExitFailed);
    }

    Task<void> give_up_later() {
        co_await sleep_for(loop_.clock(), kStopDeadline);
        LOG_ERROR("daemon.stop_timeout", {"controller", config_.name});
        ::_exit(kExitFailed);
    }

    const DaemonConfig& config_;
    Loop& loop_;
    LoopThread thread_;
    UringNetwork network_;
    KernelRandom random_;
    LoopSides sides_;  ///< before the controller: they end after all that it leaves there
    Controller controller_;
    const int signals_;
    Event end_;
    int exit_code_ = 0;
    Scope scope_;
    std::unique_ptr<admin::Server> api_;
};

/// SIGTERM and SIGINT arrive as readable bytes; blocked before any thread exists.
UniqueFd take_signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    ::signal(SIGXFSZ, SIG_IGN);  // a write beyond a file size limit is an error of that write
    return UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int usage() {
    std::fputs("usage: braidd --config FILE [--check]\n", stderr);
    return kExitUsage;
}

int serve(const DaemonConfig& config) {
    std::error_code ignored;
    std::filesystem::create_directories(config.state, ignored);
    set_log_sink(stderr_log_sink());
    set_log_level(config.log_level);
    const UniqueFd signals = take_signals();
    Loop loop(loop_options(config));
    FileShelf shelf(loop, shelf_options(config));
    auto members = FileMemberStore::open(loop, config.cluster_directory,
                                         [&shelf](std::uint64_t pid) { return shelf.may_still_write(pid); });
    if (!members) {
        LOG_ERROR("daemon.member_store_failed", {"directory", config.cluster_directory},
                  {"reason", to_string(members.error().code)}, {"errno", members.error().detail});
        return kExitFailed;
    }
    Daemon daemon(config, loop, **members, shelf, signals.get());
    return daemon.run();
}

int run_daemon(int argc, char** argv) {
    std::string path;
    bool check = false;
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        if (word == "--config" && i + 1 < argc) {
            path = argv[++i];
        } else if (word == "--check") {
            check = true;
        } else {
            return usage();
        }
    }
    if (path.empty()) return usage();
    std::ifstream file(path);
    if (!file) {
        std::fprintf(stderr, "braidd: cannot read %s: is the path right?\n", path.c_str());
        return kExitUsage;
    }
    std::stringstream text;
    text << file.rdbuf();
    const auto config = parse_config(text.str());
    if (!config) {
        const ConfigError& e = config.error();
        const std::string place =
            e.line == 0 ? "" : ":" + std::to_string(e.line) + ":" + std::to_string(e.column);
        std::fprintf(stderr, "braidd: %s%s: %s\n", path.c_str(), place.c_str(), e.text.c_str());
        return kExitUsage;
    }
    if (check) {
        std::printf("%s: ok\n", path.c_str());
        return 0;
    }
    return serve(*config);
}

}  // namespace
}  // namespace braid

int main(int argc, char** argv) { return braid::run_daemon(argc, argv); }
