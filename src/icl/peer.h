// One other controller of the present view, as icl.cc and sessions.cc share it.
#pragma once

#include "icl/icl.h"
#include "icl/link.h"

namespace braid {

struct Icl::Peer {
    Peer(Executor& executor, const ViewMember& member, PeerCounters& c)
        : id(member.id),
          incarnation(member.incarnation),
          address(member.address),
          counters(c),
          changed(executor) {}

    const ControllerId id;
    const Incarnation incarnation;
    const std::string address;
    PeerCounters& counters;
    PeerState state = PeerState::fresh;
    bool gone = false;          ///< not in the view any more
    LinkRef link;               ///< the session, whatever the state says
    std::deque<Message> queue;  ///< fresh: of this epoch, for the session to come
    std::size_t queue_bytes = 0;
    Nanos heard_at{};  ///< or when it was last excused
    Nanos suspected_at{};
    bool silent = false;               ///< reported so, and not heard since
    Nanos lease_until = Nanos::min();  ///< it cannot have given us up before
    Event changed;                     ///< session or gone
};

}  // namespace braid
