// What a write holds as long as it is dirty: its record at the partners, and its room.
#pragma once

#include <utility>

#include "amf/amf.h"

namespace braid {

struct Amf::Room {
    Room() = default;
    Room(Semaphore& semaphore, std::size_t units) : semaphore_(&semaphore), units_(units) {}
    Room(Room&& o) noexcept : semaphore_(std::exchange(o.semaphore_, nullptr)), units_(o.units_) {}
    Room& operator=(Room&& o) noexcept {
        std::swap(semaphore_, o.semaphore_);
        std::swap(units_, o.units_);
        return *this;
    }
    ~Room() {
        if (semaphore_ != nullptr) semaphore_->give(units_);
    }

private:
    Semaphore* semaphore_ = nullptr;
    std::size_t units_ = 0;
};

struct Amf::DirtyWrite {
    DirtyWrite(Replicator& replicator, Room taken, Replication replication, Nanos now)
        : room(std::move(taken)), record(replicator), mode(replication), since(now) {}
    Room room;
    OpenRecord record;
    Replication mode;  ///< when its host is answered
    Nanos since;
    bool copied = false;            ///< all partners had it at one time
    Journal::Ticket journaled = 0;  ///< the entry that has its content
    /// Older ones all of whose bytes it has: they end when it is copied, and not before, because a partner
    /// may have them and not it.
    std::vector<std::shared_ptr<DirtyWrite>> covered;
};

/// One more, as long as it lives.
struct Counted {
    explicit Counted(unsigned& n) : count(n) { ++count; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() { --count; }
    unsigned& count;
};

}  // namespace braid
