// A member that fails commands may be in order, and only our path to it lost (hazard H29). Before it is
// declared failed it is looked at once more from here, and, if that fails too, from everywhere else:
//
//   who would declare it                          every other AMF of the view
//     |  member_ask {question, members}             |
//     |-------------------------------------------->|  reads a page of each
//     |         member_told {question, those read}  |
//     |<--------------------------------------------|
//
// If somebody reads it we are the ones to go: this controller leaves the group, its hosts have others, and
// its writes are finished by these. Under the tables lock, so that of two that have lost different paths one
// leaves and the other decides alone. A member that can be read from here and fails writes is a failed one.
#include "base/log.h"
#include "tables/tables.h"

namespace braid {

/// It may be another disk in its place.
bool Tables::has_config(const Buffer& slots) const {
    const auto bytes = std::span<const std::byte>(slots.span());
    return pick_slot(ConstPageBytes(bytes.first(kPageSize)), ConstPageBytes(bytes.subspan(kPageSize)), group_,
                     kConfigPage)
        .found;
}

/// Of these. More than one try: a disk that fails now and then is not a path that is lost.
Task<MemberMask> Tables::read_from_here(MemberMask members) {
    constexpr int kTries = 3;
    constexpr Nanos kPause = 5ms;
    MemberMask out;
    for (int i = 0; i < kTries && (members & ~out).any(); ++i) {
        if (i != 0) co_await sleep_for(clock_, kPause);
        std::vector<DiskOp> ops(disks_.size());
        std::vector<Buffer> pages(disks_.size());
        Join join(executor_);
        for (std::size_t m = 0; m < ops.size(); ++m) {
            if (!members[m] || out[m] || disks_[m] == nullptr) continue;
            pages[m] = Buffer(2 * kPageSize);
            ops[m].verb = DiskVerb::read;
            ops[m].offset = slot_offset(table_start_, kConfigPage, 0);
            ops[m].memory = pages[m].span();
            disks_[m]->submit(ops[m], join);
        }
        co_await join;
        for (std::size_t m = 0; m < ops.size(); ++m)
            out[m] = out[m] || (!pages[m].empty() && ops[m].status && has_config(pages[m]));
    }
    co_return out;
}

/// Of these; asked again in every view, until all have told.
Task<MemberMask> Tables::read_elsewhere(MemberMask members) {
    while (true) {
        const Epoch epoch = view_.epoch;
        told_.clear();
        ++question_;
        for (const AmfMember& peer : view_.members) {
            if (peer.id == view_.self) continue;
            Message message{group_, MessageType::member_ask, {}, {}};
            Writer writer(message.head);
            writer.put(question_);
            writer.put(std::uint64_t{members.to_ullong()});
            transport_.send(peer.id, std::move(message));
        }
        const std::size_t others = view_.members.size() - (view_.contains(view_.self) ? 1 : 0);
        while (view_.epoch == epoch && told_.size() < others) co_await changed_.next();
        if (view_.epoch != epoch) continue;
        MemberMask out;
        for (const auto& [peer, read] : told_) out |= read;
        co_return out& members;
    }
}

Task<void> Tables::tell_read(AmfId to, std::uint64_t question, MemberMask members) {
    const MemberMask read = co_await read_from_here(members);
    Message message{group_, MessageType::member_told, {}, {}};
    Writer writer(message.head);
    writer.put(question);
    writer.put(std::uint64_t{read.to_ullong()});
    transport_.send(to, std::move(message));
}

void Tables::on_told(AmfId from, std::uint64_t question, MemberMask read) {
    if (question != question_) return;
    told_[from.v] = read;
    changed_.notify_all();
}

/// Of members that have failed commands from here: only our path to them is lost.
Task<MemberMask> Tables::reached_by_others_alone(MemberMask members) {
    members &= ~co_await read_from_here(members);
    if (members.any()) members = co_await read_elsewhere(members);
    for (std::size_t i = 0; i < disks_.size(); ++i) {
        if (members[i])
            LOG_ERROR("tables.disk_not_reached", {"group", config_.name}, {"member", i}, {"by", "us alone"});
    }
    co_return members;
}

}  // namespace braid
