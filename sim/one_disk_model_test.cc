// The one-disk checker against an oracle that tries every order: small histories of one register, drawn by
// chance, legal and illegal ones. The zones must give the same verdict on all of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>

#include "base/prng.h"
#include "sim/checkers/one_disk.h"

namespace braid::sim {
namespace {

struct Op {
    bool write = false;
    std::uint64_t value = 0;
    Instant invoked = 0, completed = kNever;  ///< kNever: a write without an answer
};
using History = std::vector<Op>;

/// Is there an order that respects real time in which every read returns the last write before it? Writes
/// without an answer may be placed anywhere after their invocation, or left out.
bool some_order_exists(const History& history, unsigned placed, std::uint64_t content) {
    Instant earliest_end = kNever;
    bool answered_left = false;
    for (std::size_t i = 0; i < history.size(); ++i) {
        if ((placed >> i & 1) != 0) continue;
        earliest_end = std::min(earliest_end, history[i].completed);
        answered_left |= history[i].completed != kNever;
    }
    if (!answered_left) return true;
    for (std::size_t i = 0; i < history.size(); ++i) {
        const Op& op = history[i];
        if ((placed >> i & 1) != 0 || op.invoked > earliest_end) continue;
        if (!op.write && op.value != content) continue;
        if (some_order_exists(history, placed | 1u << i, op.write ? op.value : content)) return true;
    }
    return false;
}

/// The model is told of everything when it happens.
std::string judge(const History& history) {
    std::multimap<Instant, std::pair<const Op*, bool>> events;  // and whether the operation begins
    for (const Op& op : history) {
        if (op.write) events.emplace(op.invoked, std::pair(&op, true));
        if (op.completed != kNever) events.emplace(op.completed, std::pair(&op, false));
    }
    OneDisk disk;
    for (const auto& [when, event] : events) {
        const auto& [op, begins] = event;
        if (begins) {
            disk.write_begins(1, op->value, op->invoked);
        } else if (op->write) {
            disk.write_done(1, op->value, op->completed);
        } else {
            disk.read(1, op->value, op->invoked, op->completed);
        }
    }
    return disk.judge();
}

std::string print(const History& history) {
    std::string out;
    for (const Op& op : history) {
        out += (op.write ? "write " : "read ") + std::to_string(op.value) + " [" +
               std::to_string(op.invoked) + ", " +
               (op.completed == kNever ? "-" : std::to_string(op.completed)) + "] ";
    }
    return out;
}

/// Up to 7 operations whose ends are all at different instants.
History draw(Prng& prng) {
    History history(2 + prng.below(6));
    std::vector<Instant> instants(2 * history.size());
    for (std::size_t i = 0; i < instants.size(); ++i) instants[i] = static_cast<Instant>(i);
    // Short operations make verdicts depend on order, long ones on overlap: both, by how far ends are moved.
    const std::size_t reach = 1 + prng.below(instants.size());
    for (std::size_t i = 0; i + 1 < instants.size(); ++i) {
        std::swap(instants[i], instants[i + prng.below(std::min(reach, instants.size() - i))]);
    }
    std::uint64_t writes = 0;
    for (std::size_t i = 0; i < history.size(); ++i) {
        Op& op = history[i];
        op.write = prng.chance(1, 2);
        op.invoked = std::min(instants[2 * i], instants[2 * i + 1]);
        op.completed = std::max(instants[2 * i], instants[2 * i + 1]);
        if (op.write) {
            op.value = ++writes;
            if (prng.chance(1, 4)) op.completed = kNever;
        }
    }
    for (Op& op : history) {
        if (!op.write) op.value = prng.below(writes + 1);
    }
    return history;
}

TEST(OneDiskModel, AgreesWithTheSearchOfAllOrders) {
    Prng prng(17);
    std::size_t legal = 0, illegal = 0;
    for (int round = 0; round < 60'000; ++round) {
        const History history = draw(prng);
        const bool right = some_order_exists(history, 0, 0);
        ++(right ? legal : illegal);
        const std::string judged = judge(history);
        ASSERT_EQ(judged.empty(), right) << print(history) << judged;
    }
    EXPECT_GT(legal, 5'000u);
    EXPECT_GT(illegal, 5'000u);
}

/// Equal instants prove no order: whoever records a history numbers its events.
TEST(OneDiskModel, TakesEqualInstantsForConcurrent) {
    EXPECT_EQ(judge({{true, 1, 10, 20}, {false, 0, 20, 30}}), "");
    EXPECT_NE(judge({{true, 1, 10, 20}, {false, 0, 21, 30}}), "");
    const auto read_of_1_begins = [](Instant when) -> History {
        return {{true, 1, 10, 12}, {true, 2, 13, 15}, {false, 1, when, 20}, {false, 2, 17, 18}};
    };
    EXPECT_EQ(judge(read_of_1_begins(15)), "");
    EXPECT_NE(judge(read_of_1_begins(16)), "");
}

}  // namespace
}  // namespace braid::sim
