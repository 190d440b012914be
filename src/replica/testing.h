// Replicators of one group, joined by links that the test carries.
#pragma once

#include <cstring>
#include <deque>
#include <map>
#include <memory>

#include "async/scope.h"
#include "replica/replicator.h"

namespace braid::testing {

inline const Uuid kGroup{{1, 2, 3}};

inline Slice bytes(std::size_t size, unsigned fill) {
    Buffer buffer(size);
    if (size != 0) std::memset(buffer.data(), static_cast<int>(fill), size);
    return Slice(buffer);
}

/// Replicators with links that hold everything until told to carry it.
class Ring {
public:
    struct Peer final : Transport {
        Peer(Ring& r, AmfId i) : ring(r), id(i), replicator(r.executor, *this, kGroup) {}
        void send(AmfId to, Message message) override {
            ring.links[{id.v, to.v}].push_back({ring.epoch, std::move(message)});
        }
        Ring& ring;
        AmfId id;
        Replicator replicator;
        Incarnation incarnation;
    };
    struct Letter {
        Epoch epoch;
        Message message;
    };

    explicit Ring(unsigned d) : dimension(d) {}
    Replicator& join(std::uint16_t id) {
        peers[id] = std::make_unique<Peer>(*this, AmfId(id));
        peers[id]->incarnation = Incarnation(epoch.v + 1);
        peers[id]->replicator.configure(dimension, {});
        adopt();
        return peers[id]->replicator;
    }
    void leave(std::uint16_t id) {
        peers.erase(id);
        adopt();
    }
    void adopt() {
        epoch = epoch.next();
        AmfView view{epoch, {}, {}};
        for (auto& [id, peer] : peers) view.members.push_back({peer->id, peer->incarnation});
        for (auto& [id, peer] : peers) {
            view.self = peer->id;
            peer->replicator.adopt(view);
        }
    }
    /// Carries what lies on one link; all of it if `count` is not given.
    std::size_t carry(std::uint16_t from, std::uint16_t to, std::size_t count = ~0u) {
        auto& link = links[{from, to}];
        std::size_t carried = 0;
        while (!link.empty() && carried < count) {
            Letter letter = std::move(link.front());
            link.pop_front();
            if (letter.epoch != epoch || !peers.contains(to)) continue;
            ++carried;
            peers[to]->replicator.deliver(AmfId(from), letter.message);
        }
        return carried;
    }
    void carry_all() {
        for (bool any = true; any;) {
            any = false;
            for (auto& [ends, link] : links) any = carry(ends.first, ends.second) != 0 || any;
            executor.run_until_idle();
        }
    }
    std::size_t stored(std::uint16_t id) { return peers[id]->replicator.store().all().size(); }

    unsigned dimension;
    Executor executor;
    Epoch epoch;
    std::map<std::uint16_t, std::unique_ptr<Peer>> peers;
    std::map<std::pair<std::uint16_t, std::uint16_t>, std::deque<Letter>> links;
};

inline Redo redo_of(unsigned fill) { return Redo{1, 0, kBlockSize, bytes(kBlockSize, fill)}; }

inline Task<void> flag(Task<void> task, bool& done) {
    co_await std::move(task);
    done = true;
}
inline Task<void> flag_ok(Task<Status> task, bool& done) { done = (co_await std::move(task)).has_value(); }

}  // namespace braid::testing
