#include "icl/lease.h"

#include "icl/icl_testing.h"

namespace braid {
namespace {

using namespace testing;

TEST_F(IclTest, LeaseIsLiveWhileThePeersAnswerAndNotAfterASleep) {
    a.start(Incarnation(1));
    b.start(Incarnation(2));
    a.icl.adopt(view(1, {{1, 1}}));
    clock.sleep(1h);
    EXPECT_TRUE(a.icl.live()) << "alone";
    adopt_both(2);
    EXPECT_FALSE(a.icl.live()) << "the newcomer has said nothing yet";
    for (int i = 0; i < 100; ++i) {
        run(37ms);
        EXPECT_TRUE(a.icl.live() && b.icl.live());
    }
    adopt_both(3);
    EXPECT_TRUE(a.icl.live()) << "it is the same peer";
    clock.sleep(501ms);
    EXPECT_FALSE(a.icl.live() || b.icl.live());
    run();
    EXPECT_TRUE(a.icl.live() && b.icl.live());
    stop(b.icl);
    EXPECT_FALSE(a.icl.live());
    a.icl.adopt(view(4, {{1, 1}}));
    EXPECT_TRUE(a.icl.live());
}

TEST_F(IclTest, LeaseIsHalfOfThePatienceOfThePeerThatHasLeast) {
    Node c(executor, clock, network, 3, {.ping_timeout = 200ms});
    a.start(Incarnation(1));
    b.start(Incarnation(2));
    c.start(Incarnation(3));
    for (Node* node : {&a, &b, &c}) node->icl.adopt(view(3, {{1, 1}, {2, 2}, {3, 3}}));
    run();
    clock.sleep(70ms);
    EXPECT_TRUE(a.icl.live() && c.icl.live());
    clock.sleep(40ms);
    EXPECT_FALSE(a.icl.live() || b.icl.live());
    EXPECT_TRUE(c.icl.live()) << "the others have more";
}

TEST_F(IclMuteTest, PongOfAPingThatWasNeverSentEndsItsLink) {
    Bytes pong;
    encode_frame(pong, Epoch(2), {{}, MessageType::pong, encode_pong({clock.now() + 1h, 1s}), {}});
    dial(std::move(pong));
    run();
    EXPECT_TRUE(answered);
    EXPECT_FALSE(b.icl.session_up(ControllerId(1)) || b.icl.live());
}

TEST_F(IclTest, PeerThatIsToBeFencedGetsNoAnswerToItsPings) {
    both_up();
    EXPECT_TRUE(a.icl.live());
    b.to_fence = 1;
    run(600ms);
    EXPECT_FALSE(a.icl.live());
    EXPECT_TRUE(b.icl.live()) << "a answers";
    b.to_fence = 0;
    run(300ms);
    EXPECT_TRUE(a.icl.live());
}

TEST_F(IclMuteTest, PeerThatWasSilentAndSpeaksAgainIsSaidToBeHeard) {
    dial();
    run(1300ms);
    EXPECT_EQ(b.silent, std::vector<unsigned>{1});
    EXPECT_TRUE(b.heard.empty());
    Bytes ping;
    encode_frame(ping, Epoch(2), {{}, MessageType::ping, encode_ping({1s}), {}});
    dial(ping);
    run(1ms);
    EXPECT_EQ(b.heard, std::vector<unsigned>{1}) << "once, at its first word";
    run(1300ms);
    EXPECT_EQ(b.silent, (std::vector<unsigned>{1, 1}));
}

// A third controller has joined, a does not know it yet: it is not one of those whose answers a waits for.
TEST_F(IclTest, WhoHearsOfANewerViewHasNoLeaseBeforeItHasAdoptedIt) {
    both_up();
    Node c(executor, clock, network, 3);
    c.start(Incarnation(3));
    const View joined = view(3, {{1, 1}, {2, 2}, {3, 3}});
    b.icl.adopt(joined);
    EXPECT_TRUE(a.icl.live()) << "nobody has told it yet";
    run(251ms);  // b pings
    EXPECT_FALSE(a.icl.live());
    EXPECT_EQ(a.newer.front(), 3u);
    c.icl.adopt(joined);
    a.icl.adopt(joined);
    EXPECT_FALSE(a.icl.live()) << "the newcomer has not answered";
    run();
    EXPECT_TRUE(a.icl.live());
}

TEST_F(IclTest, WordOfANewerViewEndsTheLeaseWhoeverSaysIt) {
    both_up();
    b.icl.send(amf_id(a.id), {{}, MessageType::view_changed, encode_view_changed(Epoch(3)), {}});
    run(1ms);
    EXPECT_FALSE(a.icl.live());
    adopt_both(3);
    EXPECT_TRUE(a.icl.live());
    // A newcomer that only knocks.
    Node c(executor, clock, network, 3);
    c.start(Incarnation(4));
    c.icl.adopt(view(4, {{1, 1}, {2, 2}, {3, 4}}));
    run(1ms);
    EXPECT_FALSE(a.icl.live());
}

}  // namespace
}  // namespace braid
