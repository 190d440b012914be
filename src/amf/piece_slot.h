// Guards of what a stripe operation holds besides its locks.
#pragma once

#include "amf/amf.h"

namespace braid {

/// One of the AMF's places for stripe pieces at work; taken before any lock, so that whoever holds a lock has
/// one.
struct Amf::PieceSlot {
    explicit PieceSlot(Semaphore& s) : semaphore(s) {}
    PieceSlot(const PieceSlot&) = delete;
    PieceSlot& operator=(const PieceSlot&) = delete;
    ~PieceSlot() { semaphore.give(); }
    Semaphore& semaphore;
};

/// Keeps a region's intent from being cleared. keep(): for ever, because a stripe in it stays half-written.
struct Amf::IntentPin {
    IntentPin(Tables& t, RegionIndex r) : tables(&t), region(r) { t.pin_intent(r); }
    IntentPin(const IntentPin&) = delete;
    IntentPin& operator=(const IntentPin&) = delete;
    ~IntentPin() {
        if (tables != nullptr) tables->unpin_intent(region);
    }
    void keep() { tables = nullptr; }
    Tables* tables;
    RegionIndex region;
};

}  // namespace braid
