// The name of an operation that a controller outside of the group has had forwarded to one that shares it
// (forward/forward_client.h). Whoever does a part of it tells the name to its partners, so that somebody who
// is asked for the same operation again can find out which parts have taken effect.
#pragma once

#include <cstdint>
#include <utility>

#include "base/codec.h"
#include "base/types.h"

namespace braid {

/// One start of one controller.
using ControllerStart = std::pair<ControllerId, Incarnation>;

struct Errand {
    ControllerStart who;          ///< has had it forwarded
    std::uint64_t number = 0;     ///< its count; 0: no errand, a host of the doer's own
    std::uint64_t watermark = 0;  ///< its errands with smaller numbers have ended
    bool repeated = false;        ///< asked before, here or elsewhere. Stands in no record

    explicit operator bool() const { return number != 0; }
    friend bool operator==(const Errand&, const Errand&) = default;
};

inline void put(Writer& out, const Errand& errand) {
    out.put(errand.who.first);
    out.put(errand.who.second);
    out.put(errand.number);
    out.put(errand.watermark);
}

inline Errand get_errand(Reader& in) {
    Errand out;
    out.who.first = in.get<ControllerId>();
    out.who.second = in.get<Incarnation>();
    out.number = in.get<std::uint64_t>();
    out.watermark = in.get<std::uint64_t>();
    if (out.who.first.v == 0 || out.number == 0 || out.watermark > out.number) in.fail();
    return out;
}

}  // namespace braid
