// The host ports on the side threads: on each a registry of the sides of ports that its AMFs serve, and a
// server that takes over connections which the first thread has accepted and negotiated.
#pragma once

#include <algorithm>
#include <map>
#include <memory>

#include "controller/environment.h"
#include "host/nbd/server.h"
#include "io/side_thread.h"
#include "volume/port_registry.h"

namespace braid {

struct SideHost {
    SideHost(SideThread& side, const nbd::Limits& limits)
        : server(side.executor(), side.clock(), side.network(), registry, limits) {}

    Task<Status> stop() {
        co_await server.stop();
        co_return Status{};
    }

    PortRegistry registry;
    nbd::Server server;
};

/// On the first thread: the sides that its controller uses, by number from 1 on.
class SideHosts {
public:
    SideHosts(const Environment& env, const nbd::Limits& limits) : env_(env), limits_(limits) {}

    SideThread& side(unsigned number) { return *env_.sides.side(number); }
    OnThread<SideHost>& host(unsigned number) {
        auto& host = hosts_[number];
        if (host != nullptr) return *host;
        SideThread* at = &side(number);
        missed_[number] = std::make_shared<unsigned>(0);
        host = std::make_unique<OnThread<SideHost>>(
            env_.executor, at, [at, limits = limits_] { return std::make_unique<SideHost>(*at, limits); });
        return *host;
    }
    void take_over(unsigned number, nbd::Handed handed) {
        host(number).tell([handed = std::move(handed)](SideHost& side) mutable {
            side.server.take_over(std::move(handed));
        });
    }
    /// Asks every side for a sign of life; how often the slowest has been asked since it gave one.
    unsigned missed_looks() {
        unsigned most = 0;
        for (auto& [number, missed] : missed_) {
            most = std::max(most, *missed);
            ++*missed;
            side(number).post([&at = side(number), count = missed]() mutable {
                at.post_back([back = std::move(count)] { *back = 0; });
            });
        }
        return most;
    }
    /// Returns when no connection is left on any of them.
    Task<void> stop() {
        for (const auto& [number, host] : hosts_)
            (void)co_await host->ask([](SideHost& side) { return side.stop(); });
    }

private:
    const Environment env_;
    const nbd::Limits limits_;
    std::map<unsigned, std::unique_ptr<OnThread<SideHost>>> hosts_;
    std::map<unsigned, std::shared_ptr<unsigned>> missed_;  ///< used on the first thread only
};

}  // namespace braid
