// The steps of a scenario that do something to the cluster or wait for it.
#include <algorithm>
#include <array>

#include "sim/scenario_run.h"

namespace braid::sim {
namespace {

std::vector<std::size_t> controllers_of(const Step& step) {
    std::vector<std::size_t> out;
    for (const std::string& letter : step.arguments) out.push_back(controller_of(letter));
    return out;
}

}  // namespace

bool ScenarioRun::do_fault(const Step& step) {
    const auto pid = [&](std::size_t argument) {
        const Node& node = nodes_[controller_of(step.arguments[argument])];
        return node.process ? node.process->pid : 0;
    };
    const auto process = [&](std::size_t argument) -> Process& {
        return *nodes_[controller_of(step.arguments[argument])].process;
    };
    switch (verb_of(step)) {
        case Verb::crash:
            for (const std::size_t index : controllers_of(step)) crash(index);
            return true;
        case Verb::start:
            for (const std::size_t index : controllers_of(step)) start(index);
            return true;
        case Verb::stop:
            for (const std::size_t index : controllers_of(step)) {
                if (!nodes_[index].running) return wrong("it does not live");
                nodes_[index].running->scope.spawn(leave(*this, index));
            }
            return true;
        case Verb::pause:
            for (const std::size_t index : controllers_of(step)) world_.pause(*nodes_[index].process);
            return true;
        case Verb::resume:
            for (const std::size_t index : controllers_of(step)) world_.resume(*nodes_[index].process);
            return true;
        case Verb::paths_lost:
            process(0).no_path.set();
            return true;
        case Verb::paths_back:
            process(0).no_path.reset();
            return true;
        case Verb::path_lost: {
            const auto disk = disk_of(step.arguments[1]);
            if (!disk) return wrong("nobody can tell which disk that is");
            process(0).no_path.set(*disk);
            return true;
        }
        case Verb::power_cut:
            cut_power();
            return true;
        case Verb::cut:
            wires_.cut(pid(0), pid(1), true);
            return true;
        case Verb::cut_one_way:
            wires_.cut(pid(0), pid(1), false);
            return true;
        case Verb::side_late:
        case Verb::side_heard: {
            Node& node = nodes_[controller_of(step.arguments[0])];
            const unsigned side = index_of(step.arguments[0]);
            if (side == 0 || !node.running) return wrong("only an AMF on a side of a living controller can");
            node.running->threads.hold_back(side, verb_of(step) == Verb::side_late);
            return true;
        }
        case Verb::heal:
            wires_.heal();
            return true;
        default:
            wires_.reset(pid(0), pid(1));
            return true;
    }
}

bool ScenarioRun::do_disk_fault(const Step& step) {
    const Verb verb = verb_of(step);
    if (verb == Verb::hold) return trace_.hold(step.arguments), true;
    if (verb == Verb::release)
        return trace_.release(step.arguments) ? true : wrong("nothing of this kind is held");
    if (verb == Verb::release_all) return trace_.release_all(), true;
    if (verb == Verb::orphans) {
        constexpr std::array<std::string_view, 4> kFates = {"chance", "vanish", "land", "tear"};
        const auto fate = std::ranges::find(kFates, step.arguments[0]);
        if (fate == kFates.end()) return wrong("chance, vanish, land or tear");
        world_.knobs.orphans = static_cast<Orphans>(fate - kFates.begin());
        return true;
    }
    if (verb == Verb::spoil) {
        const auto at = strip_of(step.arguments[0]);
        if (!at) return wrong("nobody can tell where that is");
        for (std::uint64_t i = 0; i < scenario_.shape.strip_size / kBlockSize; ++i)
            member_media()[at->member.v]->bad.insert(at->offset / kBlockSize + i);
        return true;
    }
    if (verb == Verb::rot) {
        const auto at = strip_of(step.arguments[0]);
        if (!at) return wrong("nobody can tell where that is");
        member_media()[at->member.v]->rot(world_.prng, at->offset / kBlockSize);
        return true;
    }
    const auto member = disk_of(step.arguments[0]);
    if (!member) return wrong("nobody can tell which disk that is");
    Media& media = *media_[*member];
    if (verb == Verb::disk_dies || verb == Verb::disks_die) media.dead = true;
    if (verb == Verb::disks_die) media_[disk_of(step.arguments[1]).value_or(*member)]->dead = true;
    if (verb == Verb::disk_returns) media.dead = media.fails_writes = false;
    if (verb == Verb::disk_kept) remembered_ = media.snapshot();
    if (verb == Verb::disk_returns_old) {
        media.pull();
        media.plug_in(std::move(remembered_), false);
    }
    if (verb == Verb::disk_refuses) media.fails_writes = true;
    if (verb == Verb::disk_fails_some)
        media.errors_of_1000 = static_cast<unsigned>(std::stoul(step.arguments[1]));
    if (verb == Verb::disk_loses) media.loses = static_cast<unsigned>(std::stoul(step.arguments[1]));
    if (verb == Verb::disk_misdirects)
        media.misdirects = static_cast<unsigned>(std::stoul(step.arguments[1]));
    if (verb == Verb::disk_slow) media.slow = static_cast<unsigned>(std::stoul(step.arguments[1]));
    return true;
}

// ---- waiting

/// Nothing is missing, and nothing moves, as all know who are here, and it stands in the tables that it is
/// over.
bool ScenarioRun::rebuilt() {
    bool any = false;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        for (const Amf* of : amfs(i)) {
            const Tables& tables = of->tables();
            any = true;
            const bool told = tables.state().active(JobKind::rebuild) == nullptr &&
                              tables.state().active(JobKind::rebalance) == nullptr;
            if (!tables.settled() || tables.anything_to_move() || !told) return false;
        }
    }
    return any;
}

/// All extents have a shape that was not there at first, as all know who are here, and it stands in the
/// tables that it is over.
bool ScenarioRun::reshaped() {
    bool any = false;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        for (const Amf* of : amfs(i)) {
            const Tables& tables = of->tables();
            any = true;
            const bool told = tables.state().active(JobKind::reshape) == nullptr;
            const bool wanted = tables.config().wanted != tables.geometry().shape();
            if (!tables.settled() || !wanted || tables.extents_of_other_shapes() != 0 || !told) return false;
        }
    }
    return any;
}

bool ScenarioRun::run_for(Nanos time) {
    const auto over = std::make_shared<bool>(false);
    world_.after(time, [over] { *over = true; });
    return run_until([&] { return *over; }, time);
}

bool ScenarioRun::do_wait(const Step& step) {
    switch (verb_of(step)) {
        case Verb::until_calm:
            return run_until([this] { return calm(); }, kPatience) ? true : wrong("no rest:" + unrest());
        case Verb::until_view:
            return run_until([&] { return view_is(step.arguments); }, kPatience)
                       ? true
                       : wrong("not so:" + unrest());
        case Verb::until_rebuilt:
            return run_until([this] { return rebuilt(); }, kPatience) ? true : wrong("not so:" + unrest());
        case Verb::until_reshaped:
            return run_until([this] { return reshaped(); }, kPatience) ? true : wrong("not so:" + unrest());
        case Verb::until_scrubbed: {
            const auto there = [&] { return scrub_counts().extents >= std::stoll(step.arguments[0]); };
            return run_until(there, kPatience) ? true : wrong("not so:" + unrest());
        }
        case Verb::run:
            return run_for(*parse_time(step.arguments[0]));
        default:
            break;
    }
    std::size_t at = seen_;
    const auto hit = [&] {
        for (; at < trace_.lines().size(); ++at) {
            if (fits(step.arguments, split_words(trace_.lines()[at].text))) return true;
        }
        return false;
    };
    if (!run_until(hit, kPatience)) return wrong("it does not come:" + unrest());
    seen_ = at + 1;
    return true;
}

}  // namespace braid::sim
