// On which controllers the copies of an AMF's update records stand (rows R2 R3). Pure.
//
// Guarantees: never the writer's own controller; those first that an operator has named; of the rest outside
// the writer's host before inside, outside its site before inside, and in the same order away from each
// other; else the next ones in the ring of ids. What was not chosen may come and go without a change of what
// was.
#pragma once

#include <set>
#include <span>
#include <string>
#include <vector>

#include "icl/view.h"

namespace braid {

struct PartnerCandidate {
    ControllerId id;
    Location location;
    bool named = false;  ///< by an operator, for this writer
};

/// Where an operator wants the copies of a writer: on these, and on all that stand there.
struct PreferredPartners {
    std::set<std::string> controllers{}, hosts{}, sites{};
    friend bool operator==(const PreferredPartners&, const PreferredPartners&) = default;

    bool contains(const std::string& controller, const Location& at) const {
        return controllers.contains(controller) || hosts.contains(at.host) || sites.contains(at.site);
    }
};

/// What the writer shares with the nearest of its partners.
enum class Nearness : std::uint8_t { apart, same_site, same_host };

struct PartnerChoice {
    std::vector<ControllerId> partners;  ///< `count` of them, or all candidates
    Nearness nearest = Nearness::apart;
};

/// Of two places that have no label nothing is known: they are apart.
Nearness nearness(const Location& a, const Location& b);

/// `others`: without the writer's own, by ascending id.
PartnerChoice choose_partners(ControllerId self, const Location& own,
                              std::span<const PartnerCandidate> others, unsigned count);

}  // namespace braid
