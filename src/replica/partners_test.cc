#include "replica/partners.h"

#include <gtest/gtest.h>

#include <string>

namespace braid {
namespace {

/// "1@h1/s1": the controller 1 on host h1 in site s1; "!" behind it: an operator has named it.
struct Controller {
    ControllerId id;
    Location location;
    bool named = false;
};

Controller parse(std::string text) {
    Controller out;
    out.named = text.ends_with('!');
    if (out.named) text.pop_back();
    const std::size_t host = text.find('@'), site = text.find('/');
    out.id = ControllerId(static_cast<std::uint16_t>(std::stoi(text)));
    if (site != std::string::npos) out.location.site = text.substr(site + 1);
    if (host != std::string::npos) out.location.host = text.substr(host + 1, site - host - 1);
    return out;
}

/// Of the first one of the list, in the order in which they are taken; and what it shares with them.
std::string chosen(const std::vector<std::string>& list, unsigned count) {
    const Controller self = parse(list.front());
    std::vector<PartnerCandidate> others;
    for (std::size_t i = 1; i < list.size(); ++i) {
        const Controller other = parse(list[i]);
        others.push_back({other.id, other.location, other.named});
    }
    const PartnerChoice choice = choose_partners(self.id, self.location, others, count);
    std::string out;
    for (const ControllerId id : choice.partners) out += std::to_string(id.v) + ' ';
    return out + (choice.nearest == Nearness::apart       ? "apart"
                  : choice.nearest == Nearness::same_site ? "site"
                                                          : "host");
}

struct Row {
    std::vector<std::string> controllers;
    unsigned count;
    std::string expected;
};

TEST(Partners, StandWhereLeastIsShared) {
    const std::vector<Row> rows = {
        // Nothing is known of their places: the ring.
        {{"1", "2", "3", "4"}, 1, "2 apart"},
        {{"3", "1", "2", "4"}, 2, "4 1 apart"},
        {{"4", "1", "2", "3"}, 3, "1 2 3 apart"},
        {{"1", "2"}, 3, "2 apart"},
        {{"1"}, 2, "apart"},
        {{"1", "2"}, 0, "apart"},
        // Another host first.
        {{"1@h1", "2@h1", "3@h2", "4@h2"}, 1, "3 apart"},
        {{"1@h1", "2@h1", "3@h2", "4@h2"}, 2, "3 4 apart"},
        {{"1@h1", "2@h1", "3@h1"}, 1, "2 host"},
        {{"1@h1", "2@h1", "3@h2"}, 2, "3 2 host"},
        // Then another site.
        {{"1@h1/s1", "2@h2/s1", "3@h3/s2"}, 1, "3 apart"},
        {{"1@h1/s1", "2@h2/s1", "3@h1/s1"}, 1, "2 site"},
        {{"1@h1/s1", "2@h2/s1", "3@h1/s2"}, 1, "2 site"},
        {{"1/s1", "2/s1", "3/s2"}, 2, "3 2 site"},
        // Away from each other, too: the second copy does not go down with the first.
        {{"1@h1", "2@h2", "3@h2", "4@h3"}, 2, "2 4 apart"},
        {{"1@h1/s1", "2@h2/s2", "3@h3/s2", "4@h4/s3"}, 2, "2 4 apart"},
        // A place without a label may be anywhere.
        {{"1@h1", "2@h1", "3"}, 1, "3 apart"},
        {{"1", "2@h1", "3@h1"}, 2, "2 3 apart"},
        // An operator's word goes first, and what is missing is filled up.
        {{"1@h1", "2@h2", "3@h3", "4@h1!"}, 1, "4 host"},
        {{"1@h1", "2@h2", "3@h3!", "4@h4"}, 2, "3 2 apart"},
        {{"1", "2", "3!", "4!"}, 3, "3 4 2 apart"},
    };
    for (const Row& row : rows) {
        std::string who;
        for (const std::string& controller : row.controllers) who += controller + ' ';
        EXPECT_EQ(chosen(row.controllers, row.count), row.expected) << who << "choose " << row.count;
    }
}

TEST(Partners, StayWhenOthersComeAndGo) {
    const std::vector<std::string> all = {"3@h1/s1", "1@h2/s1", "2@h3/s2", "4@h1/s1", "5@h3/s2", "6@h4/s2"};
    for (unsigned count = 1; count <= 3; ++count) {
        const std::string before = chosen(all, count);
        for (std::size_t gone = 1; gone < all.size(); ++gone) {
            if (before.find(all[gone].substr(0, 1) + ' ') != std::string::npos) continue;
            std::vector<std::string> rest = all;
            rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(gone));
            EXPECT_EQ(chosen(rest, count), before) << "without " << all[gone];
        }
    }
}

}  // namespace
}  // namespace braid
