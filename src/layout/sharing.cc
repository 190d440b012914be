#include "layout/sharing.h"

#include <bit>
#include <charconv>
#include <initializer_list>
#include <set>

namespace braid {

std::string_view SharingOptions::complaint(std::size_t controllers, std::uint32_t strip_size) const {
    const auto& [stripes, blocks] = granularity;
    if (stripes < 1 || stripes > kMaxLockStripes) return "a lock covers 1 to 1048576 stripes";
    if (blocks != 0 && stripes != 1) return "locks are of blocks or of several stripes, not both";
    if (blocks != 0 && (!std::has_single_bit(blocks) || blocks * kBlockSize > strip_size))
        return "the 4 KiB blocks under one lock are a power of two and not more than a strip has";
    if (coherency > Coherency::broadcast) return "coherency is arbiter or broadcast";
    if (lock_order > LockOrder::priority) return "lock order is fifo or priority";
    if (write_cache > WriteCache::back) return "cache is write-through or write-back";
    if (replication > Replication::asynchronous)
        return "replication is synchronous, pseudo-synchronous or asynchronous";
    if (few_partners > FewPartners::go_on) return "few partners: continue or write-through";
    if (write_cache == WriteCache::through && replication != Replication::synchronous)
        return "replication other than synchronous needs --cache write-back: with write-through a host is "
               "answered when its write is on the disks";
    if (write_cache == WriteCache::through && few_partners != FewPartners::write_through)
        return "with fewer partners only a group with --cache write-back can continue: write-through it is "
               "anyway";
    std::set<std::string_view> places;
    for (std::size_t slot = 0; slot < partners.size(); ++slot) {
        const NamedPartners& named = partners[slot];
        if ((named.controllers >> slot & 1) != 0) return "a controller is not its own partner";
        const std::uint32_t used = slot < controllers ? (1u << controllers) - 1 : 0;
        if ((named.controllers & ~used) != 0) return "partners are among the controllers of the group";
        if (slot >= controllers && named.any()) return "partners are of controllers of the group";
        places.insert(named.places.begin(), named.places.end());
    }
    if (places.size() > kMaxPartnerPlaces) return "at most 16 hosts and sites are named as partners";
    if (min_hold < Nanos{} || min_hold > kMaxMinHold || min_hold % 1us != Nanos{})
        return "the minimum hold time is 0 to 1000000 microseconds";
    if (prefetch > kMaxPrefetch) return "prefetch is 0 to 63 units";
    if (amfs < 1 || amfs > kMaxAmfs) return "a controller has 1 to 8 AMFs of a group";
    if (controllers * amfs > kMaxGroupAmfs) return "controllers times AMFs of each are at most 16";
    return {};
}

std::string_view to_string(Coherency coherency) {
    return coherency == Coherency::broadcast ? "broadcast" : "arbiter";
}

std::string_view to_string(LockOrder order) { return order == LockOrder::priority ? "priority" : "fifo"; }

std::string_view to_string(WriteCache cache) {
    return cache == WriteCache::back ? "write-back" : "write-through";
}

std::string_view to_string(Replication mode) {
    switch (mode) {
        case Replication::pseudo_synchronous:
            return "pseudo-synchronous";
        case Replication::asynchronous:
            return "asynchronous";
        default:
            return "synchronous";
    }
}

std::string_view to_string(FewPartners policy) {
    return policy == FewPartners::go_on ? "continue" : "write-through";
}

std::string to_string(Granularity granularity) {
    const auto& [stripes, blocks] = granularity;
    if (blocks != 0) return blocks == 1 ? "block" : "blocks:" + std::to_string(blocks);
    return stripes == 1 ? "stripe" : "stripes:" + std::to_string(stripes);
}

/// The one that is called so.
template <class Choice>
static Result<Choice> parse_one_of(std::initializer_list<Choice> choices, std::string_view text) {
    for (const Choice choice : choices) {
        if (text == to_string(choice)) return choice;
    }
    return fail(Errc::invalid);
}

Result<Coherency> parse_coherency(std::string_view text) {
    return parse_one_of({Coherency::arbiter, Coherency::broadcast}, text);
}

Result<LockOrder> parse_lock_order(std::string_view text) {
    return parse_one_of({LockOrder::fifo, LockOrder::priority}, text);
}

Result<WriteCache> parse_write_cache(std::string_view text) {
    return parse_one_of({WriteCache::through, WriteCache::back}, text);
}

Result<Replication> parse_replication(std::string_view text) {
    return parse_one_of(
        {Replication::synchronous, Replication::pseudo_synchronous, Replication::asynchronous}, text);
}

Result<FewPartners> parse_few_partners(std::string_view text) {
    return parse_one_of({FewPartners::write_through, FewPartners::go_on}, text);
}

Result<Granularity> parse_granularity(std::string_view text) {
    if (text == "block") return Granularity{.blocks = 1};
    if (text == "stripe") return Granularity{};
    const std::string_view kind = text.substr(0, text.find(':') + 1);
    text.remove_prefix(kind.size());
    Granularity out;
    const auto number = [text](auto& into) {
        const char* const end = text.data() + text.size();
        const auto [rest, error] = std::from_chars(text.data(), end, into);
        return error == std::errc{} && rest == end && into != 0;
    };
    if (kind == "blocks:" && number(out.blocks)) return out;
    if (kind == "stripes:" && number(out.stripes)) return out;
    return fail(Errc::invalid);
}

}  // namespace braid
