// Two controllers' links on a network in memory, and all that they were told, for the tests of the links and
// of the lease.
#pragma once

#include <gtest/gtest.h>

#include "icl/frame.h"
#include "icl/icl.h"
#include "icl/testing.h"

namespace braid::testing {

inline const Uuid kGroup{{7}};
inline const Uuid kCluster{{9}};

inline Bytes text(std::string_view s) {
    Bytes out;
    Writer(out).raw(std::as_bytes(std::span(s)));
    return out;
}
inline std::string text(std::span<const std::byte> b) {
    return {reinterpret_cast<const char*>(b.data()), b.size()};
}

inline Message note(std::string_view s, std::size_t payload = 0) {
    Message message{kGroup, MessageType::record_begin, text(s), {}};
    if (payload != 0) message.payload = Slice(Buffer::zeroed(payload));
    return message;
}

/// One controller's end: its links and all that they told it.
struct Node final : IclEvents, MessageSink {
    Node(Executor& executor, Clock& clock, Network& network, std::uint16_t number, IclOptions options = {})
        : id(number), icl(executor, clock, network, *this, options) {
        address = *icl.listen("n" + std::to_string(number));
        icl.subscribe(kGroup, *this);
    }
    void on_suspect(ControllerId peer, SuspectReason reason) override {
        (reason == SuspectReason::silent ? silent : broken).push_back(peer.v);
    }
    void on_restored(ControllerId peer) override { restored.push_back(peer.v); }
    void on_newer_epoch(Epoch epoch) override { newer.push_back(epoch.v); }
    void on_heard(ControllerId peer) override { heard.push_back(peer.v); }
    bool condemned(ControllerId peer) const override { return to_fence == peer.v; }
    void deliver(AmfId from, Message message) override {
        got.push_back(std::to_string(from.v) + ":" + text(message.head));
        payloads.push_back(message.payload);
        if (!echo.empty()) icl.send(from, note(std::exchange(echo, "")));
    }
    /// Another AMF of this controller.
    struct Sink final : MessageSink {
        void deliver(AmfId from, Message message) override {
            got.push_back(std::to_string(from.v) + ":" + text(message.head));
        }
        std::vector<std::string> got;
    };
    void start(Incarnation incarnation) { icl.start(kCluster, id, incarnation); }

    ControllerId id;
    std::string address;
    std::vector<unsigned> silent, broken, restored, heard;
    unsigned to_fence = 0;
    std::vector<std::uint64_t> newer;
    std::vector<std::string> got;
    std::vector<Slice> payloads;
    std::string echo;
    Icl icl;
};

struct IclTest : ::testing::Test {
    View view(std::uint64_t epoch, std::vector<std::pair<std::uint16_t, std::uint64_t>> members) {
        View v;
        v.epoch = Epoch(epoch);
        for (const auto& [id, incarnation] : members) {
            v.members.push_back(
                {ControllerId(id), Incarnation(incarnation), "c", "n" + std::to_string(id), {}, {}});
        }
        return v;
    }
    /// Both ends in the view of epoch 2, session up.
    void both_up() {
        a.start(Incarnation(1));
        b.start(Incarnation(2));
        adopt_both(2);
        run();
        ASSERT_TRUE(a.icl.session_up(b.id) && b.icl.session_up(a.id));
    }
    void adopt_both(std::uint64_t epoch) {
        a.icl.adopt(view(epoch, {{1, 1}, {2, 2}}));
        b.icl.adopt(view(epoch, {{1, 1}, {2, 2}}));
    }
    void run(Nanos time = 20ms) { clock.advance(time); }
    void stop(Icl& icl) {
        Scope scope(executor);
        scope.spawn(icl.stop());
        run(2s);
        EXPECT_EQ(scope.running(), 0u);
    }

    Executor executor;
    ManualClock clock{executor};
    MemoryNetwork network{executor};
    Node a{executor, clock, network, 1}, b{executor, clock, network, 2};
};

using Strings = std::vector<std::string>;

/// `then`: said before the silence.
inline Task<void> hello_then_silence(Executor& executor, Network& network, Hello hello, bool& answered,
                                     Event& done, Bytes then = {}) {
    auto stream = co_await network.connect("n2");
    EXPECT_TRUE(stream.has_value());
    Bytes bytes;
    encode_frame(bytes, Epoch(2), {{}, MessageType::hello, encode_hello(hello), {}});
    (void)co_await write_all(executor, **stream, bytes);
    std::array<std::byte, kFrameHeaderSize + kHelloSize> answer;
    answered = (co_await read_exactly(executor, **stream, answer)).has_value();
    if (!then.empty()) (void)co_await write_all(executor, **stream, then);
    co_await done;
}

/// b, and somebody who says hello as the peer with the id 1, and then nothing that the test does not say.
struct IclMuteTest : IclTest {
    IclMuteTest() {
        b.start(Incarnation(2));
        b.icl.adopt(view(2, {{1, 1}, {2, 2}}));
    }
    ~IclMuteTest() override {
        done.set();
        run();
    }
    void dial(Bytes then = {}) {
        const Hello hello{kCluster, ControllerId(1), Incarnation(1), ControllerId(2), Incarnation(2)};
        scope.spawn(hello_then_silence(executor, network, hello, answered, done, std::move(then)));
    }

    Event done{executor};
    bool answered = false;
    Scope scope{executor};
};

}  // namespace braid::testing
