#include "amf/amf.h"

#include <algorithm>

#include "amf/dirty_write.h"
#include "base/log.h"

namespace braid {

static std::vector<Uuid> disk_ids_of(const GroupConfig& config) {
    std::vector<Uuid> out;
    for (const MemberRecord& member : config.members) out.push_back(member.disk);
    return out;
}

Amf::Amf(Executor& executor, Clock& clock, Transport& transport, const Uuid& group, const GroupConfig& config,
         std::uint64_t table_start, std::vector<Disk*> disks, AmfSlot slot, AmfOptions options)
    : executor_(executor),
      clock_(clock),
      transport_(transport),
      group_(group),
      geometry_(config.geometry),
      data_start_(config.data_start),
      units_(config.sharing.granularity),
      options_(options),
      replicator_(executor, transport, group),
      cache_(options.cache),
      sums_(options.checksums / std::max(1u, geometry_.checksum_record_size())),
      trimmed_(options.trimmed),
      peer_trims_(executor, clock, transport, group, options.peer_patience),
      peer_cache_(executor, clock, transport, group, options.peer_patience),
      cleaned_(executor),
      stripe_locks_(executor),
      locks_(executor, clock, transport, group, LockOptions{.sharing = config.sharing}, *this),
      tables_(executor, clock, transport, group, table_start, std::move(disks), disk_ids_of(config), slot),
      journal_(executor, tables_),
      pieces_(executor, options.pieces),
      gate_(executor),
      limping_(options.limping),
      slot_(slot),
      has_journal_(config.has_journal()),
      write_back_(config.sharing.write_cache == WriteCache::back && config.dimension > 1),
      room_(executor, options.dirty),
      recoveries_(executor, options.recoveries),
      copied_(executor),
      passed_(executor),
      flush_answered_(executor),
      scope_(executor) {
    tables_.use_locks(locks_);
    tables_.on_assembled([this] { return replay_journals(executor_, tables_, replayed_); });
    tables_.on_change([this] {
        obey_sharing();
        journal_.wake();
        close_journals_of_the_dead();
        drop_dirty_of_gone_zones();
        start_destages();
        if (tables_.offline()) wake_flushes();
        if (listener_) listener_();
    });
    const RecordLimits limits{std::uint64_t{config.most_extents()} * geometry_.stripes_per_extent(),
                              static_cast<std::uint32_t>(kMaxWidth) * geometry_.strip_size,
                              geometry_.strip_size, kMaxParity, config.most_extents() * kExtentSize};
    replicator_.configure(config.dimension, limits, options.copy_window);
}

Amf::~Amf() = default;

void Amf::on_member(std::function<Task<Disk*>(MemberIndex, Uuid)> open) {
    tables_.on_member([this, open = std::move(open)](MemberIndex member, Uuid id) {
        read_errors_[member.v] = 0;
        return open(member, id);
    });
}

Task<Status> Amf::load() {
    CO_TRY(co_await tables_.load());
    while (!tables_.settled()) co_await tables_.settled_event();
    obey_sharing();
    co_return Status{};
}

Task<Status> Amf::start() {
    if (!tables_.loaded()) CO_TRY(co_await load());
    if (tables_.config().has_journal()) {
        CO_TRY(co_await open_journal());
        journal_.open();
    }
    ready_ = true;
    scope_.spawn(housekeeping());
    scope_.spawn(watch_members());
    if (write_back()) scope_.spawn(destage_old());
    close_journals_of_the_dead();
    co_return Status{};
}

// ---- journals

/// The ring of an earlier life is closed first, by those who finish what it speaks of. offline: there is
/// nobody who could, and the next assembly does.
Task<Status> Amf::open_journal() {
    while (true) {
        CO_TRY_LET(const bool done, co_await tables_.open_journal());
        if (done) co_return Status{};
        co_await sleep_for(clock_, 1ms);
    }
}

/// Who finishes a write needs a ring for that.
std::optional<AmfSet> Amf::able_partners() const {
    if (!has_journal_) return std::nullopt;
    AmfSet out;
    for (const JournalState& journal : tables_.state().journals) {
        if (journal.open() && view_.contains(AmfMember{journal.owner, journal.incarnation}))
            out.insert(journal.owner);
    }
    return out;
}

/// One of the view does it: of those who have a ring.
bool Amf::closes_journals() const {
    const std::vector<AmfId> open = tables_.with_open_journal();
    return !open.empty() && std::ranges::min(open) == view_.self && tables_.journal_of_the_dead();
}

void Amf::close_journals_of_the_dead() {
    if (closing_journals_ || stopping_ || !ready_ || !closes_journals()) return;
    closing_journals_ = true;
    scope_.spawn(close_journals());
}

/// When nothing is left that the dead have not finished, be it half-written or not begun.
Task<void> Amf::close_journals() {
    constexpr std::uint32_t kMostFetched = 1u << 31;
    const std::uint64_t stripes = std::uint64_t{tables_.config().extents} * geometry_.stripes_per_extent();
    Status status;
    while (status && !stopping_ && !tables_.offline() && closes_journals()) {
        const Epoch epoch = view_.epoch;
        for (std::uint64_t first = 0; status && first < stripes; first += kMostFetched)
            status = co_await replicator_.gather(StripeIndex(first), kMostFetched);
        const auto left = [&] { return !replicator_.store().orphan_stripes().empty(); };
        while (view_.epoch == epoch && !tables_.offline() && !stopping_ && left())
            co_await sleep_for(clock_, 1ms);
        if (!status || view_.epoch != epoch || tables_.offline() || stopping_) continue;
        const Result<bool> closed = co_await tables_.close_journals(epoch);
        if (!closed) break;  // we are leaving
    }
    closing_journals_ = false;
}

// ---- leaving

Task<void> Amf::stop() {
    co_await finish();
    co_await end();
}

Task<void> Amf::finish() {
    gate_.close();
    co_await gate_.drained();
    if (write_back() && ready_) (void)co_await secure_everywhere(true);
    // Records of the dead may be here and nowhere else: they are finished, here or by whoever gathers them.
    while (!replicator_.fenced() && !tables_.offline() &&
           (!recovering_.empty() || !replicator_.store().orphan_stripes().empty())) {
        co_await sleep_for(clock_, 1ms);
    }
    if (replicator_.fenced() || tables_.offline()) co_return;
    co_await tables_.settle_pages();
    if (ready_) (void)co_await tables_.clear_idle_intents(Nanos{0});  // while there are locks to note them
}

Task<void> Amf::end() {
    stopping_ = true;
    while (!replicator_.fenced() &&
           (!recovering_.empty() || failing_.any() || destages_ != 0 || !uncopied_.empty())) {
        co_await sleep_for(clock_, 1ms);
    }
    locks_.stop();
    if (!replicator_.fenced() && !tables_.offline()) co_await replicator_.quiesced(StripeIndex(0), ~0ull);
    co_await replicator_.completions().handed_on();
    if (ready_ && !tables_.offline()) (void)co_await tables_.clear_idle_intents(Nanos{0});
    co_await journal_.stop();  // whoever keeps the group closes the ring, or the next assembly does
    co_await tables_.stop();
    ready_ = false;
    scope_.destroy_all();  // housekeeping, and what could not be finished
}

Task<void> Amf::housekeeping() {
    while (true) {
        co_await sleep_for(clock_, options_.housekeeping);
        journal_.retire_soon();
        if (!tables_.offline()) (void)co_await tables_.clear_idle_intents(options_.intent_idle);
    }
}

// ---- the view

void Amf::adopt(const AmfView& view) {
    view_ = view;
    passes_known_.clear();  // who comes again counts anew
    replicator_.adopt(view, able_partners());
    tables_.adopt(view);
    locks_.adopt(view, claims());
    peer_cache_.adopt();
    peer_trims_.adopt();
    journal_.wake();
    close_journals_of_the_dead();
    wake_flushes();
    start_destages();
}

void Amf::deliver(AmfId from, Message message) {
    const auto type = static_cast<unsigned>(message.type);
    if (type >= static_cast<unsigned>(MessageType::table_update) &&
        type <= static_cast<unsigned>(MessageType::member_told)) {
        tables_.deliver(from, message);
    } else if (type >= static_cast<unsigned>(MessageType::lock_request) &&
               type <= static_cast<unsigned>(MessageType::lock_returned)) {
        locks_.deliver(from, message);
    } else if (message.type == MessageType::cache_fetch || message.type == MessageType::cache_data) {
        deliver_cached(from, message);
    } else if (message.type == MessageType::trims_ask || message.type == MessageType::trims_told) {
        deliver_trims(from, message);
    } else if (message.type == MessageType::flush_ask || message.type == MessageType::flush_done) {
        deliver_flush(from, message);
    } else if (message.type == MessageType::dirty_pass || message.type == MessageType::dirty_taken) {
        deliver_pass(from, message);
    } else {
        replicator_.deliver(from, message);
    }
}

AmfConditions Amf::conditions() const {
    AmfConditions out;
    out.fenced = replicator_.fenced();
    out.offline = ready_ && tables_.offline();
    out.failed_members = ready_ ? tables_.failed_members() : 0;
    out.missing_copies = replicator_.dimension() - std::min(replicator_.copies(), replicator_.dimension());
    out.quarantined_stripes = ready_ ? tables_.quarantined_stripes() : 0;
    out.recovering_units = recovering_.size();
    out.dirty_bytes = dirty_.bytes();
    if (const auto oldest = dirty_.oldest()) out.dirty_age = clock_.now() - *oldest;
    out.uncopied_bytes = early_bytes_;
    out.uncopied_age = early_age();
    const Replicator::Missing late = replicator_.missing();
    out.copying_records = late.records;
    out.copying_bytes = late.bytes;
    out.copying_bytes_at_first = late.bytes_at_first;
    for (const AmfId partner : replicator_.partners()) out.partners.push_back(controller_of(partner));
    out.nearest = replicator_.nearest();
    out.replay = replayed_;
    out.wrong_places = wrong_places_;
    return out;
}

// ---- members

Places Amf::strip_at(const Spot& spot, unsigned role) const {
    return strip_places(spot.geometry, zone_of(spot), spot.row, Role(static_cast<std::uint8_t>(role)),
                        data_start_, [this](MemberIndex member) { return tables_.member_ok(member); });
}

Places Amf::record_at(const Spot& spot, unsigned copy) const {
    return checksum_places(spot.geometry, zone_of(spot), spot.row, copy, data_start_,
                           [this](MemberIndex member) { return tables_.member_ok(member); });
}

RoleMask Amf::writable(const Spot& spot) const {
    RoleMask out;
    for (unsigned role = 0; role < spot.geometry.width(); ++role)
        out[role] = strip_at(spot, role).writes != 0;
    return out;
}

RoleMask Amf::readable(const Spot& spot) const {
    RoleMask out;
    for (unsigned role = 0; role < spot.geometry.width(); ++role)
        out[role] = strip_at(spot, role).read.has_value();
    return out;
}

Task<void> Amf::declare_failed(MemberIndex member) {
    if (failing_[member.v]) co_return;
    failing_.set(member.v);
    (void)co_await tables_.fail_member(member);
    failing_.reset(member.v);
}

Task<Status> Amf::fail_members(MemberMask members) {
    for (std::uint8_t i = 0; i < members.size(); ++i) {
        if (members[i]) CO_TRY(co_await tables_.fail_member(MemberIndex(i)));
    }
    co_return Status{};
}

// ---- operations of several pieces

Task<Status> Amf::in_pieces(std::vector<Task<Status>> pieces) {
    Status status;
    for (std::size_t at = 0; at < pieces.size(); at += options_.pieces_per_operation) {
        const std::size_t end = std::min(pieces.size(), at + options_.pieces_per_operation);
        std::vector<Task<Status>> some;
        for (std::size_t i = at; i < end; ++i) some.push_back(std::move(pieces[i]));
        for (const Status& s : co_await gather(executor_, std::move(some))) {
            if (status && !s) status = s;
        }
    }
    co_return status;
}

}  // namespace braid
