#include "io/bus.h"

#include <gtest/gtest.h>

#include <array>

#include "async/scope.h"

namespace braid {
namespace {

Task<void> serve_one(Executor& executor, Listener& listener, std::string& heard) {
    auto stream = co_await listener.accept();
    if (!stream) co_return;
    std::array<std::byte, 5> bytes{};
    if (co_await read_exactly(executor, **stream, bytes)) {
        heard.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
}

Task<void> say(Executor& executor, Bus& bus, std::string address, Result<bool>& said) {
    auto stream = co_await bus.connect(std::move(address));
    if (!stream) {
        said = std::unexpected(stream.error());
        co_return;
    }
    const Status status = co_await write_all(executor, **stream, std::as_bytes(std::span("hello", 5)));
    said = status.has_value();
}

TEST(Bus, JoinsADiallerWithTheListenerOfItsAddress) {
    Executor executor;
    Bus bus(executor);
    auto listener = bus.listen("amf-1");
    ASSERT_TRUE(listener);
    EXPECT_EQ(bus.listen("amf-1").error().code, Errc::exists);
    Scope scope(executor);
    std::string heard;
    Result<bool> said = false;
    scope.spawn(serve_one(executor, **listener, heard));
    scope.spawn(say(executor, bus, "amf-1", said));
    executor.run_until_idle();
    EXPECT_TRUE(said && *said);
    EXPECT_EQ(heard, "hello");
}

TEST(Bus, RefusesWhereNobodyListensAndAfterTheListenerHasClosed) {
    Executor executor;
    Bus bus(executor);
    Scope scope(executor);
    Result<bool> said = false;
    scope.spawn(say(executor, bus, "nobody", said));
    ASSERT_FALSE(said);
    EXPECT_EQ(said.error().code, Errc::refused);
    {
        auto listener = bus.listen("amf-1");
        std::string heard;
        scope.spawn(serve_one(executor, **listener, heard));
    }
    executor.run_until_idle();
    EXPECT_EQ(scope.running(), 0u) << "an accept ends with its listener";
    said = false;
    scope.spawn(say(executor, bus, "amf-1", said));
    ASSERT_FALSE(said);
    EXPECT_EQ(said.error().code, Errc::refused);
}

}  // namespace
}  // namespace braid
