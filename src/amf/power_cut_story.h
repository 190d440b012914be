// Writes that a power cut may strike at any disk command, and what must be there afterwards. Beside them a
// job may be at work. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <iostream>
#include <memory>

#include "amf/power_cut.h"

namespace braid::testing {

constexpr std::uint32_t kStrip = 4096;

/// At one instant: three writes of 4 KiB on their way, or four.
inline std::size_t most_combinations() { return soaks() ? 65536 : 4096; }

struct HostWrite {
    std::size_t at, size;
};

/// What is at work beside the writes. It is made when all that was there before is on the members, and may
/// come close to the step that is looked at; from go() on power may be lost.
class BesideWrites {
public:
    virtual ~BesideWrites() = default;
    virtual void go() = 0;
    virtual bool ended() const = 0;
    /// Goes on in what was found, that what it has left is looked at as well.
    virtual void again(World& found) const = 0;
    /// Members that are there, and lack something.
    virtual unsigned lacking() const { return 0; }
};

/// What takes minutes is for soaks: BRAID_SOAK=1.
enum class Takes : std::uint8_t { seconds, minutes_if_nested, minutes };

struct Story {
    const char* name;
    WorldOptions options;
    std::vector<HostWrite> writes{};
    bool together = false;  ///< all at once, else one after the other
    bool write_back = false;
    Nanos dirty_age = 20s;  ///< then it goes to the members
    bool nested = false;    ///< in what makes things right, too; short enough for slow builds
    Takes takes = Takes::seconds;
    std::function<std::unique_ptr<BesideWrites>(World&)> beside{};
};

inline void PrintTo(const Story& story, std::ostream* out) { *out << story.name; }

/// Tells what may be read where.
class Expected {
public:
    explicit Expected(const Story& story) : story_(story), area_(2 * (story.options.disks) * kStrip) {
        old_ = pattern(100, area_);
        for (std::size_t i = 0; i < story.writes.size(); ++i)
            contents_.push_back(pattern(i + 1, story.writes[i].size));
    }
    const Buffer& old() const { return old_; }
    const Buffer& content(std::size_t write) const { return contents_[write]; }
    /// `safe`: the writes that no power cut may undo, by bit. Without a journal a block that is being written
    /// may be torn.
    std::string wrong(const Buffer& got, std::uint32_t safe) const {
        if (got.size() != area_) return "not readable";
        const bool journal = story_.options.power_loss == PowerLoss::journal;
        const std::size_t unit = journal ? kBlockSize : kSectorSize;
        for (std::size_t at = 0; at < area_; at += unit) {
            bool may_be_old = true;
            bool fits = false;
            for (std::size_t i = 0; i < contents_.size(); ++i) {
                const HostWrite& write = story_.writes[i];
                if (at < write.at || at >= write.at + write.size) continue;
                if ((safe >> i & 1u) != 0) {
                    may_be_old = false;
                    fits = false;
                }
                fits = fits || std::memcmp(got.data() + at, contents_[i].data() + (at - write.at), unit) == 0;
            }
            fits = fits || (may_be_old && std::memcmp(got.data() + at, old_.data() + at, unit) == 0);
            if (!fits) return "block " + std::to_string(at / kBlockSize) + " is neither old nor new";
        }
        return {};
    }

private:
    const Story& story_;
    std::size_t area_;
    Buffer old_;
    std::vector<Buffer> contents_;
};

struct Count {
    std::size_t cuts = 0, states = 0, distinct = 0, assemblies = 0, resynced = 0, most = 0;
};

/// Looks at a world between its steps.
class Cuts {
public:
    Cuts(const Expected& expected, std::size_t most, Count& count, const BesideWrites* beside = nullptr)
        : expected_(expected), most_(most), count_(count), beside_(beside) {}

    /// All states of a power cut now. `safe` as in Expected; `deep`: power goes again in the assembly.
    void look(const World& world, std::uint32_t safe, bool deep) {
        if (events_ == world.disk_events() && safe_ == safe) return;
        events_ = world.disk_events();
        safe_ = safe;
        ++count_.cuts;
        const PowerCut cut(world);
        count_.most = std::max(count_.most, cut.sectors().size());
        for_each_landing(cut.sectors(), most_, [&](std::span<const Landing> fate) {
            if (::testing::Test::HasFailure()) return;
            ++count_.states;
            const std::vector<Pages> differences = cut.differences(fate);
            if (!seen_.insert(cut.hash(differences) * 31 + safe).second) return;
            ++count_.distinct;
            const std::vector<Pages> disks = cut.disks(differences);
            check(world, disks, safe);
            if (deep) cut_assembly(world, disks, safe);
        });
    }

private:
    void cut_assembly(const World& world, const std::vector<Pages>& disks, std::uint32_t safe) {
        World again(world, disks);
        again.keep_unstable();
        std::optional<Status> started;
        again.nodes[1] = std::make_unique<Node>(again, AmfId(1), Incarnation(again.epoch.v + 1));
        again.adopt();
        again.node(1).scope->spawn(World::keep(again.amf(1).start(), started));
        const std::uint64_t events = std::exchange(events_, 0);
        while (!started && !::testing::Test::HasFailure()) {
            look(again, safe, false);
            if (!again.step()) again.clock.advance(100s);
        }
        events_ = events;
    }

    /// Without each set of members that the level survives.
    void check(const World& world, const std::vector<Pages>& disks, std::uint32_t safe) {
        std::uint32_t dead = 0;
        for (std::size_t i = 0; i < disks.size(); ++i) dead |= world.media[i]->dead ? 1u << i : 0;
        const auto failed =
            static_cast<unsigned>(std::popcount(dead)) + (beside_ != nullptr ? beside_->lacking() : 0);
        const unsigned survived =
            world.options.power_loss == PowerLoss::journal ? world.config.geometry.m - failed : 0;
        for (std::uint32_t missing = 0; missing < 1u << disks.size(); ++missing) {
            const auto lost = static_cast<unsigned>(std::popcount(missing));
            if ((missing & dead) != 0 || lost > survived) continue;
            World found(world, disks);
            for (std::size_t i = 0; i < disks.size(); ++i)
                found.media[i]->dead = ((missing | dead) >> i & 1u) != 0;
            ++count_.assemblies;
            found.start(2);
            EXPECT_EQ(expected_.wrong(found.read(2, 0, expected_.old().size()), safe), "")
                << "without members " << missing << ", safe " << safe;
            if (lost != 0) continue;
            check_parity(found);
            if (beside_ == nullptr) continue;
            beside_->again(found);
            EXPECT_EQ(expected_.wrong(found.read(2, 0, expected_.old().size()), safe), "") << "afterwards";
            check_parity(found);
        }
    }

    /// Without a journal what is wrong is where somebody has said so before, and it can be made right.
    void check_parity(World& found) {
        std::vector<StripeIndex> unclean = found.unclean(2, expected_.old().size());
        std::erase_if(unclean, [&found](StripeIndex stripe) {  // something of them has not been made again
            return (found.amf(2).tables().failed_members() != 0 || found.amf(2).tables().any_missing()) &&
                   *found.run(2, found.amf(2).check_stripe(stripe, false)) == StripeVerdict::incomplete;
        });
        if (unclean.empty()) return;
        ASSERT_EQ(found.options.power_loss, PowerLoss::resync);
        const auto intents = found.run(2, found.amf(2).tables().intents_of(AmfSlot(0)));
        ASSERT_TRUE(intents && std::ranges::count(intents->regions, RegionIndex(0)) == 1);
        for (const StripeIndex stripe : unclean)
            EXPECT_TRUE(found.run(2, found.amf(2).check_stripe(stripe, true)).has_value());
        EXPECT_TRUE(found.unclean(2, expected_.old().size()).empty());
        ++count_.resynced;
    }

    const Expected& expected_;
    std::size_t most_;
    Count& count_;
    const BesideWrites* beside_;
    std::uint64_t events_ = 0;
    std::uint32_t safe_ = 0;
    std::unordered_set<std::uint64_t> seen_;
};

/// Two AMFs; the first writes.
class Writing {
public:
    Writing(const Story& story, const Expected& expected)
        : story_(story), expected_(expected), world(with(story)) {
        world.start(1);
        world.start(2);
        EXPECT_TRUE(world.write(1, 0, expected.old()));
        EXPECT_TRUE(world.run(1, world.amf(1).flush()));
        EXPECT_EQ(world.read(2, 0, expected.old().size()).size(), expected.old().size());  // nothing is dirty
        EXPECT_TRUE(world.run_until([&] { return world.amf(1).journal().entries() == 0; }, 5s));
        world.settle();
        if (story.beside) beside = story.beside(world);
        world.keep_unstable();
        if (beside) beside->go();
        if (story.together) {
            for (std::size_t i = 0; i < story.writes.size(); ++i) world.node(1).scope->spawn(write(*this, i));
        } else {
            world.node(1).scope->spawn(one_by_one(*this));
        }
    }
    bool ended() const {
        return written_ == story_.writes.size() && (safe_at_once() || flushed_) &&
               (!beside || beside->ended());
    }
    /// Which of the writes no power cut may undo.
    std::uint32_t safe() const { return safe_at_once() || flushed_ ? answered_ : 0; }
    std::uint32_t answered() const { return answered_; }

private:
    static WorldOptions with(const Story& story) {
        WorldOptions options = story.options;
        options.strip_size = kStrip;
        options.sharing.write_cache = story.write_back ? WriteCache::back : WriteCache::through;
        options.amf.dirty_age = story.dirty_age;
        return options;
    }
    static Task<void> write(Writing& run, std::size_t i) {
        const Status status =
            co_await run.world.amf(1).write(run.story_.writes[i].at, Slice(run.expected_.content(i)), false);
        EXPECT_TRUE(status.has_value());
        run.answered_ |= 1u << i;
        if (++run.written_ < run.story_.writes.size() || run.safe_at_once()) co_return;
        run.flushed_ = (co_await run.world.amf(1).flush()).has_value();
        EXPECT_TRUE(run.flushed_);
    }
    static Task<void> one_by_one(Writing& run) {
        for (std::size_t i = 0; i < run.story_.writes.size(); ++i) co_await write(run, i);
    }

    bool safe_at_once() const {
        return story_.options.power_loss == PowerLoss::journal && !story_.write_back;
    }

    const Story& story_;
    const Expected& expected_;
    std::uint32_t answered_ = 0;
    std::size_t written_ = 0;
    bool flushed_ = false;

public:
    World world;
    std::unique_ptr<BesideWrites> beside;
};

inline void tell(const Count& count) {
    std::cout << count.cuts << " instants, up to " << count.most << " writes, " << count.states << " states, "
              << count.distinct << " different, " << count.assemblies << " assemblies, " << count.resynced
              << " resyncs\n";
}

#if __has_feature(address_sanitizer)
constexpr bool kSlowBuild = true;
#else
constexpr bool kSlowBuild = false;
#endif

inline bool has_time_for(const Story& story, bool nested) {
    if (soaks()) return true;
    if (nested) return !kSlowBuild && story.takes == Takes::seconds;
    return kSlowBuild ? story.nested : story.takes != Takes::minutes;
}

/// Steps until nothing happens any more.
template <class Look>
void to_the_end(World& world, Look&& look) {
    const Nanos end = world.clock.now() + 300ms;
    do {
        look();
    } while (!::testing::Test::HasFailure() && (world.step() || world.clock.advance(end)));
}

/// Power goes at every instant of it.
inline void cut_everywhere(const Story& story) {
    const Expected expected(story);
    Count count;
    Writing run(story, expected);
    Cuts cuts(expected, most_combinations(), count, run.beside.get());
    to_the_end(run.world, [&] { cuts.look(run.world, run.safe(), false); });
    EXPECT_TRUE(run.ended());
    tell(count);
}

inline WorldOptions options_of(Level level, std::size_t disks, PowerLoss power_loss, bool checksums = false) {
    WorldOptions options{.level = level, .disks = disks};
    options.power_loss = power_loss;
    options.checksums = checksums;
    return options;
}

}  // namespace braid::testing
