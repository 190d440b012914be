// The control API's client: one request, one answer, or a Failure with the exit code that the problem's code
// means.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "braid/outcome.h"

namespace braid::cli {

class Client {
public:
    /// `apis`: "unix:PATH", a path, "http://HOST:PORT" or "HOST:PORT"; the first that accepts a connection
    /// answers. `timeout_s` bounds one request; 0 is the default of 60 seconds.
    Client(std::vector<std::string> apis, double timeout_s);

    Answer<std::string> get(const std::string& path) const { return ask("GET", path, {}); }
    /// `body`: a JSON object.
    Answer<std::string> post(const std::string& path, const std::string& body) const {
        return ask("POST", path, body);
    }
    Answer<std::string> remove(const std::string& path) const { return ask("DELETE", path, {}); }
    const std::vector<std::string>& apis() const { return apis_; }

private:
    Answer<std::string> ask(std::string_view method, const std::string& path, const std::string& body) const;
    std::vector<std::string> apis_;
    double timeout_s_;
};

/// The failure that a problem+json body means.
Failure failure_of_problem(int http_status, std::string_view body);

/// A name as a part of a path.
std::string path_part(std::string_view name);

}  // namespace braid::cli
