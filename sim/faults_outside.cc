// What befalls links and members of a simulated cluster.
#include <algorithm>

#include "ondisk/space.h"
#include "sim/cluster.h"

namespace braid::sim {

// ---- links

/// From one controller to another one, or to all.
void Cluster::slow_link(Fault& fault, std::size_t index, Nanos length) {
    if (index >= nodes_.size()) return;
    const std::uint64_t from = nodes_[index].process->pid;
    std::size_t other = fault.prng.below(nodes_.size() + 1);
    // Often one that keeps its records.
    if (Amf* amf = amf_of(nodes_[index]);
        amf != nullptr && !amf->replicator().partners().empty() && fault.prng.chance(1, 2)) {
        const AmfId partner = *amf->replicator().partners().begin();
        for (std::size_t i = 0; i < nodes_.size(); ++i) {
            Amf* of = amf_of(nodes_[i]);
            if (of != nullptr && braid::controller_of(of->view().self) == braid::controller_of(partner))
                other = i;
        }
    }
    const Nanos by = fault.pause(1, 40);
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (other == nodes_.size() || other == i) wires_.slow[{from, nodes_[i].process->pid}] = by;
    }
    strikes(fault, Mark::slow_link, from, micros(by));
    world_.after(length, [this, from] {
        std::erase_if(wires_.slow, [from](const auto& entry) { return entry.first.first == from; });
    });
}

/// Those of one controller, or all, for a while.
void Cluster::slow_links(Fault& fault) {
    if (fault.prng.chance(1, 2)) {
        const std::size_t index = random_node(fault.prng, false);
        return slow_link(fault, index, fault.pause(20, 500));
    }
    wires_.spike = fault.pause(1, 40);
    strikes(fault, Mark::spike, micros(wires_.spike));
    world_.after(fault.pause(20, 500), [this] { wires_.spike = Nanos{0}; });
}

/// Bytes between two controllers wait, both ways or one way.
void Cluster::cut_two(Fault& fault) {
    if (!may_lose_one()) return;
    const std::size_t a = random_node(fault.prng, true), b = random_node(fault.prng, true);
    if (a >= nodes_.size() || b >= nodes_.size() || a == b) return;
    strikes(fault, Mark::cut, nodes_[a].process->pid, nodes_[b].process->pid);
    wires_.cut(nodes_[a].process->pid, nodes_[b].process->pid, fault.prng.chance(2, 3));
    const Nanos length = fault.pause(5, 1500);
    doom(length + 500ms);
    world_.after(length, [this] { wires_.heal(); });
    for (const std::size_t index : {a, b}) {
        world_.after(length + 500ms, [this, index] { start_node(index); });
    }
}

void Cluster::reset_two(Fault& fault) {
    const std::size_t a = random_node(fault.prng, false), b = random_node(fault.prng, false);
    if (a >= nodes_.size() || b >= nodes_.size() || a == b) return;
    strikes(fault, Mark::reset, nodes_[a].process->pid, nodes_[b].process->pid);
    wires_.reset(nodes_[a].process->pid, nodes_[b].process->pid);
}

/// Epochs close together: what was said in one arrives in another.
void Cluster::reset_some(Fault& fault) {
    reset_two(fault);
    while (fault.prng.chance(1, 2)) {
        world_.after(fault.below(5'000'000), [this, &fault] { reset_two(fault); });
    }
}

/// A connection is over for one side, and the other one goes on talking to nobody for a while.
void Cluster::half_open(Fault& fault) {
    if (!may_lose_one()) return;
    const std::size_t a = random_node(fault.prng, true), b = random_node(fault.prng, true);
    if (a >= nodes_.size() || b >= nodes_.size() || a == b) return;
    const Nanos late = fault.pause(1, 2000);
    strikes(fault, Mark::half_open, nodes_[a].process->pid, nodes_[b].process->pid);
    wires_.half_open(nodes_[a].process->pid, nodes_[b].process->pid, late);
    doom(std::min(late, 2 * plan_.ping_timeout) + 500ms);
}

/// The store of the members' record is slow for a while, or fails.
void Cluster::trouble_store(Fault& fault) {
    const Nanos length = fault.pause(5, 2000);
    if (fault.prng.chance(1, 2)) {
        record_.slow = fault.pause(1, 1000);
        strikes(fault, Mark::store_slow, micros(record_.slow), micros(length));
    } else {
        record_.refuses = true;
        strikes(fault, Mark::store_refuses, micros(length));
    }
    world_.after(length, [this] {
        record_.slow = Nanos{0};
        record_.refuses = false;
    });
}

// ---- members

/// A member that may still go; nothing when as many as the plan allows have gone.
Media* Cluster::healthy_disk(Prng& prng) {
    if (disks_failed_ >= plan_.disk_faults + plan_.further_disk_faults) return nullptr;
    Media* media = media_[prng.below(media_.size())].get();
    const auto member = member_on(*media);
    if (!member) return nullptr;
    if (disks_failed_ >= plan_.disk_faults && !whole_again(*member)) return nullptr;
    return healthy(*media) ? media : nullptr;
}

bool Cluster::healthy(const Media& media) {
    return !media.dead && !media.fails_writes && media.errors_of_1000 == 0 && !media.declared &&
           media.plugged() == 1;
}

/// By what was last known of the group.
std::optional<MemberIndex> Cluster::member_on(const Media& media) {
    if (const Tables* tables = some_tables()) config_ = tables->config();
    for (std::uint8_t i = 0; i < config_.members.size(); ++i) {
        if (media.carries(config_.members[i].disk)) return MemberIndex(i);
    }
    return std::nullopt;
}

/// One more may fail: all that failed are known to have, and what they held stands elsewhere.
bool Cluster::whole_again(MemberIndex next) {
    const Tables* tables = some_tables();
    if (tables == nullptr || !tables->settled() || tables->anything_to_move()) return false;
    for (const auto& media : media_) {
        const auto member = member_on(*media);
        if (member && !healthy(*media) && tables->member_ok(*member)) return false;
    }
    std::size_t there = 0;
    for (std::uint8_t i = 0; i < tables->config().members.size(); ++i)
        there += tables->member_ok(MemberIndex(i)) ? 1 : 0;
    if (there <= tables->geometry().width()) return false;
    if (!tables->survives(MemberMask().set(next.v)) || tables->rings_filling()) return false;
    world_.mark(Mark::disk_after_rebuild);
    return true;
}

/// A member is gone, refuses writes, or fails now and then.
void Cluster::disk_fault(Fault& fault) {
    Media* media = healthy_disk(fault.prng);
    if (media == nullptr) return;
    // Some hear late of what is agreed about it.
    if (plan_.spikes || fault.prng.chance(1, 2)) {
        const std::size_t index = random_node(fault.prng, false);
        slow_link(fault, index, fault.pause(5, 60));
    }
    ++disks_failed_;
    switch (fault.prng.below(3)) {
        case 0:
            media->dead = true;
            return strikes(fault, Mark::disk_gone, media->id());
        case 1:
            media->fails_writes = true;
            return strikes(fault, Mark::disk_refuses_writes, media->id());
        default:
            media->errors_of_1000 = static_cast<unsigned>(fault.prng.between(2, 300));
            return strikes(fault, Mark::disk_fails_some, media->id(), media->errors_of_1000);
    }
}

/// A member goes, and comes back as it was, as it was some time before, or without its content.
void Cluster::swap_disk(Fault& fault) {
    Media* media = healthy_disk(fault.prng);
    if (media == nullptr) return;
    ++disks_failed_;
    media->declared = true;  // nobody else's victim from now on
    std::optional<Media::Content> old;
    Nanos age{0};
    const std::uint64_t kind = fault.prng.below(3);
    if (kind == 0) {
        old = media->snapshot();
        age = fault.pause(1, 300);
    }
    world_.after(age, [this, &fault, media, kind, age, old = std::move(old)]() mutable {
        strikes(fault, Mark::disk_gone, media->id());
        if (kind == 1) old = media->snapshot();
        media->pull();
        world_.after(fault.pause(1, 600), [this, &fault, media, age, old = std::move(old)]() mutable {
            plug_in_when_noticed(fault, *media, std::move(old), age);
        });
    });
}

/// Somebody has agreed with the others that it failed.
bool Cluster::noticed(const Media& media) {
    const auto member = member_on(media);
    return !member || std::ranges::any_of(nodes_, [&](Node& node) {
        return serving(node) && !amf_of(node)->tables().member_ok(*member);
    });
}

/// A disk that comes back before anybody missed it, and is not what it was, nobody can tell from a good one.
void Cluster::plug_in_when_noticed(Fault& fault, Media& media, std::optional<Media::Content> old, Nanos age) {
    if (over_) return;
    if (!noticed(media) && !plan_.unnoticed_swaps) {
        world_.after(10ms, [this, &fault, &media, age, old = std::move(old)]() mutable {
            plug_in_when_noticed(fault, media, std::move(old), age);
        });
        return;
    }
    const Mark how = !old             ? Mark::disk_back_empty
                     : age > Nanos{0} ? Mark::disk_back_old
                                      : Mark::disk_back_same;
    strikes(fault, how, media.id(), micros(age));
    media.plug_in(std::move(old), fault.prng.chance(1, 2));
}

/// A member limps for a while.
void Cluster::slow_disk(Fault& fault) {
    Media* media = media_[fault.prng.below(media_.size())].get();
    media->slow = static_cast<unsigned>(fault.prng.between(2, 60));
    strikes(fault, Mark::slow_disk, media->id(), media->slow);
    world_.after(fault.pause(10, 800), [media] { media->slow = 1; });
}

/// Blocks of member 0 become unreadable: some anywhere, some where the hosts work.
void Cluster::spoil_blocks(Fault& fault) {
    Media& media = *media_[0];
    strikes(fault, Mark::bad_blocks, 20, media.id());
    for (int i = 0; i < 20; ++i) {
        media.bad.insert((8u << 20) / kBlockSize + fault.prng.below(media.size() / kBlockSize - 4096));
        const auto hot = media.hot_block(fault.prng);
        if (hot && i < 4) media.bad.insert(*hot);
    }
}

/// Member 0 says what was not written: a few blocks rot, or writes are lost, or land elsewhere.
void Cluster::tell_lies(Fault& fault) {
    Media& media = *media_[0];
    if (media.plugged() != 1) return;
    const std::uint64_t count = 1 + fault.prng.below(4);
    switch (fault.prng.below(3)) {
        case 0:
            for (std::uint64_t i = 0; i < count; ++i) {
                const auto hot = media.hot_block(fault.prng);
                if (!hot || *hot * kBlockSize < media.data_start()) continue;
                media.rot(fault.prng, *hot);
                strikes(fault, Mark::rot_data, *hot, media.id());
            }
            return;
        case 1:
            media.loses += static_cast<unsigned>(count);
            return strikes(fault, Mark::lost_write, count, media.id());
        default:
            media.misdirects += static_cast<unsigned>(count);
            return strikes(fault, Mark::misdirected_write, count, media.id());
    }
}

/// Tables and superblocks have copies on every member, and the superblock two: one member's are spoilt here,
/// and always the same one of its two superblocks.
void Cluster::rot_tables(Fault& fault) {
    Media& media = *media_[plan_.seed % media_.size()];
    const std::uint64_t tables = kTableStart / kBlockSize, data = media.data_start() / kBlockSize;
    const bool superblock = fault.prng.chance(1, 8);
    const std::uint64_t last = media.size() / kBlockSize - 1;
    const std::uint64_t which = plan_.seed / media_.size() % 2 == 0 ? 0 : last;
    const auto spoilt =
        superblock ? media.rot(fault.prng, which, which + 1) : media.rot(fault.prng, tables, data);
    if (spoilt) strikes(fault, superblock ? Mark::rot_superblock : Mark::rot_table, *spoilt, media.id());
}

}  // namespace braid::sim
