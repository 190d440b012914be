#include "admin/server.h"

#include <fmt/format.h>
#include <httplib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <thread>

#include "admin/metrics.h"
#include "admin/requests.h"
#include "base/log.h"

namespace braid::admin {

namespace {

constexpr const char* kJson = "application/json";
constexpr const char* kProblem = "application/problem+json";
constexpr std::string_view kUnix = "unix:";
constexpr std::size_t kMaxRequestBytes = 1 << 20;

void send_problem(httplib::Response& response, const AdminError& error) {
    response.status = http_status(error.code);
    response.set_content(problem_document(error), kProblem);
}

AdminError error_of(NoAnswer why) {
    if (why == NoAnswer::closed)
        return {Errc::not_ready, "this controller is stopping", "ask another controller"};
    return {Errc::timeout, "the controller did not answer in time; what was asked for may still happen",
            "look at 'braid status', then try again"};
}

bool flag(const httplib::Request& request, const char* name) {
    const std::string value = request.get_param_value(name);
    return value == "1" || value == "true";
}

constexpr std::size_t kMostHot = 128;

/// ?hot=N, 10 without it or where it says nothing.
std::size_t hot_wanted(const httplib::Request& request) {
    const std::string text = request.get_param_value("hot");
    std::size_t hot = 10;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), hot);
    return error == std::errc{} && end == text.data() + text.size() ? std::min(hot, kMostHot) : 10;
}

/// "?bands=64"
std::size_t bands_wanted(const httplib::Request& request) {
    constexpr std::size_t kUsual = 32, kMost = 1024;
    const std::string text = request.get_param_value("bands");
    std::size_t bands = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bands);
    const bool fine = error == std::errc{} && end == text.data() + text.size() && bands != 0;
    return fine ? std::min(bands, kMost) : kUsual;
}

bool is_loopback(std::string_view host) {
    return host.starts_with("127.") || host == "localhost" || host == "::1";
}

/// "127.0.0.1:9420", "[::1]:9420"
bool split_address(std::string_view address, std::string& host, int& port) {
    const std::size_t colon = address.rfind(':');
    if (colon == std::string_view::npos) return false;
    host = address.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    const std::string_view digits = address.substr(colon + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    return error == std::errc{} && end == digits.data() + digits.size() && port >= 0 && port <= 65535;
}

template <class T>
Task<T> ready(T value) {
    co_return value;
}

}  // namespace

struct Server::Front {
    httplib::Server http;
    std::thread thread;
    std::string socket_path;  ///< of a UNIX socket
};

Server::Server(DataThread& thread, AdminTarget& target, ServerOptions options)
    : options_(std::move(options)), target_(target), calls_(thread, options_.deadline) {}

std::expected<std::unique_ptr<Server>, std::string> Server::start(DataThread& thread, AdminTarget& target,
                                                                  ServerOptions options) {
    std::unique_ptr<Server> server(new Server(thread, target, std::move(options)));
    for (const std::string& address : server->options_.listen) {
        if (auto done = server->listen(address); !done) return std::unexpected(done.error());
    }
    return server;
}

Server::~Server() {
    close();
    for (const auto& front : fronts_) {
        if (front->thread.joinable()) front->thread.join();
        if (!front->socket_path.empty()) ::unlink(front->socket_path.c_str());
    }
}

void Server::close() {
    calls_.close();
    for (const auto& front : fronts_) front->http.stop();
}

std::expected<void, std::string> Server::listen(const std::string& address) {
    auto front = std::make_unique<Front>();
    httplib::Server& http = front->http;
    http.set_payload_max_length(kMaxRequestBytes);
    http.set_keep_alive_timeout(2);
    http.set_read_timeout(5);
    http.set_write_timeout(5);
    std::string real = address;
    if (address.starts_with(kUnix)) {
        front->socket_path = address.substr(kUnix.size());
        struct stat found{};
        if (::lstat(front->socket_path.c_str(), &found) == 0 && S_ISSOCK(found.st_mode)) {
            ::unlink(front->socket_path.c_str());  // left behind by a daemon that was killed
        }
        http.set_address_family(AF_UNIX);
        if (!http.bind_to_port(front->socket_path, 1)) {
            return std::unexpected(
                fmt::format("cannot listen on {}: is the directory there, is the path in use, is "
                            "it longer than 107 bytes?",
                            address));
        }
        ::chmod(front->socket_path.c_str(), 0600);
    } else {
        std::string host;
        int port = 0;
        if (!split_address(address, host, port)) {
            return std::unexpected(
                fmt::format("'{}' is not an address: write HOST:PORT or unix:PATH", address));
        }
        if (!is_loopback(host)) {
            return std::unexpected(
                fmt::format("{} is not a loopback address: the control API has no access control, "
                            "use 127.0.0.1 or a UNIX socket",
                            address));
        }
        if (port == 0) {
            port = http.bind_to_any_port(host);
        } else if (!http.bind_to_port(host, port)) {
            port = -1;
        }
        if (port <= 0)
            return std::unexpected(fmt::format("cannot listen on {}: is the port in use?", address));
        real = fmt::format("{}:{}", address.substr(0, address.rfind(':')), port);
    }
    add_routes(*front);
    front->thread = std::thread([&http] { http.listen_after_bind(); });
    while (!http.is_running()) std::this_thread::yield();  // before that, stop() would not be heard
    addresses_.push_back(std::move(real));
    fronts_.push_back(std::move(front));
    return {};
}

void Server::add_routes(Front& front) {
    add_readers(front);
    add_changers(front);
    front.http.set_error_handler([](const httplib::Request& request, httplib::Response& response) {
        if (!response.body.empty()) return;
        const int status = response.status;
        const Errc code = status == 404 ? Errc::not_found : status == 413 ? Errc::too_large : Errc::invalid;
        const std::string detail = status == 404
                                       ? fmt::format("no such route: {} {}", request.method, request.path)
                                       : fmt::format("the request cannot be read (HTTP {})", status);
        response.set_content(problem_document({code, detail, ""}), kProblem);
    });
    front.http.set_exception_handler(
        [](const httplib::Request&, httplib::Response& response, std::exception_ptr) {
            send_problem(response, {Errc::invalid, "the request cannot be understood", ""});
        });
}

void Server::add_readers(Front& front) {
    // One question to the data thread, one document from its answer. An empty document means: no such object.
    const auto get = [this, &front](const char* pattern, auto collect, auto render) {
        front.http.Get(
            pattern, [this, collect, render](const httplib::Request& request, httplib::Response& response) {
                using T = decltype(collect(target_));
                auto answer = calls_.ask<T>([this, collect] { return ready(collect(target_)); });
                if (!answer) return send_problem(response, error_of(answer.error()));
                const std::string text = render(*answer, request);
                if (text.empty()) {
                    return send_problem(
                        response, {Errc::not_found, fmt::format("no such object: {}", request.path), ""});
                }
                response.set_content(text, kJson);
            });
    };
    const auto status = [](AdminTarget& t) { return t.status(); };
    using Req = const httplib::Request&;
    get("/api/v1/status", status,
        [this](const StatusReport& r, Req) { return status_document(r, options_.wall_clock()); });
    get("/api/v1/controllers", status, [](const StatusReport& r, Req) { return controllers_document(r); });
    get("/api/v1/groups", status, [](const StatusReport& r, Req) { return groups_document(r); });
    get("/api/v1/groups/([^/]+)", status,
        [](const StatusReport& r, Req q) { return group_document(r, q.matches[1].str()); });
    get("/api/v1/jobs", status, [](const StatusReport& r, Req) { return jobs_document(r); });
    get("/api/v1/jobs/(\\d{1,18})", status,
        [](const StatusReport& r, Req q) { return job_document(r, std::stoull(q.matches[1].str())); });
    get(
        "/api/v1/disks", [](AdminTarget& t) { return t.disks(); },
        [](const std::vector<DiskInfo>& d, Req) { return disks_document(d); });
    get(
        "/api/v1/volumes", [](AdminTarget& t) { return t.volumes(); },
        [](const std::vector<VolumeInfo>& v, Req) { return volumes_document(v); });
    get(
        "/api/v1/ports", [](AdminTarget& t) { return std::pair(t.ports(), t.status()); },
        [](const auto& p, Req) { return ports_document(p.first, p.second); });
    get(
        "/api/v1/load", [](AdminTarget& t) { return t.load(kMostHot); },
        [](const LoadReport& l, Req q) { return load_document(l, hot_wanted(q)); });
    get(
        "/api/v1/events", [](AdminTarget&) { return last_events(); },
        [](const std::string& lines, Req) { return events_document(lines); });

    front.http.Get("/api/v1/groups/([^/]+)/map", [this](Req request, httplib::Response& response) {
        const std::string name = request.matches[1].str();
        auto answer = calls_.ask<std::optional<GroupMap>>(
            [this, name, bands = bands_wanted(request)] { return ready(target_.group_map(name, bands)); });
        if (!answer) return send_problem(response, error_of(answer.error()));
        if (!*answer)
            return send_problem(response, {Errc::not_found, fmt::format("no such object: {}", name), ""});
        response.set_content(map_document(**answer), kJson);
    });
    front.http.Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
        auto answer = calls_.ask<std::vector<Metric>>([this] {
            std::vector<Metric> all = status_metrics(target_.status());
            for (Metric& m : target_.metrics()) all.push_back(std::move(m));
            return ready(std::move(all));
        });
        if (!answer) return send_problem(response, error_of(answer.error()));
        response.set_content(metrics_page(*answer), "text/plain; version=0.0.4");
    });
    front.http.Get("/livez", [this](const httplib::Request&, httplib::Response& response) {
        auto answer = calls_.ask<int>([] { return ready(0); });
        if (!answer) return send_problem(response, error_of(answer.error()));
        response.set_content("ok\n", "text/plain");
    });
}

void Server::add_changers(Front& front) {
    // A changing request: `make` turns it into a task on the data thread.
    using Req = const httplib::Request&;
    const auto changer = [this](auto make) {
        return [this, make](Req request, httplib::Response& response) {
            if (request.method == "POST" && !request.get_header_value("Content-Type").starts_with(kJson)) {
                return send_problem(response,
                                    {Errc::invalid, "a POST needs Content-Type: application/json", ""});
            }
            auto task_maker = make(request);
            if (!task_maker) return send_problem(response, task_maker.error());
            auto answer = calls_.ask<AdminResult<Outcome>>(std::move(*task_maker));
            if (!answer) return send_problem(response, error_of(answer.error()));
            if (!*answer) return send_problem(response, answer->error());
            const Outcome& outcome = **answer;
            if (outcome.job) {
                response.status = 202;
                response.set_header("Location", fmt::format("/api/v1/jobs/{}", *outcome.job));
            }
            response.set_content(outcome_document(outcome, flag(request, "dry_run")), kJson);
        };
    };
    using Maker = std::move_only_function<Task<AdminResult<Outcome>>()>;
    using Made = AdminResult<Maker>;

    front.http.Post("/api/v1/groups", changer([this](Req q) -> Made {
                        auto request = parse_create_group(q.body);
                        if (!request) return std::unexpected(request.error());
                        request->dry_run = flag(q, "dry_run");
                        return Maker([this, r = std::move(*request)]() mutable {
                            const std::vector<DiskInfo> disks = target_.disks();
                            for (std::string& disk : r.disks) disk = full_disk_name(disks, disk);
                            return target_.create_group(std::move(r));
                        });
                    }));
    front.http.Post("/api/v1/volumes", changer([this](Req q) -> Made {
                        auto request = parse_create_volume(q.body);
                        if (!request) return std::unexpected(request.error());
                        request->dry_run = flag(q, "dry_run");
                        return Maker([this, r = std::move(*request)] { return target_.create_volume(r); });
                    }));
    front.http.Post("/api/v1/ports", changer([this](Req q) -> Made {
                        auto request = parse_create_ports(q.body);
                        if (!request) return std::unexpected(request.error());
                        request->dry_run = flag(q, "dry_run");
                        return Maker([this, r = std::move(*request)] { return target_.create_ports(r); });
                    }));
    front.http.Post("/api/v1/groups/([^/]+)/set", changer([this](Req q) -> Made {
                        auto request = parse_set_group(q.body);
                        if (!request) return std::unexpected(request.error());
                        request->name = q.matches[1].str();
                        request->dry_run = flag(q, "dry_run");
                        return Maker([this, r = std::move(*request)] { return target_.set_group(r); });
                    }));
    front.http.Post("/api/v1/groups/([^/]+)/expand", changer([this](Req q) -> Made {
                        auto request = parse_expand_group(q.body);
                        if (!request) return std::unexpected(request.error());
                        request->name = q.matches[1].str();
                        request->dry_run = flag(q, "dry_run");
                        return Maker([this, r = std::move(*request)]() mutable {
                            const std::vector<DiskInfo> disks = target_.disks();
                            for (std::string& disk : r.disks) disk = full_disk_name(disks, disk);
                            return target_.expand_group(std::move(r));
                        });
                    }));
    front.http.Post("/api/v1/groups/([^/]+)/scrub", changer([this](Req q) -> Made {
                        auto request = parse_scrub_group(q.body);
                        if (!request) return std::unexpected(request.error());
                        request->name = q.matches[1].str();
                        request->dry_run = flag(q, "dry_run");
                        return Maker([this, r = std::move(*request)] { return target_.scrub_group(r); });
                    }));
    front.http.Post("/api/v1/disks", changer([this](Req q) -> Made {
                        auto request = parse_add_disk(q.body);
                        if (!request) return std::unexpected(request.error());
                        request->dry_run = flag(q, "dry_run");
                        return Maker([this, r = std::move(*request)]() mutable {
                            const std::vector<DiskInfo> disks = target_.disks();
                            r.disk = full_disk_name(disks, r.disk);
                            if (!r.replaces.empty()) r.replaces = full_disk_name(disks, r.replaces);
                            return target_.add_disk(std::move(r));
                        });
                    }));
    front.http.Post(
        "/api/v1/jobs/(\\d{1,18})/(pause|resume|cancel)", changer([this](Req q) -> Made {
            const std::string word = q.matches[2].str();
            const JobChange change = word == "pause"    ? JobChange::pause
                                     : word == "resume" ? JobChange::resume
                                                        : JobChange::cancel;
            return Maker([this, id = std::stoull(q.matches[1].str()), change, dry = flag(q, "dry_run")] {
                return target_.change_job(id, change, dry);
            });
        }));
    front.http.Post("/api/v1/disks/(.+)/remove", changer([this](Req q) -> Made {
                        return Maker([this, name = q.matches[1].str(), dry = flag(q, "dry_run")] {
                            return target_.remove_disk(full_disk_name(target_.disks(), name), dry);
                        });
                    }));
    front.http.Post("/api/v1/disks/(.+)/fail", changer([this](Req q) -> Made {
                        return Maker([this, name = q.matches[1].str(), dry = flag(q, "dry_run")] {
                            return target_.fail_disk(full_disk_name(target_.disks(), name), dry);
                        });
                    }));
    front.http.Post("/api/v1/controllers/([^/]+)/fence", changer([this](Req q) -> Made {
                        return Maker([this, name = q.matches[1].str(), dry = flag(q, "dry_run")] {
                            return target_.fence_controller(name, dry);
                        });
                    }));
    front.http.Delete(
        "/api/v1/volumes/([^/]+)", changer([this](Req q) -> Made {
            return Maker([this, name = q.matches[1].str(), force = flag(q, "force"),
                          dry = flag(q, "dry_run")] { return target_.delete_volume(name, force, dry); });
        }));
    front.http.Delete(
        "/api/v1/ports/([^/]+)/([^/]+)", changer([this](Req q) -> Made {
            return Maker([this, volume = q.matches[1].str(), ctl = q.matches[2].str(),
                          dry = flag(q, "dry_run")] { return target_.delete_port(volume, ctl, dry); });
        }));
}

}  // namespace braid::admin
