// Whose journal rings are open: in the state page, changed under the tables lock.
#include <algorithm>

#include "tables/tables.h"

namespace braid {

bool Tables::is_dead(const JournalState& journal) const {
    return journal.open() && !view_.contains(AmfMember{journal.owner, journal.incarnation});
}

bool Tables::journal_of_the_dead() const {
    return std::ranges::any_of(state_.journals,
                               [this](const JournalState& journal) { return is_dead(journal); });
}

std::vector<AmfId> Tables::with_open_journal() const {
    std::vector<AmfId> out;
    for (const JournalState& journal : state_.journals) {
        if (journal.open() && !is_dead(journal)) out.push_back(journal.owner);
    }
    return out;
}

/// Open rings are on m + 1 members that are ok, as long as there are so many: what a member held that fails
/// or leaves goes on elsewhere. One that leaves stays until those in its place have everything. They begin
/// elsewhere for each slot, so that the members share the work.
void Tables::place_rings(GroupState& state) const {
    const auto in = [&state](std::size_t member, MemberState wanted) {
        return state.members[member].state == wanted;
    };
    const std::size_t copies = config_.most_parity() + std::size_t{1};
    for (std::size_t slot = 0; slot < state.journals.size(); ++slot) {
        JournalState& ring = state.journals[slot];
        if (!ring.open()) continue;
        MemberMask stay, ok;
        for (std::size_t i = 0; i < state.members.size(); ++i) {
            stay[i] = ring.members[i] && serves(state.members[i].state);
            ok[i] = in(i, MemberState::ok);
        }
        const bool fresh = ring.members.none();
        if (!fresh && (stay & ~ring.filling).none()) continue;  // the group is offline
        ring.members = stay;
        ring.filling &= stay;
        for (std::size_t i = 0; i < state.members.size() && (ring.members & ok).count() < copies; ++i) {
            const std::size_t member = (slot * copies + i) % state.members.size();
            if (!ok[member] || ring.members[member]) continue;
            ring.members.set(member);
            ring.filling[member] = !fresh;
        }
        if (ring.filling.none()) ring.members &= ok;
    }
}

Task<Status> Tables::ring_filled(JournalState as) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    GroupState state = state_;
    JournalState& own = state.journals[slot_.v];
    if (own != as) co_return Status{};
    own.filling.reset();
    place_rings(state);
    CO_TRY(co_await commit(kStatePage, std::move(state)));
    co_return co_await end_change();
}

/// Under the tables lock since before the tables were loaded, so that nobody else has them.
Task<Status> Tables::replay_journals() {
    while (std::ranges::any_of(state_.journals, &JournalState::open)) {
        while (!settled()) co_await changed_.next();
        CO_TRY_LET(const Replayed replayed, co_await replay_());
        for (std::uint8_t i = 0; i < disks_.size(); ++i) {
            if (replayed.failed[i]) write_errors_.insert(i);
        }
        CO_TRY(co_await note_missed({replayed.regions.begin(), replayed.regions.end()}));
        CO_TRY(co_await end_change());  // before a ring is closed: who missed something must not come back
        if (!replayed.regions.empty()) {
            shrunk_ = intent_sequence_ + 1;
            CO_TRY(co_await store_intents());
        }
        for (const StripeIndex stripe : replayed.lost) {  // before a ring is closed, too
            const ExtentIndex extent = geometry().extent_of(stripe);
            if (!geometry_of(extent).has(stripe)) continue;  // it has another shape by now
            Zone next = zones_[extent.v];
            next.quarantine.add(geometry().row_of(stripe));
            if (next != zones_[extent.v]) CO_TRY(co_await commit_zone(extent, next));
            CO_TRY(co_await end_change());
        }
        GroupState state = state_;
        for (std::size_t i = 0; i < state.journals.size(); ++i) {
            JournalState& journal = state.journals[i];
            if (replayed.in_next_life[i]) {
                ++journal.life;
            } else {
                journal = journal.closed();
            }
        }
        CO_TRY(co_await commit(kStatePage, std::move(state)));
        CO_TRY(co_await end_change());
    }
    co_return Status{};
}

Task<Result<bool>> Tables::close_journals(Epoch epoch) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    if (view_.epoch != epoch) co_return false;
    // What the dead wrote before they died may be in the members' own caches alone.
    CO_TRY(co_await flush_members());
    CO_TRY(co_await end_change());
    GroupState state = state_;
    for (JournalState& journal : state.journals) {
        if (is_dead(journal)) journal = journal.closed();
    }
    place_rings(state);
    if (view_.epoch != epoch) co_return false;
    CO_TRY(co_await commit(kStatePage, std::move(state)));
    CO_TRY(co_await end_change());
    co_return true;
}

/// Somebody is there who keeps what the dead have left, or they have left nothing.
static bool journals_in_hand(const Tables& tables) {
    const std::vector<AmfId> open = tables.with_open_journal();
    const AmfId self = tables.view().self;
    return !tables.journal_of_the_dead() ||
           std::ranges::any_of(open, [self](AmfId id) { return id != self; });
}

Task<Result<bool>> Tables::open_journal() {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    const auto self = std::ranges::find(view_.members, view_.self, &AmfMember::id);
    if (self == view_.members.end()) co_return fail(Errc::fenced);
    GroupState state = state_;
    JournalState& own = state.journals[slot_.v];
    if (journals_in_hand(*this)) {
        if (own.open()) co_return false;
        own = own.closed();
        ++own.life;
        own.owner = self->id;
        own.incarnation = self->incarnation;
        place_rings(state);
        CO_TRY(co_await commit(kStatePage, state));
        CO_TRY(co_await end_change());
        if (journals_in_hand(*this)) co_return true;
        // They have died before they had us for a partner. Nobody is to think that it is otherwise.
        state = state_;
        state.journals[slot_.v] = state_.journals[slot_.v].closed();
        CO_TRY(co_await commit(kStatePage, std::move(state)));
        CO_TRY(co_await end_change());
    }
    go_offline();
    co_return fail(Errc::offline);
}

}  // namespace braid
