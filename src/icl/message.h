// What travels between controllers. The head is a small codec-encoded part, the payload block data that is
// sent from where it lies. Who sends what and when: docs/protocols.md.
#pragma once

#include <cstdint>

#include "base/buffer.h"
#include "base/codec.h"
#include "base/types.h"

namespace braid {

enum class MessageType : std::uint8_t {
    // link and membership, group nil
    hello = 1,
    ping = 2,
    pong = 3,
    view_changed = 4,    ///< a newer view stands in the member store
    groups_changed = 5,  ///< rescan the disks: a group was created or destroyed
    // locks
    lock_request = 16,
    lock_grant = 17,
    lock_revoke = 18,  ///< the arbiter asks a holder to release when done
    lock_released = 19,
    lock_report = 20,    ///< at a view change: what the sender holds, claims and waits for
    lock_claim = 21,     ///< broadcast: the sender wants the unit
    lock_yield = 22,     ///< broadcast: nothing here is against it
    lock_returned = 23,  ///< with two AMFs: the home of the unit is its arbiter again
    // update records
    record_begin = 32,
    record_redo = 33,
    record_end = 34,
    record_ack = 35,
    record_sent = 36,  ///< never on a link: a message's receipt
    // tables
    table_update = 48,
    table_ack = 49,
    table_version = 50,  ///< at a view change: the version the sender has
    table_fetch = 51,    ///< a joiner asks for all pages
    table_page = 52,     ///< one page of the answer
    table_agreed = 53,   ///< all AMFs of the view have the change
    member_ask = 54,     ///< which of these members the receiver can read
    member_told = 55,    ///< those
    // AMF
    amf_first = 64,        ///< 64 .. 95 are the AMF's own (recovery progress, flush)
    cache_fetch = 66,      ///< asks for blocks in the receiver's cache
    cache_data = 67,       ///< they, or that they are not there
    completion_ask = 68,   ///< what of a forwarded operation has taken effect
    completion_tell = 69,  ///< that much, as far as the sender knows
    flush_ask = 70,        ///< what hosts were answered for by the receiver is to be on the members
    flush_done = 71,       ///< it is
    dirty_pass = 72,       ///< dirty content that goes along with the lock of its unit
    dirty_taken = 73,      ///< the receiver has it, or not
    host_latency = 74,     ///< what the sender's hosts see, while there is background work
    trims_ask = 75,        ///< what of these extents the receiver remembers as trimmed
    trims_told = 76,       ///< that
    amf_last = 95,
    // ports of a group on controllers that do not share it
    forward_ports = 96,  ///< group nil: all that there are, from the group's keeper
    forward_drained,     ///< group nil: nothing of a closing one is under way at the sender
    forward_read,
    forward_write,
    forward_zeroes,
    forward_flush,
    forward_reply,
    forward_allocation,  ///< asked like the others: which extents have a zone
    last = forward_allocation,
};

struct Message {
    Uuid group;  ///< nil: for the controller itself
    MessageType type{};
    Bytes head;
    Slice payload;
    std::uint8_t from_index = 0;  ///< which of its controller's AMFs of the group sends
    std::uint8_t to_index = 0;
    /// If not empty: the head of a `record_sent` that the sending AMF gets, as from the receiver, when this
    /// message has left the process. Never on the wire.
    Bytes receipt{};
};

/// Takes the messages of one group (or, for the nil group, of the controller). Called on the executor, one at
/// a time, in the order each sender sent; must not block: long work goes to a task.
class MessageSink {
public:
    virtual ~MessageSink() = default;
    virtual void deliver(AmfId from, Message message) = 0;
};

/// How the protocols send. A message to oneself arrives like any other, later. Messages of an epoch that has
/// passed are dropped on both ends: after a view change each protocol says again what still matters.
class Transport {
public:
    virtual ~Transport() = default;
    virtual void send(AmfId to, Message message) = 0;
};

}  // namespace braid
