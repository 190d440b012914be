// Guard of what a stripe operation that writes holds besides its locks.
#pragma once

#include "amf/amf.h"

namespace braid {

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
