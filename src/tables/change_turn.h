// Who changes the tables: one operation of all AMFs of a group at a time.
#pragma once

#include <utility>

#include "async/sync.h"
#include "lock/lock_manager.h"

namespace braid {

/// The tables lock is the AMF's; this makes one of its operations at a time the one that changes.
struct ChangeTurn {
    ChangeTurn() = default;
    explicit ChangeTurn(Semaphore& semaphore) : taken(&semaphore) {}
    ChangeTurn(ChangeTurn&& o) noexcept : pin(std::move(o.pin)), taken(std::exchange(o.taken, nullptr)) {}
    ChangeTurn& operator=(ChangeTurn&& o) noexcept {
        std::swap(pin, o.pin);
        std::swap(taken, o.taken);
        return *this;
    }
    ~ChangeTurn() {
        if (taken != nullptr) taken->give();
    }
    LockPin pin;
    Semaphore* taken = nullptr;
};

}  // namespace braid
