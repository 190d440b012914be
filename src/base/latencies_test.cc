#include "base/latencies.h"

#include <gtest/gtest.h>

namespace braid {
namespace {

TEST(Latencies, SayHowLongMostTook) {
    Latencies l;
    EXPECT_EQ(l.quantile(990), Nanos{0});
    for (int i = 1; i <= 1000; ++i) l.add(i * 10us);
    for (const unsigned per_mille : {10u, 100u, 500u, 990u, 1000u}) {
        const Nanos exact = static_cast<int>(per_mille) * 10us;
        EXPECT_GT(l.quantile(per_mille), exact);
        EXPECT_LE(l.quantile(per_mille), exact + exact / 8 + 1us) << per_mille;
    }
    l.clear();
    l.add(1h);
    EXPECT_EQ(l.quantile(500), Latencies::longest());
}

}  // namespace
}  // namespace braid
