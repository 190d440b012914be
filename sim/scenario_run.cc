// The phases of a scenario, its operations, and its end.
#include "sim/scenario_run.h"

#include <algorithm>

#include "sim/checkers/at_rest.h"
#include "sim/checkers/checksums.h"
#include "sim/checkers/parity.h"

namespace braid::sim {

static constexpr std::uint64_t kMostRead = 1u << 20;  ///< of one operation, at the end

bool ScenarioRun::wrong(std::string text) {
    if (failure_.empty()) {
        if (step_ != nullptr) failure_ = std::to_string(step_->line) + ": '" + step_->text + "': ";
        failure_ += std::move(text);
    }
    return false;
}

bool ScenarioRun::run_until(const std::function<bool()>& done, Nanos limit) {
    std::size_t looked = trace_.lines().size();
    const bool reached = world_.run_until(
        [&] {
            if (trace_.lines().size() != looked) look_at_locks();
            looked = trace_.lines().size();
            return done();
        },
        limit);
    seen_ = trace_.lines().size();
    if (!world_.violated().empty()) return wrong(world_.violated());
    return reached;
}

std::string ScenarioRun::run() {
    if (set_up()) {
        bool well = true;
        for (const Phase& phase : scenario_.phases) well = well && run_phase(phase);
        step_ = nullptr;
        if (well) (void)final_checks();
    }
    over_ = true;
    return failure_;
}

bool ScenarioRun::run_phase(const Phase& phase) {
    if (!phase.title.empty()) trace_.say(phase.title);
    const std::size_t from = seen_ = trace_.lines().size();
    sent_before_.clear();
    for (std::size_t i = 0; i < nodes_.size(); ++i) sent_before_.push_back(sent_by(i));
    for (const Step& step : phase.steps) {
        step_ = &step;
        trace_.say(step.text);
        if (!do_step(step)) return wrong("went wrong");
        if (!world_.violated().empty()) return wrong(world_.violated());
    }
    step_ = nullptr;
    return !phase.messages || compare_messages(phase, from);
}

bool ScenarioRun::compare_messages(const Phase& phase, std::size_t from) {
    std::vector<std::string> seen;
    for (std::size_t i = from; i < trace_.lines().size(); ++i) {
        const Trace::Line& line = trace_.lines()[i];
        if (std::ranges::find(phase.kinds, line.kind) != phase.kinds.end()) seen.push_back(line.text);
    }
    const std::string table = phase.messages->compare(seen);
    if (table.empty()) return true;
    return wrong(std::to_string(phase.line) + ": phase '" + phase.title + "': not these messages\n" + table);
}

bool ScenarioRun::do_step(const Step& step) {
    const Verb verb = verb_of(step);
    if (is_operation(verb) || verb == Verb::await || verb == Verb::waits) return do_operation(step);
    if (verb < Verb::disk_dies) return do_fault(step);
    if (verb < Verb::until_calm) return do_disk_fault(step);
    if (verb <= Verb::run) return do_wait(step);
    if (verb == Verb::verify) return verify(controller_of(step.arguments[0]));
    return do_expect(step);
}

// ---- operations

std::uint64_t ScenarioRun::offset_of(const std::string& place) const {
    const std::size_t plus = place.find('+');
    const std::uint64_t base = places_.at(place.substr(0, plus)).offset;
    return plus == std::string::npos ? base : base + *parse_size(place.substr(plus + 1));
}

UnitIndex ScenarioRun::unit_at(const UnitMap& map, const std::string& place) const {
    if (place.find('+') == std::string::npos) return places_.at(place).unit;
    const std::uint64_t byte = volume_base_ + offset_of(place);
    const StripePlace at = geometry_of(scenario_.shape).locate(byte);
    return map.content({at.stripe, at.offset, 1, byte}).first;
}

ScenarioRun::Operation* ScenarioRun::find(const std::string& label) {
    const auto at = std::ranges::find(operations_, label, &Operation::label);
    return at == operations_.end() ? nullptr : &*at;
}

bool ScenarioRun::do_operation(const Step& step) {
    if (is_operation(verb_of(step))) {
        if (!step.label.empty() && find(step.label) != nullptr) return wrong("this name is taken");
        const std::size_t operation = begin(step);
        if (operation == operations_.size()) return wrong("this controller does not live");
        if (step.label.empty()) return wait_for(operation, step);
        return step.fails ? wrong("say how it fails where it is awaited") : true;
    }
    Operation* operation = find(step.arguments[0]);
    if (operation == nullptr) return wrong("there is no operation of this name");
    if (verb_of(step) == Verb::waits) return operation->state == State::open ? true : wrong("it has ended");
    return wait_for(static_cast<std::size_t>(operation - operations_.data()), step);
}

/// Its place among the operations; their number if its controller is dead.
std::size_t ScenarioRun::begin(const Step& step) {
    Operation op;
    op.verb = verb_of(step);
    op.label = step.label;
    op.node = controller_of(step.arguments[0]);
    if (!nodes_[op.node].running) return operations_.size();
    Running& running = *nodes_[op.node].running;
    if (op.verb == Verb::flush) {
        op.content = content_.flush_begins();
    } else if (op.verb < Verb::flush) {
        const bool extent = op.verb == Verb::trim_extent;
        op.offset = offset_of(step.arguments[extent ? 1 : 2]);
        if (extent) op.offset -= op.offset % kExtentSize;
        const std::uint64_t length =
            extent ? std::min(kExtentSize, kVolumeSize - op.offset) : *parse_size(step.arguments[1]);
        if (extent) {
            op.content = content_.write_begins(op.offset, length, true);
            op.data = Buffer::zeroed(kMostRead);
        } else if (is_write(op.verb)) {
            op.content = content_.write_begins(op.offset, length, op.verb == Verb::zero);
            op.data = content_.bytes_of(op.content);
        } else {
            op.content = content_.read_begins(op.offset, length);
            op.data = op.verb == Verb::sees_hole ? Buffer::zeroed(length) : Buffer(length);
        }
        if (op.verb == Verb::read_value) op.value = step.arguments[3];
    }
    operations_.push_back(std::move(op));
    const std::size_t index = operations_.size() - 1;
    if (operations_[index].verb <= Verb::flush) {
        const auto sides = running.sides("v");
        const unsigned which = index_of(step.arguments[0]);
        running.scope.spawn(perform(*this, index, which < sides.size() ? sides[which] : nullptr));
    } else {
        running.scope.spawn(ask(*this, index, request(step, running.controller)));
    }
    return index;
}

Task<AdminResult<braid::Outcome>> ScenarioRun::request(const Step& step, Controller& controller) {
    const auto name = [&](std::size_t argument) { return "ctl-" + step.arguments[argument]; };
    switch (verb_of(step)) {
        case Verb::fail_disk:
            return controller.fail_disk(disk_name(disk_of(step.arguments[1]).value_or(0)), false);
        case Verb::remove_disk:
            return controller.remove_disk(disk_name(disk_of(step.arguments[1]).value_or(0)), false);
        case Verb::add_disk:
            return controller.add_disk(
                {disk_name(disk_of(step.arguments[1]).value_or(0)), "g", {}, true, false});
        case Verb::replace_disk:
            return controller.add_disk({disk_name(disk_of(step.arguments[2]).value_or(0)),
                                        {},
                                        disk_name(disk_of(step.arguments[1]).value_or(0)),
                                        true,
                                        false});
        case Verb::take_disk_back:
            return controller.add_disk(
                {disk_name(disk_of(step.arguments[1]).value_or(0)), "g", {}, false, false});
        case Verb::expand:
            return controller.expand_group({.name = "g"});
        case Verb::want_width:
            return controller.expand_group(
                {.name = "g", .width = static_cast<unsigned>(std::stoul(step.arguments[1]))});
        case Verb::want_level:
            return controller.set_group({.name = "g", .level = parse_level(step.arguments[1]).value()});
        case Verb::close_port:
            return controller.delete_port("v", name(1), false);
        case Verb::open_ports:
            return controller.create_ports({"v", {}, false});
        case Verb::open_port:
            return controller.create_ports({"v", {name(1)}, false});
        case Verb::set_hold:
            return controller.set_group({"g", {.min_hold = *parse_time(step.arguments[1])}});
        case Verb::set_order:
            return controller.set_group({"g", {.lock_order = parse_lock_order(step.arguments[1]).value()}});
        case Verb::set_prefetch:
            return controller.set_group(
                {"g", {.prefetch = static_cast<std::uint8_t>(std::stoul(step.arguments[1]))}});
        case Verb::set_replication:
            early_answers_ |= step.arguments[1] != "synchronous";
            return controller.set_group({"g", {.replication = parse_replication(step.arguments[1]).value()}});
        case Verb::set_few_partners:
            return controller.set_group(
                {"g", {.few_partners = parse_few_partners(step.arguments[1]).value()}});
        case Verb::set_partners: {
            SetGroup request{"g", {}, name(1), {}};
            for (std::size_t i = 2; i < step.arguments.size(); ++i) request.partners.push_back(name(i));
            return controller.set_group(std::move(request));
        }
        case Verb::set_partner_place:
            return controller.set_group({"g", {}, name(1), {step.arguments[2]}});
        case Verb::scrub:
            return controller.scrub_group({"g"});
        case Verb::pause_scrub:
        case Verb::resume_scrub:
        case Verb::cancel_scrub: {
            const JobRecord* job = some_tables()->state().active(JobKind::scrub);
            constexpr std::array kChanges{JobChange::pause, JobChange::resume, JobChange::cancel};
            const auto which =
                static_cast<std::size_t>(verb_of(step)) - static_cast<std::size_t>(Verb::pause_scrub);
            return controller.change_job(job == nullptr ? 0 : job->id, kChanges[which], false);
        }
        default:
            return controller.fence_controller(name(1), false);
    }
}

Task<void> ScenarioRun::ask(ScenarioRun& run, std::size_t operation, Task<AdminResult<braid::Outcome>> task) {
    const AdminResult<braid::Outcome> result = co_await std::move(task);
    run.ended(operation, result ? Status{} : Status(fail(result.error().code)));
}

Task<void> ScenarioRun::perform(ScenarioRun& run, std::size_t operation, std::shared_ptr<Port> port) {
    const Verb verb = run.operations_[operation].verb;
    const std::uint64_t offset = run.operations_[operation].offset;
    const Buffer data = run.operations_[operation].data;
    Status status = fail(Errc::not_ready);
    if (port == nullptr) {
        // The controller has no such port.
    } else if (verb == Verb::flush) {
        status = co_await port->flush();
    } else if (verb == Verb::zero) {
        status = co_await port->write_zeroes(offset, data.size(), {});
    } else if (verb == Verb::trim_extent) {
        status = co_await port->trim(offset, std::min(kExtentSize, port->size() - offset));
    } else if (is_write(verb)) {
        status = co_await port->write(offset, Slice(data), verb == Verb::write_fua);
    } else if (verb == Verb::sees_hole || verb == Verb::sees_data) {
        const auto runs = co_await port->allocation(offset, data.size(), 1);
        const AllocationRun wanted{data.size(), verb == Verb::sees_hole};
        if (!runs) status = std::unexpected(runs.error());
        if (runs) status = *runs == std::vector{wanted} ? Status{} : Status(fail(Errc::exists));
    } else {
        status = co_await port->read(offset, data.span());
    }
    run.ended(operation, status);
}

/// Called from inside the process.
void ScenarioRun::ended(std::size_t operation, Status status) {
    Operation& op = operations_[operation];
    op.state = State::answered;
    op.status = status;
    const std::string name = op.label.empty() ? "the operation" : op.label;
    trace_.say(name + (status ? " is done" : " fails: " + std::string(to_string(status.error().code))));
    if (is_write(op.verb)) {
        if (status) {
            content_.write_done(op.content, op.verb == Verb::write_fua || op.verb == Verb::trim_extent);
        } else {
            content_.write_lost(op.content);
        }
    }
    if (!status || op.verb > Verb::flush) return;
    if (op.verb == Verb::flush) content_.flush_done(op.content);
    if (op.verb != Verb::read && op.verb != Verb::read_value && op.verb != Verb::sees_hole) return;
    std::string bad = content_.read_done(op.content, op.data.span());
    if (bad.empty() && !op.value.empty()) bad = compare_value(op);
    if (!bad.empty()) world_.violation("read: " + bad);
}

/// Empty, or why what was read is not what the write of this name put there.
std::string ScenarioRun::compare_value(const Operation& read) {
    const Operation* write = find(read.value);
    const bool zeros = read.value == "zeros";
    if (!zeros && (write == nullptr || !is_write(write->verb)))
        return "there is no write '" + read.value + "'";
    for (std::size_t i = 0; i < read.data.size(); ++i) {
        const std::uint64_t at = read.offset + i;
        const bool inside = zeros || (at >= write->offset && at < write->offset + write->data.size());
        if (!inside) return read.value + " did not write byte " + std::to_string(at);
        const std::byte expected = zeros ? std::byte{0} : write->data.data()[at - write->offset];
        if (read.data.data()[i] != expected) return "byte " + std::to_string(at) + " is not of " + read.value;
    }
    return {};
}

bool ScenarioRun::wait_for(std::size_t operation, const Step& step) {
    if (!run_until([&] { return operations_[operation].state != State::open; }, kPatience))
        return wrong("no answer:" + unrest());
    Operation& op = operations_[operation];
    op.awaited = true;
    const Status status = op.state == State::lost ? Status(fail(Errc::closed)) : op.status;
    const std::string came = status ? "done" : std::string(to_string(status.error().code));
    const bool well = step.fails ? !status && status.error().code == step.code.value_or(status.error().code)
                                 : status.has_value();
    return well ? true : wrong("the answer is " + came);
}

// ---- the end

bool ScenarioRun::final_checks() {
    trace_.say("here the story ends");
    trace_.release_all();
    wires_.heal();
    for (Node& node : nodes_) {
        if (!node.running) continue;
        world_.resume(*node.process);
        node.process->no_path.reset();
        for (unsigned i = 1; i < scenario_.shape.sharing.amfs; ++i) node.running->threads.hold_back(i, false);
    }
    const auto answered = [this] {
        return std::ranges::none_of(operations_, [](const Operation& op) { return op.state == State::open; });
    };
    if (!run_until(answered, kPatience)) return wrong("at the end operations still wait:" + unrest());
    for (const Operation& op : operations_) {
        if (op.awaited || op.state == State::lost || op.status) continue;
        return wrong("nobody expected that " + op.label +
                     " fails: " + std::string(to_string(op.status.error().code)));
    }
    if (!look_at_all("at the end")) return false;
    for (std::size_t i = 0; i < nodes_.size(); ++i) start(i);
    if (!look_at_all("when all are back")) return false;
    const auto at_rest = [this] { return left_over().empty(); };
    if (!run_until(at_rest, kPatience)) return wrong("something is left over: " + left_over());
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        nodes_[i].running->scope.spawn(leave(*this, i));
        if (!run_until([&] { return !nodes_[i].running; }, kPatience))
            return wrong("a controller does not stop in order");
    }
    return record_.holder == 0 ? true : wrong("the member store's lock was left taken");
}

/// Parity on the bare media, and what everybody reads.
bool ScenarioRun::look_at_all(const std::string& when) {
    if (!run_until([this] { return calm(); }, kPatience)) return wrong("no rest " + when + ":" + unrest());
    if (some_tables() == nullptr) return true;  // nobody is there
    const std::string bad = check_parity(*some_tables(), member_media());
    if (!bad.empty()) return wrong("parity " + when + ": " + bad);
    const std::string strange = check_checksums(*some_tables(), member_media());
    if (!strange.empty()) return wrong("checksums " + when + ": " + strange);
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        for (const Amf* of : amfs(i)) {
            if (of->conditions().quarantined_stripes > quarantined_)
                return wrong("stripes are quarantined " + when);
        }
    }
    return read_everything(when);
}

/// Of those who are at rest.
std::string ScenarioRun::left_over() {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        for (Amf* of : amfs(i)) {
            const std::string open = check_at_rest(*of);
            if (!open.empty()) return nodes_[i].process->name + " has " + open;
        }
    }
    return {};
}

/// Through every AMF of every living controller, all that may be there is what it should be.
bool ScenarioRun::read_everything(const std::string& when) {
    const std::uint64_t stripe = geometry_of(scenario_.shape).stripe_size();
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges = {{kExtentSize - kBlockSize, kBlockSize}};
    for (const auto& [name, place] : places_) {
        for (std::uint64_t at = 0; at < place.length; at += stripe)
            ranges.emplace_back(place.offset + at, stripe);
    }
    for (const Operation& op : operations_) {
        if (is_write(op.verb)) ranges.emplace_back(op.offset, std::min(op.data.size(), kMostRead));
    }
    for (Node& node : nodes_) {
        if (!node.running) continue;
        for (const auto& side : node.running->sides("v")) {
            if (!read_through(node, *side, ranges, node.process->name + " " + when)) return false;
        }
    }
    return true;
}

bool ScenarioRun::read_through(Node& node, Port& port,
                               const std::vector<std::pair<std::uint64_t, std::uint64_t>>& ranges,
                               const std::string& who) {
    for (const auto& [offset, length] : ranges) {
        const Content::Operation read = content_.read_begins(offset, length);
        const Buffer bytes(length);
        const auto done = std::make_shared<std::optional<Status>>();
        node.running->scope.spawn(into(port.read(offset, bytes.span()), done));
        const std::string where = who + ", byte " + std::to_string(offset);
        if (!run_until([&] { return done->has_value(); }, kPatience)) return wrong("no answer of " + where);
        if (!**done && quarantined_ != 0 && (*done)->error().code == Errc::io_error) continue;
        if (!**done) return wrong(where + ": " + std::string(to_string((*done)->error().code)));
        const std::string bad = content_.read_done(read, bytes.span());
        if (!bad.empty()) return wrong(where + ": " + bad);
    }
    return true;
}

/// It leaves in order, then its program ends.
Task<void> ScenarioRun::leave(ScenarioRun& run, std::size_t index) {
    Process* process = run.nodes_[index].process.get();
    co_await run.nodes_[index].running->controller.stop();
    run.world_.after(1us, [&world = run.world_, process] { world.crash(*process); });
}

// ---- all of it

ScenarioOutcome run_scenario(const Scenario& scenario, std::uint64_t seed) {
    const std::size_t memory = Buffer::bytes_in_use();
    ScenarioOutcome out;
    {
        World world(mix64(seed) ^ 0x5ce0a110ull);
        ScenarioRun run(world, scenario);
        out.failure = run.run();
        out.trace = run.trace().text();
        out.hash = world.hash();
        out.events = world.events();
        out.virtual_time = world.now();
    }
    if (out.failure.empty() && Buffer::bytes_in_use() != memory) out.failure = "buffers are left";
    return out;
}

}  // namespace braid::sim
