// A member that fails commands may be in order, and only our path to it lost (hazard H29). Before it is
// declared failed it is looked at once more from here, and, if that fails too, from everywhere else:
//
//   who would declare it                          every other AMF of the view
//     |  member_ask {question, members}             |
//     |-------------------------------------------->|  reads a page of each, several times
//     |         member_told {question, those read}  |
//     |<--------------------------------------------|
//
// If somebody reads it every time we are the ones to go: this controller leaves the group, its hosts have
// others, and its writes are finished by these. Under the tables lock, so that of two that have lost
// different paths one leaves and the other decides alone. A member that can be read from here and fails
// writes is a failed one, and so is one that others can read only now and then: no controller leaves for a
// bad disk.
#include "base/log.h"
#include "tables/tables.h"

namespace braid {
namespace {

MemberMask found(const auto& picks) {
    MemberMask out;
    for (std::size_t m = 0; m < picks.size(); ++m) out[m] = picks[m].has_value();
    return out;
}

}  // namespace

/// Of these, whatever we could read at least once. A disk that fails now and then is not a path that is lost.
Task<MemberMask> Tables::read_once(MemberMask members) {
    constexpr int kTries = 5;
    constexpr Nanos kPause = 5ms;
    MemberMask out;
    for (int i = 0; i < kTries && (members & ~out).any(); ++i) {
        if (i != 0) co_await sleep_for(clock_, kPause);
        out |= found(co_await read_page(kConfigPage, members & ~out));
    }
    co_return out;
}

/// Of these, whatever we could read every time.
Task<MemberMask> Tables::read_always(MemberMask members) {
    constexpr int kTries = 8;
    for (int i = 0; i < kTries && members.any(); ++i)
        members &= found(co_await read_page(kConfigPage, members));
    co_return members;
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
    const MemberMask read = co_await read_always(members);
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
    members &= ~co_await read_once(members);
    if (members.any()) members = co_await read_elsewhere(members);
    for (std::size_t i = 0; i < disks_.size(); ++i) {
        if (members[i])
            LOG_ERROR("tables.disk_not_reached", {"group", config_.name}, {"member", i}, {"by", "us alone"});
    }
    co_return members;
}

}  // namespace braid
