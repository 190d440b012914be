#include "braid/client.h"

#include <fmt/format.h>
#include <httplib.h>
#include <sys/socket.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

namespace braid::cli {

namespace {

std::unique_ptr<httplib::Client> connect_to(std::string_view api, double timeout_s) {
    std::unique_ptr<httplib::Client> client;
    constexpr std::string_view kUnix = "unix:";
    if (api.starts_with(kUnix) || api.starts_with('/')) {
        const std::string path(api.starts_with(kUnix) ? api.substr(kUnix.size()) : api);
        client = std::make_unique<httplib::Client>(path, 1);
        client->set_address_family(AF_UNIX);
    } else if (api.starts_with("http://")) {
        client = std::make_unique<httplib::Client>(std::string(api));
    } else {
        client = std::make_unique<httplib::Client>("http://" + std::string(api));
    }
    client->set_connection_timeout(2);
    const auto seconds = static_cast<time_t>(timeout_s);
    client->set_read_timeout(seconds, static_cast<time_t>((timeout_s - static_cast<double>(seconds)) * 1e6));
    return client;
}

}  // namespace

Client::Client(std::vector<std::string> apis, double timeout_s)
    : apis_(std::move(apis)), timeout_s_(timeout_s > 0 ? timeout_s : 60) {}

Answer<std::string> Client::ask(std::string_view method, const std::string& path,
                                const std::string& body) const {
    for (const std::string& api : apis_) {
        const auto client = connect_to(api, timeout_s_);
        const auto started = std::chrono::steady_clock::now();
        const httplib::Result answer = method == "GET"    ? client->Get(path)
                                       : method == "POST" ? client->Post(path, body, "application/json")
                                                          : client->Delete(path);
        if (answer) {
            if (answer->status < 300) return answer->body;
            return std::unexpected(failure_of_problem(answer->status, answer->body));
        }
        if (answer.error() == httplib::Error::Connection || answer.error() == httplib::Error::BindIPAddress)
            continue;
        const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - started;
        if (waited.count() >= timeout_s_) {
            return failure(kTimeout,
                           fmt::format("{} accepted the request but gave no answer within {:g} s: what was "
                                       "asked for may still happen; look at 'braid status'",
                                       api, timeout_s_));
        }
        if (method == "GET")
            continue;  // the controller ended in the middle: asking another one changes nothing
        return failure(kFailed,
                       fmt::format("{} ended the connection before it answered: what was asked for may have "
                                   "happened; look at 'braid status'",
                                   api));
    }
    return failure(kUnreachable,
                   fmt::format("no controller answers at {}: is braidd running? name another with --api "
                               "or BRAID_API",
                               fmt::join(apis_, ", ")));
}

Failure failure_of_problem(int http_status, std::string_view body) {
    const auto json = nlohmann::json::parse(body, nullptr, false);
    if (!json.is_object()) return {kFailed, fmt::format("the controller answered HTTP {}", http_status)};
    const auto text = [&](const char* key) {
        const auto at = json.find(key);
        return at != json.end() && at->is_string() ? at->get<std::string>() : std::string();
    };
    const std::string code = text("code");
    Failure out{kFailed, text("detail")};
    if (const std::string hint = text("hint"); !hint.empty()) out.message += fmt::format(" ({})", hint);
    if (code == "invalid" || code == "too_large") out.exit = kUsage;
    if (code == "not_found") out.exit = kNotFound;
    if (code == "not_ready") out.exit = kConflict;
    if (code == "would_lose_data") out.exit = kRefused;
    if (code == "busy" || code == "stale_epoch") out.exit = kConflict;
    if (code == "timeout") out.exit = kTimeout;
    return out;
}

std::string path_part(std::string_view name) {
    std::string out;
    for (const char c : name) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                           c == '-' || c == '_' || c == '.' || c == '~';
        if (plain) {
            out += c;
        } else {
            out += fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
        }
    }
    return out;
}

}  // namespace braid::cli
