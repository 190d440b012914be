// Broadcast: acquiring without an arbiter (row C5). An AMF that wants a unit asks all others that share the
// group and has it when all have yielded; what it holds it keeps, without a message, until somebody claims it
// (rows L2, C4). A pure machine. Each AMF has its own, between its lock client, to whom it plays the arbiter,
// and its peers: Ricart and Agrawala's algorithm (1981), by unit.
//
//   AMF B (wants)           AMF A (holds)            AMF C (nothing)
//     | lock_claim            |                        |
//     |---------------------->|                        |    to all, at once
//     |----------------------------------------------->|
//     |            lock_yield |  after its release     |
//     |<----------------------|                        |
//     |<-----------------------------------------------|
//
//   a claim of a peer meets                        it
//   nothing that conflicts                         is yielded to
//   an own claim, conflicting and earlier          waits until that has been granted and released
//   a hold that conflicts, else                    waits; the client is asked to release, for a reader to go
//                                                  on reading
//   a report that is not complete                  waits for it
//
// Order of claims: those that recover first, of these the most progress first; then by stamp, which is a
// Lamport clock; then by AMF. So there is always a first one, for which everybody yields.
//
// Guarantees: many readers or one writer. Let two claims that conflict both be held, P before Q. P's owner
// has yielded to Q, so it neither held nor claimed P then; but what it claims after it has heard of Q is
// later than Q (claims to recover are all made before the first yield of an epoch). The same argument keeps
// the yields that a claim has while a claim that is earlier overtakes it: who has yielded to P claims only
// what is later than P, and that waits at P's owner. A view change voids claims and yields, not holds: a
// claim of the new epoch needs everybody's new yield, and nobody yields before it knows what it holds, and
// what it has to recover. So whoever has records of a dead writer repairs the stripe before anybody else gets
// the unit, and nothing has to be frozen.
//
// Data with the answer: a claim to read may name a range; who has it sends it along, the first one wins. It
// would be old if somebody wrote between that answer and the grant. Who sent it has yielded to such a writer
// after it had heard of the claim; so the writer gave up its lock at a time later than the claim's stamp, and
// its own answer says `changed`. Then only data that comes with that very answer is taken, and none if two
// have changed.
//
// Needs: the audience of reports is the AMF itself; reports are true.
#pragma once

#include <array>
#include <optional>
#include <unordered_map>

#include "lock/arbitration.h"

namespace braid {

class Broadcast final : public Arbitration {
public:
    void adopt(const AmfView& view) override;
    AmfId arbiter(UnitIndex) const override { return view_.self; }
    std::vector<AmfId> audience() const override { return {view_.self}; }
    bool all_hear_all() const override { return true; }
    /// Peers have nothing to report here.
    bool report(AmfId from, const LockReport& report) override;
    bool decides(AmfId who, UnitIndex) const override { return who == view_.self; }
    bool routed() const override { return true; }
    void granted(const LockFrame&) override {}
    /// request, released: of the own client; claim, yield: of a peer.
    bool take(AmfId from, const LockFrame& frame) override;
    bool thawed() const override { return reported_; }
    std::size_t units() const override { return units_.size(); }
    /// What is known here: the own hold, and whom it or an own claim keeps waiting.
    LockStanding standing(UnitIndex unit) const override;
    /// Claims, the own ones included.
    std::size_t waiting(UnitIndex unit) const override;

private:
    struct Hold {
        LockMode mode;
        std::uint64_t ticket;
        LockMode asked;  ///< what the client knows that others want
    };
    struct Claim {
        AmfId who;
        LockMode mode = LockMode::write;
        std::uint64_t ticket = 0;
        bool recover = false;
        std::uint8_t progress = 0;
        std::uint64_t stamp = 0;  ///< 0: an own one, not sent yet
        LockRange range{};

        bool before(const Claim& other) const;
    };
    struct Unit {
        std::optional<Hold> hold;
        std::vector<Claim> own;       ///< of our client: to recover, then its request; the first one is sent
        std::vector<AmfId> missing;   ///< have not yielded to it yet
        AmfId holder;                 ///< said with its yield that it goes on reading
        Slice data;                   ///< that came with a yield
        bool changed = false;         ///< a yield said so
        std::vector<Claim> deferred;  ///< of peers, that wait for our yield
    };

    void request(const LockFrame& frame);
    void released(const LockFrame& frame);
    void claimed(AmfId from, const LockFrame& frame);
    bool yielded(AmfId from, const LockFrame& frame);
    void settle(UnitIndex index);
    void claim(UnitIndex index, Unit& unit);
    void grant(UnitIndex index, Unit& unit);
    void answer(UnitIndex index, Unit& unit);
    void yield(UnitIndex index, const Unit& unit, const Claim& claim);
    void ask(UnitIndex index, Unit& unit, LockMode wanted);
    /// When a write lock of the unit, or of one that shares its place, was last given up in this epoch.
    std::uint64_t& given_up(UnitIndex unit) { return given_up_[unit.v % given_up_.size()]; }

    AmfView view_;
    bool reported_ = false;
    std::uint64_t clock_ = 0;
    std::array<std::uint64_t, 1024> given_up_{};
    std::unordered_map<UnitIndex, Unit> units_;
    std::vector<UnitIndex>
        undecided_;  ///< touched before the report was complete, in that order; repeats do no harm
};

}  // namespace braid
