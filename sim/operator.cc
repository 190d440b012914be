#include "sim/operator.h"

#include <algorithm>
#include <cstring>

namespace braid::sim {

Operator::Operator(World& world, Options options)
    : world_(world), options_(std::move(options)), prng_(world.prng.split(0x0b)) {}

void Operator::start() { next_later(); }

void Operator::next_later() {
    const auto longest = static_cast<std::uint64_t>(options_.pause_max.count());
    world_.after(Nanos(static_cast<std::int64_t>(prng_.below(longest))), [this] { next(); });
}

void Operator::process_died(const Process& process) {
    for (Slot& slot : slots_) slot.may_be_older |= options_.may_lose;
    if (!busy_ || process.pid != pid_) return;
    // Done or not, nobody knows. A slot may have the new value; the second disk may be there or not.
    if (action_ == Action::create || action_ == Action::remove) known_ = false;
    busy_ = false;
    next_later();
}

void Operator::begin(const Desk& desk, Action action, std::string what) {
    world_.note("operator", static_cast<std::uint64_t>(action), desk.process->pid);
    ++turn_;
    action_ = action;
    what_ = std::move(what);
    pid_ = desk.process->pid;
    busy_ = true;
}

void Operator::next() {
    if (quiet_ || busy_) return;
    const auto desk = options_.pick(prng_);
    if (!desk) return next_later();
    Controller& controller = *desk->controller;
    look_at_jobs(*desk);
    if (set_sharing(*desk) || remove_disk(*desk) || take_back(*desk) || add_disk(*desk) || set_job(*desk) ||
        want_shape(*desk))
        return;
    const auto open_ports = [&](std::string_view volume) {
        std::vector<std::string> out;
        for (const PortInfo& port : controller.ports()) {
            if (port.volume == volume && port.state == PortState::open) out.push_back(port.controller);
        }
        return out;
    };
    switch (prng_.below(16)) {
        case 0:
        case 1: {
            const auto open = open_ports("v");
            if (open.size() < 2) break;
            const std::string where = open[prng_.below(open.size())];
            return ask(*desk, Action::close_port, "delete port v " + where,
                       controller.delete_port("v", where, false));
        }
        case 2:
        case 3: {
            CreatePorts ports{"v", {}, false};
            const auto& outside = options_.outside;
            if (!outside.empty() && prng_.chance(1, 2))
                ports.controllers.push_back(outside[prng_.below(outside.size())]);
            return ask(*desk, Action::open_ports, "create ports v", controller.create_ports(ports));
        }
        case 4:
        case 5:
            return ask(*desk, Action::create, "create volume w",
                       controller.create_volume({"w", "g", kSize, false}));
        case 6:
            return ask(*desk, Action::remove, "delete volume w", controller.delete_volume("w", true, false));
        case 7:
            return ask(*desk, Action::scrub, "scrub g", controller.scrub_group({"g"}));
        case 8: {
            if (!prng_.chance(1, 4)) break;
            const auto disk = options_.may_fail_disk();
            if (!disk) break;
            return ask(*desk, Action::fail, "fail disk " + *disk, controller.fail_disk(*disk, false));
        }
        default:
            if (!known_) break;
            if (open_ports("w").empty()) {
                return ask(*desk, Action::open_second, "create ports w",
                           controller.create_ports({"w", {}, false}));
            }
            return use_second(*desk);
    }
    next_later();
}

/// One request of six, if it does so at all.
bool Operator::set_sharing(const Desk& desk) {
    if (!options_.set_sharing || !options_.set_sharing->chance(1, 6)) return false;
    Prng& prng = *options_.set_sharing;
    SharingChange change;
    if (prng.chance(1, 2)) change.lock_order = static_cast<LockOrder>(prng.below(2));
    if (prng.chance(1, 2)) change.min_hold = prng.below(2) * 1us * prng.between(50, 3000);
    if (prng.chance(1, 2) || change == SharingChange{})
        change.prefetch = static_cast<std::uint8_t>(prng.below(64));
    const bool answers = options_.set_replication && prng.chance(1, 2);
    if (answers) change.replication = static_cast<Replication>(prng.below(3));
    ask(desk, answers ? Action::set_replication : Action::set_sharing, "set group g",
        desk.controller->set_group({"g", change}));
    return true;
}

/// One request of eight, if it does so at all. The group refuses what it has no room for.
bool Operator::remove_disk(const Desk& desk) {
    if (options_.removals == 0 || !options_.remove->chance(1, 8)) return false;
    std::vector<std::string> members;
    for (const DiskInfo& disk : desk.controller->disks()) {
        if (disk.state == DiskState::member) members.push_back(disk.name);
    }
    if (members.empty()) return false;
    --options_.removals;
    const std::string name = members[options_.remove->below(members.size())];
    ask(desk, Action::remove_disk, "remove disk " + name, desk.controller->remove_disk(name, false));
    return true;
}

/// One request of six, if it does so at all. Half of them take the place of a member.
bool Operator::add_disk(const Desk& desk) {
    if (options_.additions == 0 || !options_.add->chance(1, 6)) return false;
    if (options_.add->chance(1, 3)) {
        ask(desk, Action::expand, "expand group g", desk.controller->expand_group({.name = "g"}));
        return true;
    }
    std::vector<std::string> others, members;
    for (const DiskInfo& disk : desk.controller->disks()) {
        const bool member = disk.state == DiskState::member || disk.state == DiskState::failed;
        if (member) members.push_back(disk.name);
        const bool free = disk.state == DiskState::empty || disk.state == DiskState::gone;
        if (free && options_.fit(disk.name)) others.push_back(disk.name);
    }
    if (others.empty() || members.empty()) return false;
    --options_.additions;
    AddDisk request{others[options_.add->below(others.size())], "g", {}, true, false};
    if (options_.add->chance(1, 2)) request.replaces = members[options_.add->below(members.size())];
    const std::string what = "add disk " + request.disk + " for " + request.replaces;
    ask(desk, Action::add_disk, what, desk.controller->add_disk(request));
    return true;
}

/// One request of three while there is one, if it does so at all.
bool Operator::take_back(const Desk& desk) {
    if (!options_.take_back) return false;
    const std::vector<std::string> disks = options_.back();
    if (disks.empty() || !options_.take_back->chance(1, 3)) return false;
    const std::string name = disks[options_.take_back->below(disks.size())];
    ask(desk, Action::take_back, "take back " + name,
        desk.controller->add_disk({name, "g", {}, false, false}));
    return true;
}

/// One request of six while there is a scrub or a rebuild, if it does so at all.
bool Operator::set_job(const Desk& desk) {
    if (!options_.set_jobs || !options_.set_jobs->chance(1, 6)) return false;
    const auto jobs = desk.controller->jobs();
    const auto goes_on = [](const JobInfo& job) { return job.kind != "resync" && is_active(job.state); };
    const auto job = std::ranges::find_if(jobs, goes_on);
    if (job == jobs.end()) return false;
    const bool paused = job->state == JobState::paused;
    const bool may_cancel = job->kind == "scrub" || job->kind == "rebalance";
    const bool cancels = options_.set_jobs->chance(1, 4) && may_cancel;
    const JobChange change = cancels ? JobChange::cancel : paused ? JobChange::resume : JobChange::pause;
    if (!cancels || job->kind == "scrub") world_.mark(cancels ? Mark::scrub_cancelled : Mark::job_paused);
    ask(desk, Action::set_job, "set job " + std::to_string(job->id),
        desk.controller->change_job(job->id, change, false));
    return true;
}

/// One request of six, if it does so at all. The group refuses what it has no members, or no room, for.
bool Operator::want_shape(const Desk& desk) {
    if (options_.reshapes == 0 || !options_.shapes->chance(1, 6)) return false;
    const StatusReport status = desk.controller->status();
    if (status.groups.empty() || status.groups[0].data == 0) return false;
    --options_.reshapes;
    const GroupInfo& group = status.groups[0];
    if (group.parity < kMaxParity && options_.shapes->chance(1, 2)) {
        const Level level = group.parity == 1 ? Level::raid6 : Level::raid7_3;
        ask(desk, Action::want_shape, "want " + std::string(to_string(level)),
            desk.controller->set_group({.name = "g", .level = level}));
        return true;
    }
    const auto width = static_cast<unsigned>(group.data + group.parity + 1 + options_.shapes->below(2));
    ask(desk, Action::want_shape, "want width " + std::to_string(width),
        desk.controller->expand_group({.name = "g", .width = width}));
    return true;
}

void Operator::look_at_jobs(const Desk& desk) {
    if (!options_.scrub_is_clean) return;
    for (const JobInfo& job : desk.controller->jobs()) {
        if (job.kind == "scrub" && job.mismatches != 0) {
            world_.violation("scrub found " + std::to_string(job.mismatches) + " stripes: " + job.detail);
        }
    }
}

void Operator::ask(const Desk& desk, Action action, std::string what, Task<AdminResult<Outcome>> request) {
    begin(desk, action, std::move(what));
    desk.scope->spawn(perform(*this, turn_, std::move(request)));
}

Task<void> Operator::perform(Operator& self, std::uint64_t turn, Task<AdminResult<Outcome>> request) {
    const AdminResult<Outcome> result = co_await std::move(request);
    Answer answer;
    answer.ok = result.has_value();
    if (result) {
        answer.job = result->job;
    } else {
        answer.code = result.error().code;
        answer.detail = result.error().detail;
    }
    self.world_.after(Nanos{0}, [&self, turn, answer] { self.end(turn, answer); });
}

// ---- the second virtual disk

Buffer Operator::content(std::size_t slot, std::uint64_t value) {
    Buffer out = Buffer::zeroed(kSlotSize);
    for (std::size_t at = 0; value != 0 && at < kSlotSize; at += 8) {
        const std::uint64_t word = mix64(value * 7919 + slot) + at;
        std::memcpy(out.data() + at, &word, 8);
    }
    return out;
}

void Operator::use_second(const Desk& desk) {
    const auto port = desk.controller->registry().find("w");
    if (!port) return next_later();
    slot_ = prng_.below(kSlots);
    begin(desk, Action::use, "use of w");
    if (prng_.chance(1, 2)) {
        slots_[slot_].maybe = next_value_;
        desk.scope->spawn(write_slot(*this, turn_, port, slot_, next_value_++));
    } else {
        desk.scope->spawn(read_slot(*this, turn_, port, slot_));
    }
}

Task<void> Operator::write_slot(Operator& self, std::uint64_t turn, std::shared_ptr<Port> port,
                                std::size_t slot, std::uint64_t value) {
    const Status status = co_await port->write(place(slot), Slice(content(slot, value)), true);
    self.world_.after(Nanos{0}, [&self, turn, slot, status] {
        if (self.busy_ && self.turn_ == turn && status) {
            Slot& written = self.slots_[slot];
            written.older.push_back(written.value);
            written.value = std::exchange(written.maybe, 0);
            written.may_be_older = false;
            written.mixed.reset();
        }
        self.end(turn, {status.has_value(), status ? Errc{} : status.error().code, "write", {}});
    });
}

Task<void> Operator::read_slot(Operator& self, std::uint64_t turn, std::shared_ptr<Port> port,
                               std::size_t slot) {
    const Buffer seen(kSlotSize);
    const Status status = co_await port->read(place(slot), seen.span());
    self.world_.after(Nanos{0}, [&self, turn, slot, status, seen] {
        if (self.busy_ && self.turn_ == turn && status) self.check_slot(slot, seen);
        self.end(turn, {status.has_value(), status ? Errc{} : status.error().code, "read", {}});
    });
}

/// Each block is as it was, or as the write without an answer would have it.
bool Operator::mixed(std::size_t slot, const Buffer& seen) const {
    const Slot& s = slots_[slot];
    const Buffer before = s.mixed ? *s.mixed : content(slot, s.value);
    const Buffer after = content(slot, s.maybe);
    for (std::size_t at = 0; at < kSlotSize;) {
        const std::size_t size = std::min(kSlotSize - at, kBlockSize - (place(slot) + at) % kBlockSize);
        const auto is = [&](const Buffer& one) {
            return std::memcmp(one.data() + at, seen.data() + at, size) == 0;
        };
        if (!is(before) && !is(after)) return false;
        at += size;
    }
    return true;
}

void Operator::check_slot(std::size_t slot, const Buffer& seen) {
    Slot& s = slots_[slot];
    const auto is = [&](std::uint64_t value) {
        return std::memcmp(content(slot, value).data(), seen.data(), kSlotSize) == 0;
    };
    const bool as_known = s.mixed ? std::memcmp(s.mixed->data(), seen.data(), kSlotSize) == 0 : is(s.value);
    const bool may_be_older = std::exchange(s.may_be_older, false);
    if (s.maybe != 0 && is(s.maybe)) {
        s.value = s.maybe;
        s.mixed.reset();
    } else if (s.maybe != 0 && mixed(slot, seen)) {
        s.mixed = seen;
    } else if (const auto older = std::ranges::find_if(s.older, is); may_be_older && older != s.older.end()) {
        if (!as_known) s.value = *older;
    } else if (!as_known) {
        world_.violation("the second disk's slot " + std::to_string(slot) + " holds neither value " +
                         std::to_string(s.value) + " nor " + std::to_string(s.maybe));
    }
    s.maybe = 0;
}

// ---- answers

void Operator::end(std::uint64_t turn, const Answer& answer) {
    if (!busy_ || turn != turn_) return;
    world_.note("operator.done", static_cast<std::uint64_t>(action_),
                answer.ok ? 0 : 1 + static_cast<std::uint64_t>(answer.code));
    busy_ = false;
    ++done_;
    check_answer(answer);
    if (action_ == Action::set_replication && answer.ok) world_.mark(Mark::replication_set);
    if (action_ == Action::add_disk && answer.ok) world_.mark(Mark::disk_added);
    if (action_ == Action::take_back && answer.ok) world_.mark(Mark::disk_taken_back);
    if (action_ == Action::expand && answer.ok) world_.mark(Mark::group_expanded);
    if (action_ == Action::create && answer.ok) {
        if (std::exchange(created_, true)) world_.mark(Mark::space_anew);
        slots_ = {};
        known_ = true;
    }
    if (action_ == Action::remove) known_ = false;
    next_later();
}

void Operator::check_answer(const Answer& answer) {
    if (answer.ok || excused_.contains(pid_)) return;
    const bool from_the_new = answer.code == Errc::io_error || answer.code == Errc::media_error;
    if ((action_ == Action::add_disk || action_ == Action::take_back) && from_the_new) return;
    if (action_ == Action::want_shape && answer.code == Errc::invalid) return;
    switch (answer.code) {
        case Errc::io_error:
        case Errc::media_error:
        case Errc::corrupt:
        case Errc::invalid:
        case Errc::offline:
            world_.violation("operator: " + what_ + ": " + std::string(to_string(answer.code)) + ": " +
                             answer.detail);
            return;
        default:
            return;
    }
}

}  // namespace braid::sim
