// What a Replicator does with what it is told: as a partner, as the writer, and in recovery.
#include <algorithm>

#include "base/log.h"
#include "replica/replicator.h"

namespace braid {

void Replicator::deliver(AmfId from, const Message& message) {
    if (fenced_) return;
    switch (message.type) {
        case MessageType::record_begin:
            return on_begin(from, message);
        case MessageType::record_redo:
            return on_redo(from, message);
        case MessageType::record_end:
            return on_end(from, message);
        case MessageType::record_ack:
            return on_ack(from, message);
        case MessageType::record_sent:
            return on_sent(from, message);
        case kRecordFetch:
            return on_fetch(from, message);
        case kRecordFetched:
            return on_fetched(from, message);
        case MessageType::completion_ask:
        case MessageType::completion_tell:
            if (!completions_.deliver(from, message)) refuse(from, message);
            return;
        default:
            return refuse(from, message);
    }
}

void Replicator::refuse(AmfId from, const Message& message) {
    ++counters_.refused;
    LOG_WARN("record.refused", {"from", from}, {"type", static_cast<unsigned>(message.type)});
}

/// A record comes from its living writer, or, of a dead one, from anybody.
bool Replicator::may_send(AmfId from, const RecordId& id) const {
    return store_.orphan(id) || from == id.origin;
}

void Replicator::acknowledge(AmfId to, const RecordId& id, AckedPart part) {
    transport_.send(to, encode(group_, AckFrame{id, part}));
}

void Replicator::on_begin(AmfId from, const Message& message) {
    Result<BeginFrame> frame = decode_begin(message, limits_);
    if (!frame || !may_send(from, frame->info.id)) return refuse(from, message);
    const RecordId id = frame->info.id;
    if (store_.forgotten(id)) return;
    const bool dirty = frame->dirty;
    const auto record = store_.begin(std::move(*frame));
    if (!record) return refuse(from, message);
    if (from != id.origin) return;
    if ((*record)->complete()) {
        acknowledge(from, id, AckedPart::stored);
    } else if (dirty && (*record)->has_data()) {
        acknowledge(from, id, AckedPart::data);
    }
}

void Replicator::on_redo(AmfId from, const Message& message) {
    Result<RedoFrame> frame = decode_redo(message, limits_);
    if (!frame || !may_send(from, frame->id)) return refuse(from, message);
    const RecordId id = frame->id;
    if (store_.forgotten(id)) return;
    const auto record = store_.redo(std::move(*frame));
    if (!record || *record == nullptr) return refuse(from, message);
    if (!(*record)->complete() || from != id.origin) return;
    ++counters_.stored;
    acknowledge(from, id, AckedPart::stored);
}

void Replicator::on_end(AmfId from, const Message& message) {
    const Result<EndFrame> frame = decode_end(message);
    if (!frame || (!may_send(from, frame->id))) return refuse(from, message);
    const StoredRecord* record = store_.find(frame->id);
    if (frame->done && record != nullptr) note_done(record->info);
    store_.drop(frame->id);
    dropped_.notify_all();
    acknowledge(from, frame->id, AckedPart::ended);
}

/// Our own link says so, not the partner.
void Replicator::on_sent(AmfId to, const Message& message) {
    const Result<AckFrame> ack = decode_ack(message);
    if (!ack || ack->part != AckedPart::sent) return refuse(to, message);
    Entry* const entry = find(ack->id);
    if (entry == nullptr || entry->open == nullptr) return;
    entry->open->sent_to_.insert(to);
    entry->open->moved_.notify_all();
}

void Replicator::on_ack(AmfId from, const Message& message) {
    const Result<AckFrame> ack = decode_ack(message);
    if (!ack || ack->part == AckedPart::sent) return refuse(from, message);
    if (const auto at = copying_.find(from); at != copying_.end() && ack->id == own_id(ack->id.sequence)) {
        const auto sent = at->second.sent.extract(ack->id.sequence);
        at->second.bytes -= sent.empty() ? 0 : sent.mapped();
        copy_more(from);
    }
    if (Entry* entry = find(ack->id)) {
        if (ack->part != AckedPart::ended && entry->open != nullptr) {
            OpenRecord& record = *entry->open;
            if (ack->part == AckedPart::stored) record.acked_.insert(from);
            if (record.dirty_) record.have_data_.insert(from);
            const bool stored = record.dirty_ && record.stored();
            if (stored) record.late_ = false;
            if (record.redone_ ? !record.waiting() : stored) record.moved_.notify_all();
        } else if (ack->part == AckedPart::ended && entry->ended) {
            entry->holders.erase(from);
            if (entry->holders.empty()) {
                retire(static_cast<std::uint32_t>(entry - entries_.data()));
            } else {
                wake_stripe(entry->stripe);
            }
        }
        return;
    }
    if (ack->part != AckedPart::ended) return;
    for (Forgetting& f : forgetting_) {
        if (f.end.id == ack->id && f.waiting.erase(from) && f.waiting.empty()) answered_.notify_all();
    }
}

// ---- forwarded operations

void Replicator::note_done(const RecordInfo& info) {
    if (info.errand) completions_.note({info.errand, info.begin(), info.end()});
}

Task<Result<Completions::Run>> Replicator::done_before(Completion part) {
    CO_TRY(co_await completions_.learn(part));
    co_return completions_.knows(part);
}

// ---- recovery

Task<Status> Replicator::gather(StripeIndex first, std::uint32_t count) {
    const std::uint64_t ticket = next_ticket_++;
    gathering_.push_back({{ticket, first, count}, others()});
    for (AmfId id : gathering_.back().waiting) transport_.send(id, encode(group_, gathering_.back().fetch));
    while (true) {
        const auto mine =
            std::ranges::find(gathering_, ticket, [](const Gathering& g) { return g.fetch.ticket; });
        if (fenced_ || mine->waiting.empty()) {
            gathering_.erase(mine);
            break;
        }
        co_await answered_.next();
    }
    if (fenced_) co_return fail(Errc::fenced);
    co_return Status{};
}

Task<Status> Replicator::gather_all() {
    constexpr std::uint32_t kMost = 1u << 31;
    while (gathered_all_ != view_.epoch) {
        if (fenced_) co_return fail(Errc::fenced);
        if (gathering_all_) {
            co_await answered_.next();
            continue;
        }
        const Epoch epoch = view_.epoch;
        gathering_all_ = true;
        for (std::uint64_t first = 0; first < limits_.stripes && !fenced_; first += kMost)
            (void)co_await gather(StripeIndex(first), kMost);
        gathering_all_ = false;
        if (view_.epoch == epoch) gathered_all_ = epoch;
        answered_.notify_all();
    }
    if (fenced_) co_return fail(Errc::fenced);
    co_return Status{};
}

/// In the order in which they began, so that also what has come of them is without a hole.
void Replicator::hand_on(const RecordInfo& finished, AmfId to) {
    const RecordId& root = finished.root;
    if (!in_order_ || finished.id == root) return;
    if (!handed_on_.insert({AmfMember{root.origin, root.incarnation}, to}).second) return;
    for (const StoredRecord* record : store_.of({root.origin, root.incarnation})) send_stored(*record, to);
}

void Replicator::on_fetch(AmfId from, const Message& message) {
    const Result<FetchFrame> fetch = decode_fetch(message);
    if (!fetch) return refuse(from, message);
    FetchedFrame done{fetch->ticket, StripeIndex(fetch->first.v + fetch->count)};
    std::size_t bytes = 0;
    StripeIndex last = fetch->first;
    for (const StoredRecord* record : store_.orphans(fetch->first, fetch->count)) {
        if (bytes >= copy_window_ && record->info.stripe != last) {
            done.next = record->info.stripe;
            break;
        }
        last = record->info.stripe;
        bytes += record->info.length;
        send_stored(*record, from);
    }
    transport_.send(from, encode(group_, done));
}

void Replicator::send_stored(const StoredRecord& record, AmfId to) {
    for (std::uint32_t at = 0; at < record.info.length; at += kMaxRecordFrame) {
        if ((record.frames_received & (1u << (at / kMaxRecordFrame))) == 0) continue;
        const std::uint32_t size = std::min(kMaxRecordFrame, record.info.length - at);
        const Slice part(record.data.owner, record.data.bytes.subspan(at, size));
        transport_.send(to, encode(group_, BeginFrame{record.info, at, part}));
    }
    if (record.redo) transport_.send(to, encode(group_, RedoFrame{record.info.id, *record.redo}));
}

void Replicator::on_fetched(AmfId from, const Message& message) {
    const Result<FetchedFrame> done = decode_fetched(message);
    if (!done) return refuse(from, message);
    for (Gathering& g : gathering_) {
        if (g.fetch.ticket != done->ticket || !g.waiting.contains(from)) continue;
        const std::uint64_t end = g.fetch.first.v + g.fetch.count;
        if (done->next <= g.fetch.first || done->next.v > end) return refuse(from, message);
        if (done->next.v == end) {
            g.waiting.erase(from);
            if (g.waiting.empty()) answered_.notify_all();
        } else {
            const auto left = static_cast<std::uint32_t>(end - done->next.v);
            transport_.send(from, encode(group_, FetchFrame{done->ticket, done->next, left}));
        }
    }
}

Task<Status> Replicator::forget(std::vector<EndFrame> ends) {
    for (const EndFrame& end : ends) {
        forgetting_.push_back({end, others()});
        for (AmfId id : forgetting_.back().waiting) transport_.send(id, encode(group_, end));
    }
    const auto asked_by_us = [&](const Forgetting& f) {
        return std::ranges::any_of(ends, [&](const EndFrame& end) { return end.id == f.end.id; });
    };
    while (!fenced_ && std::ranges::any_of(forgetting_, [&](const Forgetting& f) {
        return asked_by_us(f) && !f.waiting.empty();
    })) {
        co_await answered_.next();
    }
    std::erase_if(forgetting_, asked_by_us);
    if (fenced_) co_return fail(Errc::fenced);
    for (const EndFrame& end : ends) store_.drop(end.id);
    dropped_.notify_all();
    co_return Status{};
}

Task<Status> Replicator::forgotten(std::uint64_t begin, std::uint64_t end) {
    const auto some = [this, begin, end] {
        return std::ranges::any_of(store_.all(), [&](const auto& stored) {
            const RecordInfo& info = stored.second.info;
            return store_.orphan(stored.first) && info.begin() < end && begin < info.end();
        });
    };
    while (!fenced_ && some()) co_await dropped_.next();
    if (fenced_) co_return fail(Errc::fenced);
    co_return Status{};
}

}  // namespace braid
