#include "cluster/transitions.h"

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/prng.h"

namespace braid {
namespace {

ClusterRecord record_of(std::vector<std::string> names) {
    ClusterRecord record;
    record.cluster = Uuid{{1}};
    for (const std::string& name : names) {
        record = successor(record);
        EXPECT_TRUE(add_member(record, name, "127.0.0.1:1", {record.view.epoch.v + 100, 7}, {}));
    }
    return record;
}

bool same(const ClusterRecord& a, const ClusterRecord& b) {
    return a.cluster == b.cluster && a.view.epoch == b.view.epoch && a.view.members == b.view.members &&
           a.view.known == b.view.known;
}

TEST(Transitions, JoinGivesTheNextNumberAndTheEpochAsIncarnation) {
    const ClusterRecord record = record_of({"x", "y"});
    ASSERT_EQ(record.view.members.size(), 2u);
    EXPECT_EQ(record.view.members[1].id, ControllerId(2));
    EXPECT_EQ(record.view.members[1].incarnation, Incarnation(2));
    EXPECT_EQ(record.view.epoch, Epoch(2));
}

TEST(Transitions, NameKeepsItsNumberAcrossItsLives) {
    ClusterRecord record = successor(record_of({"x", "y", "z"}));
    EXPECT_TRUE(remove_member(record, ControllerId(2), Incarnation(2), true));
    EXPECT_EQ(record.view.known[1].left_epoch, 4u);
    EXPECT_TRUE(record.view.known[1].fenced);
    record = successor(record);
    EXPECT_EQ(add_member(record, "y", "a:1", {9, 9}, {}), ControllerId(2));
    EXPECT_EQ(record.view.find(ControllerId(2))->incarnation, Incarnation(5));
    EXPECT_EQ(record.view.known[1], (KnownController{ControllerId(2), "y", 9, 0, false}));
    EXPECT_FALSE(remove_member(record, ControllerId(2), Incarnation(2), true));  // its former life
    EXPECT_EQ(record.view.members.size(), 3u);
}

TEST(Transitions, JoinRefusesWhatCannotBe) {
    ClusterRecord record = successor(record_of({"x"}));
    EXPECT_EQ(add_member(record, "x", "a:1", {1, 1}, {}).error(), Error(Errc::exists, 1));
    EXPECT_EQ(add_member(record, "", "a:1", {1, 1}, {}).error().code, Errc::invalid);
    EXPECT_EQ(add_member(record, std::string(32, 'n'), "a:1", {1, 1}, {}).error().code, Errc::invalid);
    EXPECT_EQ(add_member(record, "n", std::string(256, 'a'), {1, 1}, {}).error().code, Errc::invalid);
    for (std::size_t i = 1; i < kMaxClusterMembers; ++i) {
        EXPECT_TRUE(add_member(record, "n" + std::to_string(i), "a:1", {1, 1}, {}));
    }
    EXPECT_EQ(add_member(record, "more", "a:1", {1, 1}, {}).error().code, Errc::no_space);
}

TEST(Transitions, GroupsAreSortedAndOnlyADifferenceIsAChange) {
    ClusterRecord record = successor(record_of({"x"}));
    EXPECT_TRUE(add_member(record, "y", "a:1", {1, 1}, {{Uuid{{3}}, 1}, {Uuid{{2}}, 2}}));
    const Incarnation since(record.view.epoch.v);
    EXPECT_EQ(record.view.members[1].groups,
              (std::vector<Attachment>{{Uuid{{2}}, since, 2}, {Uuid{{3}}, since, 1}}));
    EXPECT_EQ(set_groups(record, ControllerId(2), {{Uuid{{2}}, 2}, {Uuid{{3}}, 1}}), false);
    EXPECT_EQ(set_groups(record, ControllerId(2), {{Uuid{{2}}, 2}}), true);
    EXPECT_EQ(set_groups(record, ControllerId(9), {{Uuid{{2}}, 2}}), false);
}

TEST(Transitions, AGroupThatIsAttachedAgainIsANewIncarnationAndTheOthersKeepTheirs) {
    ClusterRecord record = successor(record_of({"x"}));
    const ControllerId id(1);
    const Uuid left{{2}}, kept{{3}};
    ASSERT_EQ(set_groups(record, id, {{left, 1}, {kept, 1}}), true);
    const Incarnation first = amf_view(record.view, left, amf_id(id)).members.front().incarnation;
    record = successor(record);
    ASSERT_EQ(set_groups(record, id, {{kept, 1}}), true);
    EXPECT_TRUE(amf_view(record.view, left, amf_id(id)).members.empty());
    record = successor(record);
    ASSERT_EQ(set_groups(record, id, {{left, 1}, {kept, 1}}), true);
    EXPECT_EQ(amf_view(record.view, left, amf_id(id)).members.front().incarnation.v, record.view.epoch.v);
    EXPECT_EQ(amf_view(record.view, kept, amf_id(id)).members.front().incarnation, first);
    EXPECT_LT(record.view.members[0].incarnation, first);
}

TEST(Transitions, AllAmfsOfAControllerComeAndGoTogether) {
    ClusterRecord record = successor(record_of({"x", "y"}));
    const Uuid group{{2}};
    ASSERT_EQ(set_groups(record, ControllerId(1), {{group, 3}}), true);
    ASSERT_EQ(set_groups(record, ControllerId(2), {{group, 2}}), true);
    const Incarnation since(record.view.epoch.v);
    const auto amf = [&](unsigned controller, unsigned index) {
        return AmfMember{amf_id(ControllerId(static_cast<std::uint16_t>(controller)), index), since};
    };
    EXPECT_EQ(amf_view(record.view, group, AmfId(1)).members,
              (std::vector<AmfMember>{amf(1, 0), amf(2, 0), amf(1, 1), amf(2, 1), amf(1, 2)}));
    record = successor(record);
    ASSERT_EQ(set_groups(record, ControllerId(1), {{group, 2}}), true);  // others than those before
    EXPECT_EQ(amf_view(record.view, group, AmfId(1)).members.front().incarnation.v, record.view.epoch.v);
    ASSERT_TRUE(remove_member(record, ControllerId(1), Incarnation(1), true));
    EXPECT_EQ(amf_view(record.view, group, AmfId(2)).members, (std::vector<AmfMember>{amf(2, 0), amf(2, 1)}));
}

TEST(Record, RandomHistoriesSurviveEncoding) {
    Prng prng(5);
    for (int run = 0; run < 20; ++run) {
        ClusterRecord record;
        record.cluster = Uuid{{1}};
        for (int step = 0; step < 60; ++step) {
            record = successor(record);
            const std::string name = "ctl-" + std::to_string(prng.below(12));
            switch (prng.below(3)) {
                case 0:
                    (void)add_member(record, name, "unix:/x", {prng.next(), prng.next()}, {});
                    break;
                case 1:
                    if (record.view.members.empty()) break;
                    {
                        const ViewMember gone = record.view.members[prng.below(record.view.members.size())];
                        EXPECT_TRUE(remove_member(record, gone.id, gone.incarnation, prng.chance(1, 2)));
                    }
                    break;
                default:
                    const auto number = static_cast<std::uint8_t>(1 + step);
                    (void)set_groups(record, ControllerId(1),
                                     {{Uuid{{number}}, static_cast<std::uint8_t>(1 + step % 8)}});
            }
            const auto decoded = decode_record(encode_record(record));
            ASSERT_TRUE(decoded.has_value());
            ASSERT_TRUE(same(*decoded, record));
        }
    }
}

TEST(Record, EveryFlippedBitAndEveryCutIsSeen) {
    Bytes bytes = encode_record(record_of({"x", "y"}));
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        bytes[bit / 8] ^= std::byte{1} << (bit % 8);
        EXPECT_FALSE(decode_record(bytes).has_value()) << bit;
        bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    }
    for (std::size_t size = 1; size < bytes.size(); ++size) {
        EXPECT_FALSE(decode_record(std::span(bytes).first(size)).has_value()) << size;
    }
    EXPECT_TRUE(decode_record({})->cluster.is_nil());
}

TEST(Record, ContradictionsAreRefusedEvenWithARightChecksum) {
    const auto refused = [](auto change) {
        ClusterRecord record = successor(record_of({"x", "y"}));
        EXPECT_TRUE(decode_record(encode_record(record)).has_value());
        change(record);
        const auto decoded = decode_record(encode_record(record));
        return !decoded && decoded.error().code == Errc::corrupt;
    };
    EXPECT_TRUE(refused([](ClusterRecord& r) { std::swap(r.view.members[0], r.view.members[1]); }));
    EXPECT_TRUE(refused([](ClusterRecord& r) { r.view.members[0].incarnation = Incarnation(99); }));
    EXPECT_TRUE(refused([](ClusterRecord& r) { r.view.members[0].name = "other"; }));
    EXPECT_TRUE(refused([](ClusterRecord& r) {
        const Incarnation since(r.view.epoch.v);
        r.view.members[0].groups = {{Uuid{{2}}, since}, {Uuid{{1}}, since}};
    }));
    EXPECT_TRUE(refused(
        [](ClusterRecord& r) { r.view.members[0].groups = {{Uuid{{2}}, Incarnation(r.view.epoch.v + 1)}}; }));
    EXPECT_TRUE(refused([](ClusterRecord& r) { r.view.members[0].groups = {{Uuid{{2}}, Incarnation(0)}}; }));
    for (const std::uint8_t amfs : {std::uint8_t{0}, std::uint8_t{9}}) {
        EXPECT_TRUE(refused([amfs](ClusterRecord& r) {
            r.view.members[0].groups = {{Uuid{{2}}, Incarnation(r.view.epoch.v), amfs}};
        }));
    }
    EXPECT_TRUE(refused([](ClusterRecord& r) {  // no AMF of it could be told from another's
        r.view.members.back().id = r.view.known.back().id = ControllerId(kMaxControllerId + 1);
    }));
    EXPECT_TRUE(refused([](ClusterRecord& r) { r.view.known.pop_back(); }));
    EXPECT_TRUE(refused([](ClusterRecord& r) { r.view.known[0].left_epoch = 1; }));
    EXPECT_TRUE(refused([](ClusterRecord& r) { r.view.members.pop_back(); }));
    EXPECT_TRUE(refused([](ClusterRecord& r) { r.cluster = {}; }));
}

}  // namespace
}  // namespace braid
