// The control API: HTTP on UNIX sockets and on loopback TCP, with threads of its own.
//
//   GET    /api/v1/status groups volumes ports disks controllers jobs events
//   GET    /api/v1/groups/N groups/N/map jobs/N   /metrics /livez
//   POST   /api/v1/groups volumes ports groups/N/scrub jobs/N/pause disks/N/fail controllers/N/fence
//   DELETE /api/v1/volumes/N ports/VOLUME/CONTROLLER
//
// Changing requests take ?dry_run=1 and ?force=1.
//
// Guarantees: every request is answered within the deadline; errors are problem+json; a reading request
// changes nothing. Needs: the target lives on the data thread and outlives the server's last call there (see
// admin/calls.h). There is no access control: TCP addresses that are not loopback are refused, UNIX sockets
// are for their owner only.
#pragma once

#include <chrono>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "admin/calls.h"
#include "admin/documents.h"
#include "controller/admin_target.h"

namespace braid::admin {

struct ServerOptions {
    std::vector<std::string> listen;  ///< "unix:/run/x.sock", "127.0.0.1:9420", port 0: any
    std::function<UnixMillis()> wall_clock;
    std::chrono::milliseconds deadline{60'000};
};

class Server {
public:
    /// Listens and serves, or says in one sentence why not. On the data thread.
    static std::expected<std::unique_ptr<Server>, std::string> start(DataThread& thread, AdminTarget& target,
                                                                     ServerOptions options);
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    /// Waits for the server's threads, which wait for nothing after close().
    ~Server();

    /// No new requests; those that wait are answered "not ready". Waits for nobody.
    void close();
    /// Where it really listens, as in the options.
    const std::vector<std::string>& addresses() const { return addresses_; }

private:
    struct Front;
    Server(DataThread& thread, AdminTarget& target, ServerOptions options);
    std::expected<void, std::string> listen(const std::string& address);
    void add_routes(Front& front);
    void add_readers(Front& front);
    void add_changers(Front& front);

    const ServerOptions options_;
    AdminTarget& target_;
    Calls calls_;
    std::vector<std::unique_ptr<Front>> fronts_;
    std::vector<std::string> addresses_;
};

}  // namespace braid::admin
