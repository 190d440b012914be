#include "io/pipe.h"

#include <gtest/gtest.h>

#include <optional>

#include "async/scope.h"

namespace braid {
namespace {

std::vector<std::byte> count_up(std::size_t size) {
    std::vector<std::byte> out(size);
    for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>(i * 7 + i / 251);
    return out;
}

Task<void> send(Executor& executor, ByteStream& stream, std::vector<std::byte> data,
                std::optional<Status>& out) {
    const std::span<const std::byte> all(data);
    const std::span<const std::byte> pieces[] = {all.first(1), {}, all.subspan(1)};
    out = co_await write_pieces(executor, stream, pieces);
}

Task<void> receive(Executor& executor, ByteStream& stream, std::vector<std::byte>& into,
                   std::optional<Status>& out) {
    out = co_await read_exactly(executor, stream, into);
}

Task<void> receive_some(Executor& executor, ByteStream& stream, std::span<std::byte> into,
                        std::optional<Result<std::size_t>>& out) {
    out = co_await read_some(executor, stream, into);
}

struct PipeTest : ::testing::Test {
    Executor executor;
    PipeEnds ends = make_pipe("bus", 16);
    Scope scope{executor};
    std::optional<Status> sent, got;
    std::optional<Result<std::size_t>> some;
};

TEST_F(PipeTest, CarriesMoreThanItHoldsInOrderAndBothWays) {
    const auto data = count_up(1000);
    std::vector<std::byte> there(data.size()), back(data.size());
    std::optional<Status> sent2, got2;
    scope.spawn(send(executor, *ends.a, data, sent));
    scope.spawn(send(executor, *ends.b, data, sent2));
    executor.run_until_idle();
    EXPECT_FALSE(sent || sent2) << "a full pipe holds its writer";
    scope.spawn(receive(executor, *ends.b, there, got));
    scope.spawn(receive(executor, *ends.a, back, got2));
    executor.run_until_idle();
    ASSERT_TRUE(sent && sent2 && got && got2);
    EXPECT_TRUE(*sent && *sent2 && *got && *got2);
    EXPECT_TRUE(there == data);
    EXPECT_TRUE(back == data);
}

TEST_F(PipeTest, TheFarEndReadsWhatIsLeftAndThenTheEnd) {
    scope.spawn(send(executor, *ends.a, count_up(10), sent));
    ends.a.reset();
    std::vector<std::byte> into(10), more(1);
    scope.spawn(receive(executor, *ends.b, into, got));
    scope.spawn(receive_some(executor, *ends.b, more, some));
    executor.run_until_idle();
    EXPECT_TRUE(*got);
    EXPECT_TRUE(into == count_up(10));
    ASSERT_TRUE(*some);
    EXPECT_EQ(**some, 0u);
    scope.spawn(send(executor, *ends.b, count_up(10), sent));
    executor.run_until_idle();
    EXPECT_EQ(sent->error().code, Errc::closed);
}

TEST_F(PipeTest, ShutdownEndsTheCallsOfBothEnds) {
    std::vector<std::byte> into(10);
    std::optional<Status> far_sent;
    scope.spawn(receive_some(executor, *ends.a, into, some));
    scope.spawn(send(executor, *ends.a, count_up(100), sent));
    ends.a->shutdown();
    executor.run_until_idle();
    EXPECT_EQ(some->error().code, Errc::closed);
    EXPECT_EQ(sent->error().code, Errc::closed);
    scope.spawn(send(executor, *ends.b, count_up(100), far_sent));
    executor.run_until_idle();
    EXPECT_EQ(far_sent->error().code, Errc::closed);
}

TEST_F(PipeTest, AnAbandonedReadTakesNothing) {
    std::vector<std::byte> into(10);
    {
        Scope passing(executor);
        passing.spawn(receive_some(executor, *ends.b, into, some));
    }
    scope.spawn(send(executor, *ends.a, count_up(10), sent));
    scope.spawn(receive(executor, *ends.b, into, got));
    executor.run_until_idle();
    EXPECT_FALSE(some);
    ASSERT_TRUE(got && *got);
    EXPECT_TRUE(into == count_up(10));
}

TEST_F(PipeTest, AnAbandonedWriteEndsTheStream) {
    {
        Scope passing(executor);
        passing.spawn(send(executor, *ends.a, count_up(100), sent));
    }
    std::vector<std::byte> into(100);
    scope.spawn(receive(executor, *ends.b, into, got));
    executor.run_until_idle();
    EXPECT_EQ(got->error().code, Errc::closed);
}

}  // namespace
}  // namespace braid
