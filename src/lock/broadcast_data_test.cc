// Data that comes with the answer to a claim, one message at a time.
#include <map>

#include "lock/broadcast_testing.h"

namespace braid {
namespace {

using namespace testing;

struct BroadcastDataTest : BroadcastTest {
    BroadcastDataTest() {
        take(2, request(read, 11, kRange));
        EXPECT_EQ(out(), (Sends{{id(1), claim(read, 11, 1, kRange)}, {id(3), claim(read, 11, 1, kRange)}}));
    }
    LockFrame granted(std::string_view text) {
        LockFrame frame = grant(read, 11);
        frame.range = kRange;
        return text.empty() ? frame : with_data(frame, text);
    }
};

TEST_F(BroadcastDataTest, TheFirstThatComesIsTaken) {
    take(1, with_data(yield(11, 1), "one."));
    take(3, with_data(yield(11, 1), "two."));
    EXPECT_EQ(out(), (Sends{{id(2), granted("one.")}}));
}

TEST_F(BroadcastDataTest, TheGrantNamesOneThatGoesOnReading) {
    LockFrame answer = yield(11, 1);
    answer.holder = id(3);
    take(3, answer);
    take(1, yield(11, 1));
    LockFrame named = granted("");
    named.holder = id(3);
    EXPECT_EQ(out(), (Sends{{id(2), named}}));
}

TEST_F(BroadcastDataTest, PartOfTheRangeIsNotTaken) {
    take(1, with_data(yield(11, 1), "one"));
    take(3, with_data(yield(11, 1), "two.."));
    EXPECT_EQ(out(), (Sends{{id(2), granted("")}}));
}

TEST_F(BroadcastDataTest, WhoHasWrittenMakesTheDataOfOthersWorthless) {
    take(1, with_data(yield(11, 1), "old."));
    take(3, changed(yield(11, 9)));
    EXPECT_EQ(out(), (Sends{{id(2), granted("")}}));
}

TEST_F(BroadcastDataTest, AlsoIfItComesLater) {
    take(3, changed(with_data(yield(11, 9), "new.")));
    take(1, with_data(yield(11, 1), "old."));
    EXPECT_EQ(out(), (Sends{{id(2), granted("new.")}}));
}

TEST_F(BroadcastDataTest, OfTwoThatHaveWrittenNobodyKnowsWhoWasTheLast) {
    take(1, changed(with_data(yield(11, 1), "old.")));
    take(3, changed(with_data(yield(11, 9), "new.")));
    EXPECT_EQ(out(), (Sends{{id(2), granted("")}}));
}

TEST_F(BroadcastTest, OnlyReadersAreTold) {
    hold(write, 11, 1);
    take(1, claim(write, 21, 1));
    take(2, released(11));
    take(3, claim(read, 31, 1));
    out();
    take(1, claim(read, 22, 1, kRange));
    EXPECT_EQ(out(), (Sends{{id(1), changed(yield(22, 2, kRange))}}));
    take(1, claim(read, 23, 2, kRange));
    EXPECT_EQ(out(), (Sends{{id(1), yield(23, 2, kRange)}})) << "made when that was over";
}

/// 1 has a copy, 2 wants to read, 3 to write: 2 has let 3 before it asked, and 1 hears of 2 first.
TEST(Broadcast, AWriterInBetweenIsNoticed) {
    std::map<unsigned, Broadcast> machines;
    for (unsigned i = 1; i <= 3; ++i) {
        machines[i].adopt(view_of(1, i, 3));
        machines[i].report(id(i), {});
    }
    const auto sent = [&](unsigned from, unsigned to) {
        Sends& out = machines[from].outbox();
        const auto place = std::ranges::find(out, id(to), &LockSend::to);
        if (place == out.end()) return LockFrame{};
        LockFrame frame = place->frame;
        out.erase(place);
        return frame;
    };
    machines[3].take(id(3), request(write, 31));
    const LockFrame to_write_1 = sent(3, 1);
    machines[2].take(id(3), sent(3, 2));
    machines[2].take(id(2), request(read, 21, kRange));
    machines[1].take(id(2), sent(2, 1));
    const LockFrame old = with_data(sent(1, 2), "old.");
    machines[1].take(id(3), to_write_1);
    machines[3].take(id(2), sent(2, 3));
    machines[3].take(id(1), sent(1, 3));
    ASSERT_EQ(sent(3, 3), grant(write, 31));
    machines[3].take(id(3), released(31));  // it is not asked: it has too many
    machines[3].take(id(2), sent(2, 3));
    machines[2].take(id(1), old);
    machines[2].take(id(3), sent(3, 2));
    const LockFrame granted = sent(2, 2);
    EXPECT_EQ(granted.ticket, 21u);
    EXPECT_TRUE(granted.data.bytes.empty());
}

}  // namespace
}  // namespace braid
