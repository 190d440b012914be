// The steps of a scenario that say what must be.
#include <algorithm>
#include <set>

#include "sim/checkers/checksums.h"
#include "sim/checkers/parity.h"
#include "sim/scenario_run.h"

namespace braid::sim {

bool ScenarioRun::do_expect(const Step& step) {
    switch (verb_of(step)) {
        case Verb::expect_view:
            return view_is(step.arguments) ? true : wrong("not so:" + unrest());
        case Verb::expect_count:
            return expect_count(step);
        case Verb::expect_copies: {
            const Amf* of = amf(controller_of(step.arguments[0]));
            const unsigned copies = of == nullptr ? 0 : of->replicator().copies();
            return std::to_string(copies) == step.arguments[1] ? true : wrong(std::to_string(copies));
        }
        case Verb::expect_partners: {
            std::set<std::string> wanted(step.arguments.begin() + 1, step.arguments.end()), there;
            const Amf* of = amf(controller_of(step.arguments[0]));
            for (const AmfId id : of == nullptr ? AmfSet{} : of->replicator().partners())
                there.insert(std::string(1, static_cast<char>('a' + controller_of(id).v - 1)));
            std::string all;
            for (const std::string& one : there) all += one + ' ';
            return wanted == there ? true : wrong(all);
        }
        case Verb::expect_packets:
            return expect_packets(step);
        case Verb::expect_held:
        case Verb::expect_not_held:
            return expect_held(step);
        case Verb::expect_absent: {
            const bool lives = nodes_[controller_of(step.arguments[0])].running != nullptr;
            return lives ? wrong("it lives") : true;
        }
        case Verb::expect_parity: {
            std::string bad = check_parity(*some_tables(), member_media());
            if (bad.empty()) bad = check_checksums(*some_tables(), member_media());
            return bad.empty() ? true : wrong(bad);
        }
        default:
            return expect_condition(step);
    }
}

bool ScenarioRun::expect_count(const Step& step) {
    const Counts now = counts();
    std::int64_t quarantined = 0;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        for (const Amf* of : amfs(i))
            quarantined =
                std::max(quarantined, static_cast<std::int64_t>(of->conditions().quarantined_stripes));
    }
    const ScrubSeen scrub = scrub_counts();
    const std::map<std::string_view, std::int64_t> known = {
        {"scrubbed", scrub.extents},
        {"scrubbers", scrub.amfs},
        {"healed", scrub.repaired},
        {"unattributed", scrub.unattributed},
        {"replayed", now.replayed - at_start_.replayed},
        {"rewritten", now.rewritten - at_start_.rewritten},
        {"dropped", now.dropped - at_start_.dropped},
        {"resynced", now.resynced - at_start_.resynced},
        {"regenerated", now.regenerated - at_start_.regenerated},
        {"around", now.around - at_start_.around},
        {"released", now.released - at_start_.released},
        {"repaired", now.repaired - at_start_.repaired},
        {"rotten", now.rotten - at_start_.rotten},
        {"refreshed", now.refreshed - at_start_.refreshed},
        {"moved", now.moved - at_start_.moved},
        {"cached", now.cached - at_start_.cached},
        {"from-peers", now.from_peers - at_start_.from_peers},
        {"unleased", now.unleased - at_start_.unleased},
        {"dirtied", now.dirtied - at_start_.dirtied},
        {"destaged", now.destaged - at_start_.destaged},
        {"recalled", now.recalled - at_start_.recalled},
        {"passed", now.passed - at_start_.passed},
        {"early", now.early - at_start_.early},
        {"kills", static_cast<std::int64_t>(record_.kills - kills_at_start_)},
        {"quarantined", quarantined},
    };
    const auto count = known.find(step.arguments[1]);
    if (count == known.end()) {
        std::string names;
        for (const auto& [name, value] : known) names += ' ' + std::string(name);
        return wrong("counted are" + names);
    }
    if (count->first == "quarantined") quarantined_ = std::stoul(step.arguments[0]);
    if (std::to_string(count->second) == step.arguments[0]) return true;
    return wrong("it is " + std::to_string(count->second));
}

/// Of the newest scrub, as the tables say.
ScenarioRun::ScrubSeen ScenarioRun::scrub_counts() {
    const Tables* tables = some_tables();
    if (tables == nullptr || !tables->loaded()) return {};
    const JobRecord* newest = nullptr;
    for (const JobRecord& job : tables->state().jobs) {
        if (job.id == 0 || job.kind != JobKind::scrub) continue;
        if (newest == nullptr || job.id > newest->id) newest = &job;
    }
    if (newest == nullptr) return {};
    return {static_cast<std::int64_t>(newest->units_done()),
            std::ranges::count_if(newest->done, [](std::uint32_t units) { return units != 0; }),
            newest->counts.repaired, newest->counts.unattributed};
}

bool ScenarioRun::expect_held(const Step& step) {
    const std::vector<Amf*> all = amfs(controller_of(step.arguments[0]));
    const unsigned index = index_of(step.arguments[0]);
    if (index >= all.size()) return wrong("it does not serve");
    Amf* of = all[index];
    std::string mode = "nothing";
    const UnitIndex wanted_unit = unit_at(of->units(), step.arguments[1]);
    of->locks().for_each_held([&](UnitIndex unit, LockMode held) {
        if (unit == wanted_unit) mode = held == LockMode::write ? "write" : "read";
    });
    const std::string wanted = verb_of(step) == Verb::expect_held ? step.arguments[2] : "nothing";
    return mode == wanted ? true : wrong("it holds it for " + mode);
}

/// Over all its links, since the phase began.
bool ScenarioRun::expect_packets(const Step& step) {
    const std::size_t index = controller_of(step.arguments[0]);
    if (!nodes_[index].running) return wrong("it does not live");
    const Sent now = sent_by(index);
    const std::uint64_t messages = now.messages - sent_before_[index].messages;
    const std::uint64_t packets = now.packets - sent_before_[index].packets;
    const bool well =
        std::to_string(messages) == step.arguments[1] && std::to_string(packets) == step.arguments[2];
    return well ? true : wrong(std::to_string(messages) + " in " + std::to_string(packets));
}

ScenarioRun::Sent ScenarioRun::sent_by(std::size_t index) {
    Sent out;
    if (!nodes_[index].running) return out;
    for (const auto& [peer, counters] : nodes_[index].running->controller.icl().counters()) {
        out.messages += counters.sent.all_messages();
        out.packets += counters.sent.packets;
    }
    return out;
}

bool ScenarioRun::expect_condition(const Step& step) {
    const Verb verb = verb_of(step);
    const std::string& code = step.arguments.back();
    const bool wanted = verb != Verb::expect_no_condition;
    std::size_t asked = 0;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (!awake(nodes_[i])) continue;
        if (verb == Verb::expect_condition_at && i != controller_of(step.arguments[0])) continue;
        ++asked;
        std::string all;
        for (const Condition& c : nodes_[i].running->controller.status().conditions) all += c.code + ' ';
        const bool there = (' ' + all).find(' ' + code + ' ') != std::string::npos;
        if (there != wanted) {
            return wrong("controller " + std::string(1, static_cast<char>('a' + i)) +
                         " shows: " + (all.empty() ? "nothing" : all));
        }
    }
    return asked != 0 ? true : wrong("nobody to ask");
}

bool ScenarioRun::verify(std::size_t index) {
    if (!nodes_[index].running) return wrong("it does not live");
    Controller& controller = nodes_[index].running->controller;
    const auto begun = std::make_shared<std::optional<AdminResult<braid::Outcome>>>();
    nodes_[index].running->scope.spawn(into(controller.scrub_group({"g"}), begun));
    std::optional<JobInfo> job;
    const auto done = [&] {
        if (!*begun || !**begun || !(**begun)->job) return false;
        for (JobInfo& info : controller.jobs()) {
            if (info.id == *(**begun)->job) job = std::move(info);
        }
        return job && !is_active(job->state);
    };
    if (!run_until(done, 300s)) return wrong("it does not end");
    if (job->state != JobState::done) return wrong("it fails: " + job->detail);
    return job->mismatches == 0 ? true : wrong("it finds " + std::to_string(job->mismatches) + " stripes");
}

}  // namespace braid::sim
