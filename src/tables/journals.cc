// Whose journal rings are open: in the state page, changed under the tables lock.
#include <algorithm>

#include "tables/tables.h"

namespace braid {

bool Tables::journal_of_the_dead() const {
    return std::ranges::any_of(state_.journals, [this](const JournalState& journal) {
        return journal.open() && !view_.contains(AmfMember{journal.owner, journal.incarnation});
    });
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
    for (JournalState& journal : state.journals) journal = {journal.life, AmfId(), Incarnation()};
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
        if (journal.open() && dead) journal = {journal.life, AmfId(), Incarnation()};
    }
    if (open) {
        const auto self = std::ranges::find(view_.members, view_.self, &AmfMember::id);
        if (self == view_.members.end()) co_return fail(Errc::fenced);
        JournalState& own = state.journals[slot_.v];
        own = {own.life + 1, self->id, self->incarnation};
    }
    if (view_.epoch != epoch) co_return false;
    CO_TRY(co_await commit(kStatePage, std::move(state)));
    CO_TRY(co_await end_change());
    co_return true;
}

}  // namespace braid
