// From a seed to a cluster and its faults.
#include <array>
#include <bit>
#include <type_traits>

#include "sim/cluster.h"

namespace braid::sim {

static void set_write_back(Plan& plan, bool back);
static void draw_spare(Plan& plan, unsigned parity);
static void draw_additions(Plan& plan);
static void draw_scrubs(Plan& plan);
static void draw_extent_trims(Plan& plan);
static void draw_shapes(Plan& plan);
static void draw_reshapes(Plan& plan);
static void draw_returns(Plan& plan);
static void draw_pace(Plan& plan);
static void draw_limping(Plan& plan);
static void draw_holes(Plan& plan);
static void draw_replications(Plan& plan);
constexpr std::uint32_t kMostRows = 2100;  ///< of an extent, where segments move

Plan draw_plan(std::uint64_t seed) {
    Prng prng(mix64(seed) ^ 0xb7a1dull);
    Plan plan;
    plan.seed = seed;
    plan.controllers = 2 + prng.below(prng.chance(1, 4) ? 7 : 3);
    plan.disks = 3 + prng.below(prng.chance(1, 3) ? 10 : 5);
    std::vector<std::pair<std::string, unsigned>> levels = {{"raid5", 1}, {"mirror", 1}};
    if (plan.disks >= 4) levels.push_back({"raid6", 2});
    if (plan.disks >= 4) levels.push_back({"raid6", 2});
    if (plan.disks >= 5) levels.push_back({"raid7.3", 3});
    auto [level, parity] = levels[prng.below(levels.size())];
    plan.level = level;
    if (level == "mirror") {
        plan.copies = static_cast<unsigned>(2 + prng.below(2));
        parity = plan.copies - 1;
    }
    plan.strip_size = 4096ull << prng.below(6);
    Granularity& locks = plan.sharing.granularity;
    locks.stripes = prng.chance(1, 3) ? 1 + static_cast<std::uint32_t>(prng.below(20)) : 1;
    plan.dimension = static_cast<unsigned>(1 + prng.below(std::min<std::size_t>(plan.controllers, 4)));
    if (plan.dimension == 1 && prng.chance(2, 3)) plan.dimension = 2;
    plan.hosts = 2 + prng.below(7);
    plan.ping_timeout = Nanos(static_cast<std::int64_t>((200 + prng.below(800)) * 1'000'000));
    plan.faults_for = Nanos(static_cast<std::int64_t>((1000 + prng.below(2500)) * 1'000'000));
    plan.fault_pause = Nanos(static_cast<std::int64_t>((15 + prng.below(250)) * 1'000'000));
    plan.crashes = prng.chance(4, 5);
    plan.pauses = prng.chance(1, 2);
    plan.cuts = prng.chance(1, 2);
    plan.resets = prng.chance(2, 3);
    plan.slow_disks = prng.chance(1, 2);
    plan.spikes = prng.chance(1, 3);
    plan.path_losses = prng.chance(1, 2);
    plan.operators = prng.chance(2, 3);
    plan.work = draw_workload(prng);
    const std::uint64_t kind = prng.below(10);
    if (kind >= 4) {
        plan.rounds = static_cast<unsigned>(3 + prng.below(8));
        plan.last_deaths = 1;
        if (kind >= 8) {
            plan.power_cuts = true;
            plan.operators = false;
        } else if (kind == 7) {
            if (plan.controllers > plan.dimension) plan.last_deaths = plan.dimension;
        } else if (plan.dimension >= 3) {
            plan.last_deaths =
                static_cast<unsigned>(prng.chance(2, 3) ? 2 : 1 + prng.below(plan.dimension - 1));
        }
        plan.work.hot = prng.chance(3, 4);
        plan.pauses = plan.cuts = plan.path_losses = false;
    }
    if (prng.chance(1, 3)) plan.outliers = static_cast<unsigned>(100 + prng.below(3000));
    if (prng.chance(1, 2)) plan.intent_idle = 30ms;
    if (prng.chance(1, 2)) plan.operator_pause = 20ms;
    plan.drain_max = prng.chance(1, 2) ? 20ms : 150ms;
    plan.think_max = prng.chance(1, 2) ? 2ms : 300us;
    // Without copies at partners a crash leaves parity to the resync, which a missing member makes
    // impossible; the same when all controllers die at once. docs/fault-model.md says so.
    const bool copied = plan.dimension >= 2 && plan.last_deaths < plan.dimension;
    const bool covered = copied && !plan.power_cuts;
    plan.cluster_kill = plan.rounds == 0 && prng.chance(1, 6);
    // Who loses its paths may still have said on one disk that another member has failed.
    if (plan.cluster_kill || plan.dimension < 2) plan.path_losses = false;
    if (covered && !plan.cluster_kill && prng.chance(1, 2)) {
        plan.disk_faults = static_cast<unsigned>(1 + prng.below(parity));
        plan.latent_errors = plan.disk_faults < parity && prng.chance(1, 2);
    }
    plan.stalls = plan.outliers != 0 && plan.rounds == 0 && prng.chance(1, 2);
    plan.clocks = prng.chance(1, 2);
    plan.stores = prng.chance(1, 3);
    plan.half_open = plan.rounds == 0 && prng.chance(1, 3);
    plan.suspends = plan.rounds == 0 && prng.chance(1, 4);
    if (prng.chance(1, 2)) plan.stream_window = prng.chance(1, 2) ? 64u << 10 : 256u << 10;
    plan.rot = plan.disks >= plan.disk_faults + 2 && prng.chance(1, 2);
    plan.swaps = plan.disk_faults != 0 && prng.chance(2, 3);
    if (prng.chance(1, 3)) plan.sharing.coherency = Coherency::broadcast;
    if (prng.chance(1, 3)) plan.sharing.lock_order = LockOrder::priority;
    if (prng.chance(1, 4)) plan.sharing.min_hold = 1us * prng.between(50, 3000);
    if (prng.chance(1, 3)) plan.sharing.prefetch = static_cast<std::uint8_t>(prng.below(kMaxPrefetch + 1));
    if (!prng.chance(1, 6)) {
        const std::array<std::uint64_t, 4> blocks = {1 + prng.below(4), 10 + prng.below(30), 100, 1000};
        plan.cache = blocks[prng.below(4)] * kBlockSize;
    }
    // From a source of its own: what else a seed draws stays as it is.
    Prng more(mix64(seed) ^ 0xa3f5ull);
    if (more.chance(1, 3)) {
        const std::uint64_t most = std::min<std::uint64_t>(3, kMaxGroupAmfs / plan.controllers);
        plan.sharing.amfs = static_cast<std::uint8_t>(1 + more.below(most));
        plan.slow_sides = more.chance(3, 4);
    }
    Prng safety(mix64(seed) ^ 0x6a0full);
    if (safety.chance(1, 2)) {
        plan.power_loss = PowerLoss::journal;
        // A journal needs no member to make the others fit: some may be missing when power returns, but not
        // so many that they may have gone on alone. Nobody replays that of one who has died alone.
        const std::size_t most = std::min<std::size_t>(parity, plan.disks - parity - 1);
        if (plan.power_cuts || (plan.cluster_kill && copied))
            plan.disk_faults = static_cast<unsigned>(safety.below(most + 1));
    }
    Prng sets(mix64(seed) ^ 0x5e75ull);
    plan.set_sharing = plan.operators && sets.chance(1, 2);
    Prng fine(mix64(seed) ^ 0xf12eull);
    if (fine.chance(1, 3)) {
        const auto most = static_cast<unsigned>(std::bit_width(plan.strip_size / kBlockSize));
        locks = {.stripes = 1, .blocks = static_cast<std::uint16_t>(1u << fine.below(most))};
    }
    Prng outside(mix64(seed) ^ 0xf0e1ull);
    if (outside.chance(1, 4)) plan.outside = outside.chance(1, 4) ? 2 : 1;
    Prng back(mix64(seed) ^ 0xd1e7ull);
    if (back.chance(1, 3)) set_write_back(plan, true);
    plan.dirty = kBlockSize << back.below(10);
    plan.dirty_age = 1us * back.between(1000, 400'000);
    Prng sums(mix64(seed) ^ 0xc5c5ull);
    plan.checksums = sums.chance(1, 2);
    if (sums.chance(1, 3)) plan.checksum_cache = (1 + sums.below(20)) * 4 * kBlockSize;
    Prng modes(mix64(seed) ^ 0x30de5ull);
    const auto mode = static_cast<Replication>(modes.below(3));
    const bool go_on = modes.chance(1, 3);
    plan.window = kBlockSize << modes.below(11);
    plan.window_age = 1us * modes.between(100, 300'000);
    for (std::size_t i = 0; i < plan.controllers && modes.chance(3, 4); ++i) {
        plan.hosts_of.push_back("h" + std::to_string(modes.below(3)));
        plan.sites_of.push_back("s" + std::to_string(modes.below(2)));
    }
    if (plan.sharing.write_cache == WriteCache::back) {
        plan.sharing.replication = mode;
        plan.sharing.few_partners = go_on ? FewPartners::go_on : FewPartners::write_through;
    }
    // A member that lies counts among those that may fail. Without a journal, or with fewer partners than
    // there ought to be, what a dead controller was at is taken as found.
    const bool told = plan.power_loss == PowerLoss::journal && plan.dimension >= 2 &&
                      plan.last_deaths < plan.dimension && !plan.power_cuts &&
                      plan.sharing.few_partners != FewPartners::go_on;
    plan.lies = sums.chance(2, 3) && plan.checksums && told &&
                plan.disk_faults + (plan.latent_errors ? 1 : 0) < parity;
    draw_spare(plan, parity);
    draw_extent_trims(plan);
    draw_additions(plan);
    Prng along(mix64(seed) ^ 0xa109ull);
    if (along.chance(1, 4)) plan.passed = along.chance(1, 2) ? 0 : 2 * kBlockSize;
    draw_scrubs(plan);
    draw_shapes(plan);
    draw_reshapes(plan);
    draw_returns(plan);
    Prng paths(mix64(seed) ^ 0x9a78ull);
    plan.single_paths = plan.path_losses && paths.chance(1, 2);
    draw_pace(plan);
    draw_limping(plan);
    draw_replications(plan);
    draw_holes(plan);
    return plan;
}

/// All rows of what has been written are copied, under all locks of an extent at the end.
void draw_reshapes(Plan& plan) {
    Prng reshapes(mix64(plan.seed) ^ 0x4e54a9eull);
    const bool wanted = reshapes.chance(1, 2);
    const auto times = static_cast<unsigned>(1 + reshapes.below(2));
    const std::uint64_t blocks = plan.sharing.granularity.blocks;
    const bool few_locks = blocks == 0 || kExtentSize / kBlockSize / blocks <= 2 * kMostRows;
    if (!wanted || !plan.operators || plan.mixed || !few_locks || (plan.checksums && blocks != 0)) return;
    const Geometry geometry = geometry_of(plan);
    if (plan.level == "mirror" || geometry.rows_per_extent() > kMostRows) return;
    if (geometry.width() < plan.disks + plan.extra_disks) plan.reshapes = times;
}

/// Who gives an extent another shape takes all its locks. Where readers of checksums are told from those of
/// data by their place in a segment all segments are alike.
void draw_shapes(Plan& plan) {
    Prng shapes(mix64(plan.seed) ^ 0x54a9eull);
    const bool wanted = shapes.chance(1, 2);
    const Nanos pause = 1us * shapes.between(5'000, 200'000);
    const std::uint64_t blocks = plan.sharing.granularity.blocks;
    const bool few_locks = blocks == 0 || kExtentSize / kBlockSize / blocks <= 2 * kMostRows;
    if (!wanted || !few_locks || (plan.checksums && blocks != 0)) return;
    if (geometry_of(plan).rows_per_extent() > kMostRows) return;
    plan.mixed = true;
    plan.shape_pause = pause;
    // Only extents that have been trimmed get another one.
    if (plan.work.trim_pause == Nanos(0) && shapes.chance(2, 3)) plan.work.trim_pause = 2 * pause;
}

/// Background work that gives way to hosts; fast enough to come to its end in any case.
void draw_pace(Plan& plan) {
    Prng pace(mix64(plan.seed) ^ 0x9ace5ull);
    const bool wanted = pace.chance(1, 3);
    const Nanos bound = 1us * pace.between(100, 20'000);
    const std::uint64_t least = (32ull + pace.below(256)) << 20;
    if (!wanted) return;
    plan.host_p99 = bound;
    plan.background_min = least;
}

/// So small that a member that is slow for a moment limps, and some that only seem so.
void draw_limping(Plan& plan) {
    Prng limps(mix64(plan.seed) ^ 0x11a9ull);
    const bool wanted = limps.chance(2, 3);
    const LimpOptions small{1us * limps.between(2'000, 60'000), limps.between(1, 20),
                            1us * limps.between(100, 2'000), 1us * limps.between(2'000, 200'000)};
    if (wanted) plan.limping = small;
}

/// Which hosts were answered before their copies stood is not told apart.
void draw_replications(Plan& plan) {
    Prng sets(mix64(plan.seed) ^ 0x4e91ull);
    const bool wanted = sets.chance(1, 2);
    const bool choice = plan.sharing.write_cache == WriteCache::back && plan.dimension > 1;
    plan.set_replication = wanted && choice && plan.set_sharing;
}

/// Of extents that are trimmed.
void draw_holes(Plan& plan) {
    Prng holes(mix64(plan.seed) ^ 0x401e5ull);
    plan.work.trims_spread = holes.chance(1, 2);
    plan.work.maps = holes.chance(2, 3);
}

/// A scrub goes over all rows of what has been written, and takes as many events.
void draw_scrubs(Plan& plan) {
    Prng scrubs(mix64(plan.seed) ^ 0x5c12bull);
    const bool by_itself = scrubs.chance(1, 2);
    const auto every = static_cast<std::uint32_t>(1 + scrubs.below(3));
    if (by_itself && geometry_of(plan).rows_per_extent() <= kMostRows) plan.scrub_every = every;
    plan.sets_jobs = scrubs.chance(1, 2) && plan.operators;
}

/// Who trims an extent takes all its locks.
void draw_extent_trims(Plan& plan) {
    Prng trims(mix64(plan.seed) ^ 0x7219ull);
    const bool wanted = trims.chance(1, 3);
    const Nanos pause = 1us * trims.between(3'000, 400'000);
    const std::uint64_t blocks = plan.sharing.granularity.blocks;
    const bool few_locks = blocks == 0 || kExtentSize / kBlockSize / blocks <= 2 * kMostRows;
    if (wanted && few_locks && geometry_of(plan).rows_per_extent() <= kMostRows) plan.work.trim_pause = pause;
}

/// Groups with more members than a stripe is wide, and room to make again what those that fail have held.
void draw_spare(Plan& plan, unsigned parity) {
    Prng spare(mix64(plan.seed) ^ 0x59a3eull);
    const bool narrow = spare.chance(1, 2);
    const auto width = static_cast<unsigned>(parity + 2 + spare.below(std::max<std::size_t>(plan.disks, 5)));
    const Nanos delay = 1us * spare.between(100, 300'000);
    const bool wanted = spare.chance(3, 4);
    const auto further = static_cast<unsigned>(spare.below(3));
    const auto removals = static_cast<unsigned>(spare.below(3));
    if (plan.level != "mirror" && narrow && width < plan.disks) plan.width = width;
    // A rebuild goes over all rows of what has been written, and takes as many events.
    const Geometry geometry = geometry_of(plan);
    const bool few_rows = geometry.rows_per_extent() <= kMostRows;
    if (!wanted || !few_rows || geometry.width() == plan.disks) return;
    plan.spare = 3;
    plan.spare_delay = delay;
    if (plan.disk_faults != 0 && !plan.power_cuts && !plan.cluster_kill) plan.further_disk_faults = further;
    // So many are left that those which are missing when power returns cannot have gone on alone.
    const std::size_t busy = parity + 2u + plan.disk_faults + plan.further_disk_faults;
    plan.removals =
        static_cast<unsigned>(std::min<std::size_t>(removals, plan.disks - std::min(plan.disks, busy)));
}

/// What stands on a member that another one replaces moves, row by row.
void draw_additions(Plan& plan) {
    Prng more(mix64(plan.seed) ^ 0xd15cull);
    const bool wanted = more.chance(1, 2);
    const std::size_t disks = 1 + more.below(3);
    const auto additions = static_cast<unsigned>(1 + more.below(4));
    if (!plan.operators || !wanted || geometry_of(plan).rows_per_extent() > kMostRows) return;
    plan.extra_disks = std::min(disks, kMaxMembers - plan.disks);
    plan.additions = additions;
    if (plan.spare_delay == Nanos(1h)) plan.spare_delay = 20ms;
}

/// Of a zone that came meanwhile all rows are copied.
void draw_returns(Plan& plan) {
    Prng returns(mix64(plan.seed) ^ 0x4e7042ull);
    const bool wanted = returns.chance(2, 3);
    plan.returns = plan.operators && wanted && geometry_of(plan).rows_per_extent() <= kMostRows;
}

void set_write_back(Plan& plan, bool back) {
    plan.sharing.write_cache = back ? WriteCache::back : WriteCache::through;
    if (!back) plan.sharing.replication = Replication::synchronous;
    if (!back) plan.sharing.few_partners = FewPartners::write_through;
    // As many deaths as there are copies take what hosts were answered for.
    if (back && plan.dimension > 1 && plan.last_deaths >= plan.dimension)
        plan.last_deaths = plan.dimension - 1;
}

/// What is not as it always was.
static std::string describe(const SharingOptions& sharing) {
    const SharingOptions usual;
    std::string out;
    const auto add = [&](std::string_view name, auto value, auto usual_value) {
        if (value == usual_value) return;
        out += "; " + std::string(name) + ' ' + std::to_string(static_cast<std::uint64_t>(value));
    };
    if (sharing.coherency != usual.coherency) out += "; " + std::string(to_string(sharing.coherency));
    if (sharing.lock_order != usual.lock_order) out += "; " + std::string(to_string(sharing.lock_order));
    add("min hold us", sharing.min_hold / 1us, usual.min_hold / 1us);
    add("prefetch", sharing.prefetch, usual.prefetch);
    add("amfs", sharing.amfs, usual.amfs);
    if (sharing.write_cache != usual.write_cache) out += "; " + std::string(to_string(sharing.write_cache));
    if (sharing.replication != usual.replication) out += ", " + std::string(to_string(sharing.replication));
    if (sharing.few_partners != usual.few_partners) out += ", goes on with few partners";
    return out;
}

std::string describe(const Plan& plan) {
    std::string out = "seed " + std::to_string(plan.seed) + ": " + std::to_string(plan.controllers) +
                      " controllers, " + std::to_string(plan.disks) + " disks, " + plan.level;
    if (plan.copies != 0) out += " x" + std::to_string(plan.copies);
    if (plan.width != 0) out += " of width " + std::to_string(plan.width);
    out += ", strip " + std::to_string(plan.strip_size / 1024) + "K, locks of " +
           to_string(plan.sharing.granularity) + ", dimension " + std::to_string(plan.dimension) + ", " +
           std::to_string(plan.hosts) + " hosts; faults:";
    if (plan.crashes) out += " crash";
    if (plan.pauses) out += " pause";
    if (plan.cuts) out += " cut";
    if (plan.resets) out += " reset";
    if (plan.slow_disks) out += " slow-disk";
    if (plan.path_losses) out += plan.single_paths ? " paths path" : " paths";
    if (plan.power_cuts) {
        out += " power-cut";
    } else if (plan.last_deaths != 0) {
        out += " deaths x" + std::to_string(plan.last_deaths);
    }
    if (plan.rounds != 0) out += " in " + std::to_string(plan.rounds) + " rounds";
    if (plan.outliers != 0) out += " outliers";
    if (plan.spikes) out += " spike";
    if (plan.operators) out += plan.set_sharing ? " operator-sets" : " operator";
    if (plan.set_replication) out += " modes";
    if (plan.sets_jobs) out += " jobs";
    if (plan.scrub_every != 0) out += " scrubs";
    if (plan.disk_faults != 0) out += " disk x" + std::to_string(plan.disk_faults);
    if (plan.further_disk_faults != 0) out += " and x" + std::to_string(plan.further_disk_faults);
    if (plan.spare != 0) out += " rebuilt";
    if (plan.additions != 0) out += " added x" + std::to_string(plan.additions);
    if (plan.removals != 0) out += " removed x" + std::to_string(plan.removals);
    if (plan.returns) out += " taken back";
    if (plan.latent_errors) out += " latent";
    if (plan.stalls) out += " stalls";
    if (plan.clocks) out += " clocks";
    if (plan.stores) out += " store";
    if (plan.half_open) out += " half-open";
    if (plan.suspends) out += " suspend";
    if (plan.rot) out += " rot";
    if (plan.swaps) out += " swap";
    if (plan.lies) out += " lies";
    if (plan.cluster_kill) out += " all-die";
    if (plan.outside != 0) out += "; outside " + std::to_string(plan.outside);
    if (plan.cache != 0) out += "; cache " + std::to_string(plan.cache / kBlockSize) + " blocks";
    if (plan.power_loss == PowerLoss::journal) out += "; journal";
    if (plan.checksums) out += "; checksums";
    if (plan.mixed) out += "; mixed shapes";
    if (plan.reshapes != 0) out += "; reshapes " + std::to_string(plan.reshapes);
    if (plan.host_p99 != Nanos{0}) out += "; paced";
    if (plan.limping != LimpOptions{}) out += "; reads around";
    out += describe(plan.sharing);
    out += "; hosts:" + describe(plan.work);
    return out;
}

namespace {

template <auto field>
constexpr Setting setting(std::string_view name, std::uint64_t least) {
    using Value = std::remove_cvref_t<decltype(field(std::declval<Plan&>()))>;
    if constexpr (std::is_same_v<Value, Nanos>) {
        return {
            name, least, [](const Plan& plan) { return micros(field(plan)); },
            [](Plan& plan, std::uint64_t us) { field(plan) = Nanos(static_cast<std::int64_t>(us) * 1000); }};
    } else {
        return {name, least, [](const Plan& plan) { return static_cast<std::uint64_t>(field(plan)); },
                [](Plan& plan, std::uint64_t value) { field(plan) = static_cast<Value>(value); }};
    }
}

constexpr Setting kWriteBack{
    "write_back", 0,
    [](const Plan& plan) -> std::uint64_t { return plan.sharing.write_cache == WriteCache::back ? 1 : 0; },
    [](Plan& plan, std::uint64_t value) { set_write_back(plan, value != 0); }};

constexpr Setting kReplication{
    "replication", 0, [](const Plan& plan) { return static_cast<std::uint64_t>(plan.sharing.replication); },
    [](Plan& plan, std::uint64_t value) {
        if (plan.sharing.write_cache == WriteCache::back)
            plan.sharing.replication = static_cast<Replication>(value);
    }};

/// Room to make again what a failed member held, where there is none yet as well, if there are members.
constexpr Setting kSpare{"spare", 0, [](const Plan& plan) { return plan.spare; },
                         [](Plan& plan, std::uint64_t value) {
                             const unsigned narrow = geometry_of(plan).m + 2u;
                             plan.spare = value;
                             plan.spare_delay = value == 0 ? Nanos(1h) : Nanos(20ms);
                             if (value != 0 && plan.level != "mirror" && narrow < plan.disks)
                                 plan.width = narrow;
                         }};

constexpr std::array kSettings{
    kWriteBack,
    kSpare,
    kReplication,
    setting<[](auto& p) -> auto& { return p.sharing.few_partners; }  // namespace
            >("few_partners", 0),
    setting<[](auto& p) -> auto& { return p.window; }>("window", 0),
    setting<[](auto& p) -> auto& { return p.window_age; }>("window_age", 0),
    setting<[](auto& p) -> auto& { return p.dirty; }>("dirty", 4096),
    setting<[](auto& p) -> auto& { return p.dirty_age; }>("dirty_age", 1000),
    setting<[](auto& p) -> auto& { return p.passed; }>("passed", 0),
    setting<[](auto& p) -> auto& { return p.operators; }>("operators", 0),
    setting<[](auto& p) -> auto& { return p.set_sharing; }>("set_sharing", 0),
    setting<[](auto& p) -> auto& { return p.set_replication; }>("set_replication", 0),
    setting<[](auto& p) -> auto& { return p.outliers; }>("outliers", 0),
    setting<[](auto& p) -> auto& { return p.stalls; }>("stalls", 0),
    setting<[](auto& p) -> auto& { return p.clocks; }>("clocks", 0),
    setting<[](auto& p) -> auto& { return p.rounds; }>("rounds", 1),
    setting<[](auto& p) -> auto& { return p.hosts; }>("hosts", 1),
    setting<[](auto& p) -> auto& { return p.work.depth; }>("depth", 1),
    setting<[](auto& p) -> auto& { return p.faults_for; }>("faults_for", 1000),
    setting<[](auto& p) -> auto& { return p.work.timeout; }>("timeout", 0),
    setting<[](auto& p) -> auto& { return p.work.leaves_of_1000; }>("leaves", 0),
    setting<[](auto& p) -> auto& { return p.work.streams_of_100; }>("streams", 0),
    setting<[](auto& p) -> auto& { return p.work.huge; }>("huge", 0),
    setting<[](auto& p) -> auto& { return p.work.hot; }>("hot", 0),
    setting<[](auto& p) -> auto& { return p.work.trim_pause; }>("trim_pause", 0),
    setting<[](auto& p) -> auto& { return p.work.trims_spread; }>("trims_spread", 0),
    setting<[](auto& p) -> auto& { return p.work.maps; }>("maps", 0),
    setting<[](auto& p) -> auto& { return p.sharing.granularity.stripes; }>("lock_stripes", 1),
    setting<[](auto& p) -> auto& { return p.sharing.granularity.blocks; }>("lock_blocks", 0),
    setting<[](auto& p) -> auto& { return p.cache; }>("cache", 0),
    setting<[](auto& p) -> auto& { return p.power_loss; }>("power_loss", 0),
    setting<[](auto& p) -> auto& { return p.sharing.coherency; }>("coherency", 0),
    setting<[](auto& p) -> auto& { return p.sharing.lock_order; }>("lock_order", 0),
    setting<[](auto& p) -> auto& { return p.sharing.min_hold; }>("min_hold", 0),
    setting<[](auto& p) -> auto& { return p.sharing.prefetch; }>("prefetch", 0),
    setting<[](auto& p) -> auto& { return p.sharing.amfs; }>("amfs", 1),
    setting<[](auto& p) -> auto& { return p.slow_sides; }>("slow_sides", 0),
    setting<[](auto& p) -> auto& { return p.checksums; }>("checksums", 0),
    setting<[](auto& p) -> auto& { return p.checksum_cache; }>("checksum_cache", 4096),
    setting<[](auto& p) -> auto& { return p.lies; }>("lies", 0),
    setting<[](auto& p) -> auto& { return p.drain_max; }>("drain_max", 1000),
    setting<[](auto& p) -> auto& { return p.controllers; }>("controllers", 2),
    setting<[](auto& p) -> auto& { return p.outside; }>("outside", 0),
    setting<[](auto& p) -> auto& { return p.path_losses; }>("path_losses", 0),
    setting<[](auto& p) -> auto& { return p.single_paths; }>("single_paths", 0),
    setting<[](auto& p) -> auto& { return p.disk_faults; }>("disk_faults", 0),
    setting<[](auto& p) -> auto& { return p.further_disk_faults; }>("further_disk_faults", 0),
    setting<[](auto& p) -> auto& { return p.removals; }>("removals", 0),
    setting<[](auto& p) -> auto& { return p.returns; }>("returns", 0),
    setting<[](auto& p) -> auto& { return p.scrub_every; }>("scrub_every", 0),
    setting<[](auto& p) -> auto& { return p.sets_jobs; }>("sets_jobs", 0),
    setting<[](auto& p) -> auto& { return p.mixed; }>("mixed", 0),
    setting<[](auto& p) -> auto& { return p.reshapes; }>("reshapes", 0),
    setting<[](auto& p) -> auto& { return p.shape_pause; }>("shape_pause", 1000),
    setting<[](auto& p) -> auto& { return p.host_p99; }>("host_p99", 0),
    setting<[](auto& p) -> auto& { return p.limping.window; }>("slow_window", 5'000'000),
    setting<[](auto& p) -> auto& { return p.background_min; }>("background_min", 1u << 20),
    setting<[](auto& p) -> auto& { return p.spare_delay; }>("spare_delay", 3'600'000'000),
    setting<[](auto& p) -> auto& { return p.unnoticed_swaps; }>("unnoticed_swaps", 0),
};

}  // namespace

std::span<const Setting> settings() { return kSettings; }

Outcome run_plan(const Plan& plan, bool trace, FaultSeen seen) {
    const std::size_t memory = Buffer::bytes_in_use();
    Outcome out;
    {
        World world(mix64(plan.seed));
        world.trace = trace;
        world.knobs.drain_max = plan.drain_max;
        world.knobs.outliers = plan.outliers;
        world.knobs.stream_window = plan.stream_window;
        world.knobs.volatile_cache = plan.power_cuts;
        Cluster cluster(world, plan, std::move(seen));
        out = cluster.run();
    }
    if (out.failure.empty() && Buffer::bytes_in_use() != memory) {
        out.failure =
            "leak: " + std::to_string(Buffer::bytes_in_use() - memory) + " bytes of buffers are left";
    }
    return out;
}

}  // namespace braid::sim
