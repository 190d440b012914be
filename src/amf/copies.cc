// When a host hears that its write is done, with write-back (row R4), and what may be seen before (H11, H20).
//
//                         answered when the record of the write
//   synchronous           is at all partners
//   pseudo-synchronous    has left the process for all of them
//   asynchronous          has begun
//
// Guarantees: nobody reads what is not at all partners, here or elsewhere: a read waits, and a lock does not
// leave before its stripes are clean. So what is lost with this AMF nobody has seen. Records reach partners
// in the order in which they began (Replicator), members are touched only for what has its copies: what
// survives of the early answers is a prefix. What was answered so is bounded in bytes and age: beyond that
// hosts wait as if the mode were synchronous. FLUSH and FUA wait anyway, because they wait for the members.
#include <algorithm>

#include "amf/amf.h"
#include "amf/dirty_write.h"

namespace braid {

/// What an operator sets while the group is in use.
void Amf::obey_sharing() {
    if (!tables_.loaded()) return;
    const GroupConfig& config = tables_.config();
    const ControllerSlot own(static_cast<std::uint8_t>(slot_.v / config.sharing.amfs));
    PreferredPartners preferred;
    for (const std::string& partner : config.partners_of(own)) {
        if (partner.starts_with(kHostPlace)) {
            preferred.hosts.insert(partner.substr(kHostPlace.size()));
        } else if (partner.starts_with(kSitePlace)) {
            preferred.sites.insert(partner.substr(kSitePlace.size()));
        } else {
            preferred.controllers.insert(partner);
        }
    }
    replicator_.prefer(std::move(preferred));
    replicator_.allow(able_partners());
    if (config.sharing.replication != Replication::synchronous) replicator_.keep_order();
}

/// Something may be dirty.
bool Amf::enough_copies() const {
    return replicator_.copies() >= replicator_.dimension() ||
           tables_.config().sharing.few_partners == FewPartners::go_on;
}

/// Of the oldest that was answered so.
Nanos Amf::early_age() const {
    const auto early = [](const DirtyWrite* write) { return write->mode != Replication::synchronous; };
    const auto oldest = std::ranges::find_if(uncopied_, early);
    return oldest == uncopied_.end() ? Nanos{} : clock_.now() - (*oldest)->since;
}

/// Of a write that begins now.
Replication Amf::mode_for(std::size_t bytes) const {
    const bool full = early_bytes_ + bytes > options_.window;
    return full || early_age() > options_.window_age ? Replication::synchronous : replication();
}

/// The stripe is locked, so nothing ends the write meanwhile.
Task<Status> Amf::answerable(DirtyWrite& write) {
    const auto may = [&] {
        return write.copied || write.mode == Replication::asynchronous ||
               (write.mode == Replication::pseudo_synchronous && write.record.sent());
    };
    while (!replicator_.fenced() && !may()) co_await write.record.moved().next();
    if (replicator_.fenced()) co_return fail(Errc::fenced);
    if (!write.copied) ++counters_.early_answers;
    co_return Status{};
}

/// Goes on when all that is dirty of the piece has its copies. fenced.
Task<Status> Amf::copied(StripeIndex stripe, DirtyPiece piece) {
    const StripeBytes bytes{piece.offset, piece.length};
    const auto missing = [&] {
        return std::ranges::any_of(uncopied_, [&](const DirtyWrite* write) {
            const RecordInfo& info = write->record.info();
            return info.stripe == stripe && bytes.meets(info.offset, info.length);
        });
    };
    while (!replicator_.fenced() && missing()) co_await copied_.next();
    if (replicator_.fenced()) co_return fail(Errc::fenced);
    co_return Status{};
}

void Amf::await_copies(DirtyWrite& write) {
    if (write.mode != Replication::synchronous) early_bytes_ += write.record.info().length;
    uncopied_.push_back(&write);
    if (!std::exchange(watching_copies_, true)) scope_.spawn(watch_copies());
}

/// One after the other: partners get them in this order.
Task<void> Amf::watch_copies() {
    while (!uncopied_.empty()) {
        DirtyWrite& next = *uncopied_.front();
        while (!next.record.stored()) co_await next.record.moved().next();
        if (replicator_.fenced()) break;
        uncopied_.pop_front();
        if (next.mode != Replication::synchronous) early_bytes_ -= next.record.info().length;
        next.copied = true;
        for (const auto& old : next.covered) old->record.end(Effect::done);
        next.covered.clear();
        next.record.moved().notify_all();
        copied_.notify_all();
    }
    watching_copies_ = false;
    copied_.notify_all();
}

}  // namespace braid
