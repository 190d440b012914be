// Dirty content that goes along with the lock of its unit (row C1), instead of being destaged first: a stripe
// that hosts of two controllers write in turn is not written to the members each time.
//
//   holder                                     who is next
//     |  dirty_pass: pieces, their content          |  waits for the unit
//     |-------------------------------------------->|  records of its own, until they have their copies
//     |                                dirty_taken  |
//     |<--------------------------------------------|
//     |  ends its own records, until nobody has any |
//     |  lock_released {next} -> arbiter: nobody else gets the unit before it -> lock_grant
//     |                                             |  dirty here, as if it had been written here
//
// Guarantees: nobody else gets the unit between, whatever the answer was, because who was asked may have
// taken it. In a new view both say what they have: the holder destages and releases, who has taken it claims
// the unit as for the record of a dead writer, does again what that one has left, and destages. Both have the
// same, and nobody has written since. So a second failure is survived as any is that meets a record and its
// copies.
//
// A flush may meet what moves: FLUSH, flush.cc. What is in the journal, older than content may get, or large
// is destaged, and what has no copies yet waits for them. Not with locks of blocks, and not by broadcast:
// there nobody knows who is next.
#include <algorithm>

#include "amf/amf.h"
#include "amf/dirty_write.h"
#include "base/log.h"
#include "destage/pass_frames.h"

namespace braid {
namespace {

/// One behind the other.
Slice gathered(const DirtyStripes& dirty, std::span<const DirtyPass::Piece> pieces) {
    std::size_t size = 0;
    for (const DirtyPass::Piece& piece : pieces) size += piece.length;
    const Buffer content(size);
    std::byte* to = content.data();
    for (const DirtyPass::Piece& piece : pieces) {
        const Slice part = dirty.content(piece.stripe, {piece.offset, piece.length});
        to = std::ranges::copy(part.bytes, to).out;
    }
    return Slice(content);
}

}  // namespace

// ---- the holder

/// What would go along with these stripes, which are locked, without its content; nothing if some of it must
/// not.
std::optional<DirtyPass> Amf::passable(std::span<const StripeIndex> stripes) const {
    DirtyPass out;
    std::size_t bytes = 0;
    for (const StripeIndex stripe : stripes) {
        const DirtyStripes::Stripe* dirty = dirty_.find(stripe);
        if (dirty == nullptr) continue;
        const Zone* zone = tables_.zone(geometry_.extent_of(stripe));
        if (zone == nullptr || zone->generation != dirty->generation) return std::nullopt;
        // Also of what has been written anew since: nothing else keeps what was flushed.
        if (journal_.has_data(stripe)) return std::nullopt;
        out.age = std::max(out.age, clock_.now() - dirty->since);
        for (const DirtyPiece piece : dirty_.pieces(stripe, Gaps::none)) {
            out.pieces.push_back({stripe, dirty->generation, piece.offset, piece.length});
            bytes += piece.length;
        }
    }
    const bool fits = bytes != 0 && bytes <= options_.passed && out.pieces.size() <= DirtyPass::kMaxPieces;
    if (!fits || out.age >= options_.dirty_age) return std::nullopt;
    return out;
}

/// No operation is at work in the unit here. Returns `next` if it may have taken what is dirty of it.
Task<AmfId> Amf::pass_on(UnitIndex unit, AmfId next) {
    const Epoch epoch = view_.epoch;
    const auto may = [&] {
        return view_.epoch == epoch && !replicator_.fenced() && !tables_.offline() && securing_ == 0 &&
               clock_.now() >= pass_again_;
    };
    if (next.v == 0 || !write_back() || units_.fine() || !may()) co_return AmfId();
    const StripeIndex first = units_.first_stripe(unit);
    const std::vector<StripeIndex> stripes = dirty_.stripes(first, units_.stripes());
    if (stripes.empty() || stripes.size() > DirtyPass::kMaxPieces) co_return AmfId();
    std::vector<StripeLocks::Guard> guards;
    for (const StripeIndex stripe : stripes) guards.push_back(co_await stripe_locks_.write(stripe));
    for (const StripeIndex stripe : stripes) {
        if (!co_await copied(stripe, kWholeStripe)) co_return AmfId();
    }
    std::optional<DirtyPass> pass = passable(stripes);
    if (!pass || !may()) co_return AmfId();
    const std::uint64_t number = pass->number = next_pass_++;
    pass->unit = unit.v;
    pass->content = gathered(dirty_, pass->pieces);
    passing_.emplace(number, std::nullopt);
    transport_.send(next, encode(group_, *pass));
    while (view_.epoch == epoch && !replicator_.fenced() && !passing_.at(number)) co_await passed_.next();
    const bool taken = passing_.extract(number).mapped().value_or(false);
    if (view_.epoch != epoch || replicator_.fenced()) co_return AmfId();
    // What a flush has asked for meanwhile goes to the members as well.
    if (!taken || !may() || !passable(stripes)) co_return next;
    for (const StripeIndex stripe : stripes) {
        for (const DirtyStripes::Ticket ticket : drop_dirty(stripe, kWholeStripe)) end_dirty(ticket);
    }
    ++counters_.passed_on;
    co_return next;
}

// ---- who is next

/// Its sender holds the unit until it has the answer.
bool Amf::may_take(const DirtyPass& pass) const {
    const bool able = ready_ && write_back() && !units_.fine() && tables_.settled() && !tables_.offline() &&
                      !replicator_.fenced() && replicator_.copies() >= replicator_.dimension();
    if (!able || inherited_.contains(UnitIndex(pass.unit))) return false;
    std::pair<StripeIndex, std::uint32_t> after{StripeIndex(0), 0};
    for (const DirtyPass::Piece& piece : pass.pieces) {
        if (units_.of_stripe(piece.stripe).v != pass.unit || dirty_.find(piece.stripe) != nullptr)
            return false;
        const LogicalRange range = range_of(piece.stripe);
        const bool inside = range.end() <= tables_.config().logical_size() &&
                            std::uint64_t{piece.offset} + piece.length <= range.length;
        if (!inside || std::pair(piece.stripe, piece.offset) < after) return false;
        const Zone* zone = tables_.zone(geometry_.extent_of(piece.stripe));
        if (zone == nullptr || zone->generation != piece.generation) return false;
        if (tables_.quarantined(piece.stripe, piece.generation)) return false;
        after = {piece.stripe, piece.offset + piece.length};
    }
    return true;
}

Task<void> Amf::take_passed(AmfId from, DirtyPass pass) {
    const Epoch epoch = view_.epoch;
    if (!gate_.try_enter()) {
        transport_.send(from, encode(group_, DirtyTaken{pass.number, false}));
        co_return;
    }
    const GateGuard inside(gate_);
    bool ok = may_take(pass) && room_.try_take(pass.content.bytes.size());
    if (ok) {
        std::size_t at = 0;
        Inherited& taken = inherited_[UnitIndex(pass.unit)];
        taken.number = ++inherited_number_;
        taken.since = clock_.now() - pass.age;
        for (const DirtyPass::Piece& piece : pass.pieces) {
            const Slice data(Buffer::copy_of(pass.content.bytes.subspan(at, piece.length)));
            at += piece.length;
            auto write = std::make_shared<DirtyWrite>(replicator_, Room(room_, piece.length),
                                                      Replication::synchronous, clock_.now());
            write->record.begin(piece.stripe, logical(piece.stripe), piece.generation, piece.offset, data, {},
                                true);
            await_copies(*write);
            taken.content.emplace_back(data, std::move(write));
        }
        ok = (co_await early_answers_copied()).has_value();
    }
    if (view_.epoch == epoch) transport_.send(from, encode(group_, DirtyTaken{pass.number, ok}));
}

/// What has been taken for the unit is ours from here on.
void Amf::granted(UnitIndex unit) {
    const auto at = inherited_.find(unit);
    if (at == inherited_.end()) return;
    for (auto& [data, write] : at->second.content) {
        const RecordInfo& info = write->record.info();
        const DirtyStripes::Ticket ticket = info.id.sequence;
        const auto size = static_cast<std::uint32_t>(range_of(info.stripe).length);
        (void)dirty_.put(info.stripe, info.zone, size, info.offset, std::move(data), ticket, at->second.since,
                         false);
        dirty_writes_.emplace(ticket, std::move(write));
    }
    inherited_.erase(at);
    passed_.notify_all();
    start_destages();  // partners may have become too few on its way
}

/// What was taken before now is dirty here.
Task<void> Amf::inherited_all() {
    const auto older = [last = inherited_number_](const auto& taken) { return taken.second.number <= last; };
    while (!replicator_.fenced() && !tables_.offline() && std::ranges::any_of(inherited_, older))
        co_await passed_.next();
}

void Amf::deliver_pass(AmfId from, const Message& message) {
    if (message.type == MessageType::dirty_pass) {
        if (Result<DirtyPass> pass = decode_dirty_pass(message))
            return scope_.spawn(take_passed(from, std::move(*pass)));
    } else if (const Result<DirtyTaken> taken = decode_dirty_taken(message)) {
        const auto passing = passing_.find(taken->number);
        if (passing == passing_.end()) return;  // of a view that has passed
        passing->second = taken->ok;
        return passed_.notify_all();
    }
    LOG_WARN("dirty.message_dropped", {"from", from}, {"type", static_cast<unsigned>(message.type)});
}

}  // namespace braid
