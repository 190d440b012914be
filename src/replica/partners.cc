#include "replica/partners.h"

#include <algorithm>
#include <optional>
#include <tuple>

namespace braid {

Nearness nearness(const Location& a, const Location& b) {
    // A host stands in one site, whatever its labels say.
    if (!a.host.empty() && a.host == b.host) return Nearness::same_host;
    if (!a.site.empty() && a.site == b.site) return Nearness::same_site;
    return Nearness::apart;
}

PartnerChoice choose_partners(ControllerId self, const Location& own,
                              std::span<const PartnerCandidate> others, unsigned count) {
    // The smaller, the better.
    using Rank = std::tuple<bool, Nearness, Nearness, bool, ControllerId>;
    std::vector<PartnerCandidate> left(others.begin(), others.end());
    std::vector<Location> taken;
    PartnerChoice out;
    const auto rank = [&](const PartnerCandidate& candidate) {
        Nearness to_taken = Nearness::apart;
        for (const Location& other : taken)
            to_taken = std::max(to_taken, nearness(other, candidate.location));
        return Rank(!candidate.named, nearness(own, candidate.location), to_taken, candidate.id < self,
                    candidate.id);
    };
    while (out.partners.size() < count && !left.empty()) {
        const auto best = std::ranges::min_element(left, {}, rank);
        out.partners.push_back(best->id);
        out.nearest = std::max(out.nearest, nearness(own, best->location));
        taken.push_back(best->location);
        left.erase(best);
    }
    return out;
}

}  // namespace braid
