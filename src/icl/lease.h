// Whether what this controller remembers of the group still counts. A live lease says: at this moment nobody
// can have decided that we are gone, because everybody who could decide it has heard from us so lately that
// its patience is not over. docs/decisions/009-lease-by-ping.md.
#pragma once

namespace braid {

class Lease {
public:
    virtual ~Lease() = default;
    virtual bool live() const = 0;
};

/// For who is alone in the world.
inline const Lease& always_live() {
    struct Always final : Lease {
        bool live() const override { return true; }
    };
    static const Always lease;
    return lease;
}

}  // namespace braid
