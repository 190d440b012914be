// Whose journal rings are open: in the state page, changed under the tables lock.
#include <algorithm>

#include "tables/tables.h"

namespace braid {

bool Tables::journal_of_the_dead() const {
    return std::ranges::any_of(state_.journals, [this](const JournalState& journal) {
        return journal.open() && !view_.contains(AmfMember{journal.owner, journal.incarnation});
    });
}

/// Open rings are on m + 1 members that are ok, as long as there are so many: what a member held that fails
/// or leaves goes on elsewhere. One that leaves stays until those in its place have everything. They begin
/// elsewhere for each slot, so that the members share the work.
void Tables::place_rings(GroupState& state) const {
    const auto in = [&state](std::size_t member, MemberState wanted) {
        return state.members[member].state == wanted;
    };
    const std::size_t copies = geometry().m + std::size_t{1};
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
    if (std::ranges::none_of(state_.journals, &JournalState::open)) co_return Status{};
    while (!settled()) co_await changed_.next();
    CO_TRY_LET(const MemberMask failed, co_await replay_());
    for (std::uint8_t i = 0; i < disks_.size(); ++i) {
        if (failed[i]) write_errors_.insert(i);
    }
    CO_TRY(co_await end_change());  // before the rings are closed: who missed something must not come back
    GroupState state = state_;
    for (JournalState& journal : state.journals) journal = journal.closed();
    CO_TRY(co_await commit(kStatePage, std::move(state)));
    co_return co_await end_change();
}

Task<Result<bool>> Tables::renew_journals(Epoch epoch, bool open) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    if (view_.epoch != epoch) co_return false;
    // What the dead wrote before they died may be in the members' own caches alone.
    CO_TRY(co_await flush_members());
    CO_TRY(co_await end_change());
    GroupState state = state_;
    for (JournalState& journal : state.journals) {
        const bool dead = !view_.contains(AmfMember{journal.owner, journal.incarnation});
        if (journal.open() && dead) journal = journal.closed();
    }
    if (open) {
        const auto self = std::ranges::find(view_.members, view_.self, &AmfMember::id);
        if (self == view_.members.end()) co_return fail(Errc::fenced);
        JournalState& own = state.journals[slot_.v];
        own = own.closed();
        ++own.life;
        own.owner = self->id;
        own.incarnation = self->incarnation;
    }
    place_rings(state);
    if (view_.epoch != epoch) co_return false;
    CO_TRY(co_await commit(kStatePage, std::move(state)));
    CO_TRY(co_await end_change());
    co_return true;
}

}  // namespace braid
