// Both kinds of arbitration with their clients, 2 to 6 AMFs on links of random delay, with crashes, joins,
// leaves and broken links: what must never happen is checked after every step, and after the last fault
// everybody must get what he waits for.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <variant>

#include "base/prng.h"
#include "lock/arbiter.h"
#include "lock/broadcast.h"
#include "lock/lock_client.h"

namespace braid {
namespace {

constexpr std::uint64_t kUnits[] = {0, 1, 2, 3, 64, 200, kTablesUnit.v};

/// Takes any of the waiting, by the ticket's hash: whoever relies on the order of the queue fails.
struct AnyOrder final : LockQueuePolicy {
    std::size_t next(std::span<const WaitingRequest> waiting) const override {
        std::size_t best = 0;
        const auto rank = [&](std::size_t i) {
            return mix64(waiting[i].ticket ^ std::uint64_t{waiting[i].who.v} << 40);
        };
        for (std::size_t i = 1; i < waiting.size(); ++i) {
            if (rank(i) < rank(best)) best = i;
        }
        return best;
    }
};
const AnyOrder any_order;

struct Op {
    LockWaiter waiter;
    bool pinned = false;
    std::uint32_t life = 0;
};

struct Node {
    Node(std::uint16_t number, LockClient::Options options, std::unique_ptr<Arbitration> kind)
        : id(number), arbitration(std::move(kind)), client(*arbitration, options) {}
    AmfId id;
    bool alive = true;
    bool leaving = false;
    std::size_t view = 0;  ///< index of the view it has adopted
    std::unique_ptr<Arbitration> arbitration;
    LockClient client;
    Incarnation incarnation;
    /// Versions of units that this node can give to readers: until it yields to a writer nobody writes.
    std::map<UnitIndex, std::uint64_t> copies;
    std::list<Op> ops;
    std::deque<LockClient::Prepare> preparing;
    std::deque<UnitIndex> recovering;
};

struct Packet {
    std::size_t view;
    std::variant<LockFrame, LockReport> content;
};

/// Live state of a write at its partners.
struct Record {
    UnitIndex unit;
    Node* writer;
    std::set<Node*> partners;
};

struct ViewOf {
    std::vector<AmfMember> members;
    std::map<std::uint16_t, Node*> nodes;
};

struct Totals {
    std::uint64_t pins = 0, waits = 0, recoveries = 0, views = 0, crashes = 0, dropped = 0, messages = 0;
    std::uint64_t data = 0;  ///< grants that brought some
    std::uint64_t late = 0;  ///< turns of a node that still had to carry something out
};

enum class Kind { arbiter, broadcast };

class Model {
public:
    Model(Kind kind, std::uint64_t seed) : kind_(kind), random_(seed) {
        const std::size_t limits[] = {0, 1, 3, 65536};
        options_.held_idle = limits[random_.below(4)];
        if (random_.chance(1, 3)) options_.min_hold = Nanos(static_cast<std::int64_t>(random_.below(100)));
        const LockQueuePolicy* const policies[] = {&any_order, &fifo_lock_queue(), &priority_lock_queue()};
        policy_ = policies[random_.below(3)];
        prefetches_ = random_.chance(1, 2);
        const std::uint64_t count = random_.between(2, 6);
        views_.push_back({});
        ViewOf first;
        for (std::uint64_t i = 1; i <= count; ++i) add(first, fresh_node());
        push_view(std::move(first));
    }

    Totals totals;

    /// False as soon as something is wrong; wrong() says what.
    bool run(int steps) {
        for (int i = 0; i < steps && wrong_.empty(); ++i) {
            step();
            check();
        }
        if (wrong_.empty()) calm();
        return wrong_.empty();
    }
    const std::string& wrong() const { return wrong_; }

private:
    // ---- membership

    Node& fresh_node() {
        std::unique_ptr<Arbitration> kind;
        if (kind_ == Kind::arbiter) {
            kind = std::make_unique<Arbiter>(*policy_);
        } else {
            kind = std::make_unique<Broadcast>();
        }
        const auto id = static_cast<std::uint16_t>(nodes_.size() + 1);
        nodes_.push_back(std::make_unique<Node>(id, options_, std::move(kind)));
        return *nodes_.back();
    }
    void add(ViewOf& view, Node& node) {
        view.members.push_back({node.id, Incarnation(views_.size())});
        view.nodes[node.id.v] = &node;
    }
    static void remove(ViewOf& view, const Node& node) {
        std::erase_if(view.members, [&](const AmfMember& m) { return m.id == node.id; });
        view.nodes.erase(node.id.v);
    }
    void push_view(ViewOf view) {
        std::sort(view.members.begin(), view.members.end());
        views_.push_back(std::move(view));
        ++totals.views;
    }
    bool in_last_view(const Node& node) const {
        const auto place = views_.back().nodes.find(node.id.v);
        return place != views_.back().nodes.end() && place->second == &node;
    }
    std::vector<Node*> live() const {
        std::vector<Node*> out;
        for (const auto& [id, node] : views_.back().nodes) {
            if (node->alive) out.push_back(node);
        }
        return out;
    }

    void adopt(Node& node, std::size_t index) {
        node.view = index;
        AmfView view{Epoch(index), node.id, views_[index].members};
        std::vector<LockClaim> claims;
        for (const Record& record : records_) {
            const bool writer_lives = views_[index].nodes.contains(record.writer->id.v);
            if (!writer_lives && record.partners.contains(&node)) {
                claims.push_back({record.unit, static_cast<std::uint8_t>(random_.below(3))});
            }
        }
        for (const AmfMember& member : view.members) {
            if (member.id != node.id || member.incarnation == node.incarnation) continue;
            node.incarnation = member.incarnation;
            node.copies.clear();
        }
        node.arbitration->adopt(view);
        node.client.adopt(view, claims);
        if (!view.contains(node.id)) {
            node.preparing.clear();
            node.recovering.clear();
        }
        drain(node);
    }

    void crash(Node& node) {
        node.alive = false;
        ++totals.crashes;
        for (Record& record : records_) record.partners.erase(&node);
        std::erase_if(records_, [](const Record& r) { return r.partners.empty() && !r.writer->alive; });
    }

    void change_membership() {
        ViewOf next = views_.back();
        for (const auto& [id, node] : views_.back().nodes) {
            if (!node->alive) remove(next, *node);
        }
        const bool died = next.members.size() != views_.back().members.size();
        const std::vector<Node*> all = live();
        switch (random_.below(7)) {
            case 0:
            case 6:
                if (next.members.size() < 6) add(next, fresh_node());
                break;
            case 1:  // one that left comes back
                for (const auto& node : nodes_) {
                    if (node->alive && !in_last_view(*node) && next.members.size() < 6) {
                        node->leaving = false;
                        add(next, *node);
                        break;
                    }
                }
                break;
            case 2:
                if (all.size() > 2 && random_.chance(1, 2)) all[random_.below(all.size())]->leaving = true;
                if (!died) return;
                break;
            case 3:
                break;  // a link broke
            default:
                if (all.size() > 1 && random_.chance(1, 2)) crash(*all[random_.below(all.size())]);
                if (!died) return;
        }
        if (!next.members.empty()) push_view(std::move(next));
    }

    void leave_if_quiet(Node& node) {
        const bool quiet = node.ops.empty() && node.recovering.empty() && node.view + 1 == views_.size();
        if (!node.leaving || !quiet || live().size() < 2) return;
        std::erase_if(records_, [&](const Record& r) { return r.writer == &node; });
        for (Record& record : records_) {
            if (record.partners.erase(&node) != 0 && record.partners.empty()) {
                record.partners.insert(live().front() == &node ? live().back() : live().front());
            }
        }
        ViewOf next = views_.back();
        remove(next, node);
        push_view(std::move(next));
        adopt(node, views_.size() - 1);
    }

    // ---- what nodes do

    void drain(Node& node) {
        LockClient::Outbox out = std::exchange(node.client.outbox(), {});
        for (LockWaiter* waiter : out.granted) {
            for (Op& op : node.ops) {
                if (&op.waiter == waiter) pinned(node, op, waiter->life);
            }
        }
        for (const auto& [to, report] : out.reports) {
            // In two frames, so that requests of others come between.
            const auto half = report.entries.begin() + static_cast<std::ptrdiff_t>(report.entries.size() / 2);
            post(node, to, LockReport{{report.entries.begin(), half}, false});
            post(node, to, LockReport{{half, report.entries.end()}, true});
        }
        if (!node.arbitration->routed()) {
            node.client.outbox().messages = std::exchange(out.messages, {});
        }
        for (const LockFrame& frame : out.messages) post(node, node.arbitration->arbiter(frame.unit), frame);
        for (LockSend& s : std::exchange(node.arbitration->outbox(), {})) {
            if (s.frame.type == MessageType::lock_yield) add_data(node, s.frame);
            post(node, s.to, s.frame);
        }
        for (const auto& prepare : out.prepare) node.preparing.push_back(prepare);
        for (const UnitIndex unit : out.recover) node.recovering.push_back(unit);
    }

    void post(Node& from, AmfId to, std::variant<LockFrame, LockReport> content) {
        Node* const target = views_[from.view].nodes.at(to.v);
        links_[{from.id.v, to.v}].push_back({from.view, std::move(content)});
        ASSERT_EQ(target->id, to);
        ++totals.messages;
    }

    /// Every request to read names a range, so one without is to write.
    static void add_data(Node& node, LockFrame& yield) {
        if (yield.range.length == 0) {
            node.copies.erase(yield.unit);
        } else if (const auto copy = node.copies.find(yield.unit); copy != node.copies.end()) {
            yield.data = Slice(Buffer::copy_of(std::as_bytes(std::span(&copy->second, 1))));
        }
    }
    void check_data(const LockFrame& grant) {
        if (grant.data.bytes.empty()) return;
        std::uint64_t version = 0;
        std::memcpy(&version, grant.data.bytes.data(), sizeof version);
        if (version != versions_[grant.unit]) wrong_ = "old data came with a grant";
        ++totals.data;
    }

    void pinned(Node& node, Op& op, std::uint32_t life) {
        op.pinned = true;
        op.life = life;
        ++totals.pins;
        if (op.waiter.mode == LockMode::write) ++versions_[op.waiter.unit];
        node.copies[op.waiter.unit] = versions_[op.waiter.unit];
        if (op.waiter.mode != LockMode::write || random_.chance(1, 8)) return;
        Record record{op.waiter.unit, &node, {}};
        for (Node* other : live()) {
            if (other != &node && random_.chance(1, 2)) record.partners.insert(other);
        }
        if (!record.partners.empty()) records_.push_back(record);
    }

    void start_op(Node& node) {
        if (node.ops.size() >= 4 || node.leaving) return;
        Op& op = node.ops.emplace_back();
        op.waiter.unit = UnitIndex(kUnits[random_.below(std::size(kUnits))]);
        op.waiter.mode = random_.chance(1, 2) ? LockMode::write : LockMode::read;
        op.waiter.range = {op.waiter.unit.v, sizeof(std::uint64_t)};
        op.waiter.background = random_.chance(1, 4);
        if (prefetches_ && op.waiter.unit != kTablesUnit)
            op.waiter.ahead = static_cast<std::uint8_t>(random_.below(5));
        if (node.client.try_pin(op.waiter.unit, op.waiter.mode)) {
            pinned(node, op, node.client.life());
        } else {
            ++totals.waits;
            node.client.wait(op.waiter);
        }
        drain(node);
    }

    void end_op(Node& node, bool only_pinned) {
        if (node.ops.empty()) return;
        const auto op =
            std::next(node.ops.begin(), static_cast<std::ptrdiff_t>(random_.below(node.ops.size())));
        if (op->pinned) {
            node.client.unpin(op->waiter.unit, op->life);
        } else {
            if (only_pinned) return;
            node.client.cancel(op->waiter);
        }
        // Whoever ends an operation may not call anybody: what that puts out is done a while later.
        if (random_.chance(1, 2)) drain(node);
        node.ops.erase(op);
    }

    void end_prepare(Node& node) {
        if (node.preparing.empty()) return;
        const LockClient::Prepare prepare = node.preparing.front();
        node.preparing.pop_front();
        std::erase_if(records_, [&](const Record& r) { return r.writer == &node && r.unit == prepare.unit; });
        node.client.release_prepared(prepare.unit, prepare.ticket);
        drain(node);
    }

    void end_recovery(Node& node) {
        if (node.recovering.empty()) return;
        const UnitIndex unit = node.recovering.front();
        node.recovering.pop_front();
        const auto& view = views_[node.view].nodes;
        std::erase_if(records_, [&](const Record& r) {
            return r.unit == unit && (r.writer == &node || !view.contains(r.writer->id.v));
        });
        ++totals.recoveries;
        ++versions_[unit];
        node.copies.erase(unit);
        node.client.recovered(unit);
        drain(node);
    }

    /// The first message of a link that the receiver can take.
    bool deliver_one(std::size_t start) {
        std::vector<std::pair<std::uint16_t, std::uint16_t>> keys;
        for (const auto& [key, queue] : links_) {
            if (!queue.empty()) keys.push_back(key);
        }
        for (std::size_t i = 0; i < keys.size(); ++i) {
            const auto key = keys[(start + i) % keys.size()];
            auto& queue = links_[key];
            Node& to = *nodes_[key.second - 1u];
            if (!to.alive || queue.front().view < to.view) {
                queue.pop_front();
                ++totals.dropped;
                return true;
            }
            if (queue.front().view > to.view) continue;
            const Packet packet = std::move(queue.front());
            queue.pop_front();
            take(to, AmfId(key.first), packet);
            return true;
        }
        return false;
    }

    void take(Node& to, AmfId from, const Packet& packet) {
        if (const auto* report = std::get_if<LockReport>(&packet.content)) {
            if (!to.arbitration->report(from, *report)) wrong_ = "a report came twice";
        } else {
            const LockFrame& frame = std::get<LockFrame>(packet.content);
            switch (frame.type) {
                case MessageType::lock_revoke:
                    to.client.revoked(frame, now_);
                    break;
                case MessageType::lock_grant:
                    if (from != to.id) to.arbitration->granted(frame);
                    if (to.client.awaits(frame)) check_data(frame);
                    if (!to.client.granted(frame, now_)) wrong_ = "a grant made no sense";
                    break;
                default:
                    if (!to.arbitration->take(from, frame)) wrong_ = "a message made no sense";
            }
        }
        drain(to);
    }

    void step() {
        const std::vector<Node*> all = live();
        if (all.empty()) return;
        Node& node = *all[random_.below(all.size())];
        now_ += 1ns;
        if (const auto due = node.client.next_due(); due && *due <= now_) {
            node.client.tick(now_);
            drain(node);
        }
        totals.late += node.client.outbox().empty() ? 0 : 1;
        const std::uint64_t draw = random_.below(1000);
        if (draw < 550) {
            deliver_one(random_.below(64));
        } else if (draw < 700) {
            if (in_view(node)) start_op(node);
        } else if (draw < 820) {
            end_op(node, draw < 810);
        } else if (draw < 900) {
            end_prepare(node);
        } else if (draw < 940) {
            end_recovery(node);
        } else if (draw < 990) {
            if (node.view + 1 < views_.size()) {
                adopt(node, random_.between(std::max(node.view + 1, joined(node)), views_.size() - 1));
            }
        } else if (draw < 995) {
            leave_if_quiet(node);
        } else {
            change_membership();
        }
    }
    bool in_view(const Node& node) const { return node.client.in_view(); }
    /// The first view of its present incarnation, or of its departure.
    std::size_t joined(const Node& node) const {
        for (const AmfMember& member : views_.back().members) {
            if (member.id == node.id) return member.incarnation.v;
        }
        return 0;
    }

    // ---- what must hold

    void check() {
        struct Holding {
            const Node* node;
            LockMode mode;
        };
        std::map<std::uint64_t, std::vector<Holding>> held;
        for (const Node* node : live()) {
            node->client.for_each_held(
                [&](UnitIndex u, LockMode mode) { held[u.v].push_back({node, mode}); });
            for (const Op& op : node->ops) check_pin(*node, op);
        }
        for (const auto& [unit, holdings] : held) {
            for (const Holding& h : holdings) {
                if (h.mode == LockMode::write && holdings.size() > 1) wrong_ = "a writer is not alone";
            }
        }
    }

    void check_pin(const Node& node, const Op& op) {
        if (!op.pinned || op.life != node.client.life()) return;
        bool covered = false;
        node.client.for_each_held([&](UnitIndex u, LockMode mode) {
            covered = covered || (u == op.waiter.unit && covers(mode, op.waiter.mode));
        });
        if (!covered) wrong_ = "a pin without a lock";
        for (const Record& record : records_) {
            if (record.unit == op.waiter.unit && !record.writer->alive)
                wrong_ = "a unit is used before its recovery";
        }
        const auto& recovering = node.recovering;
        if (std::find(recovering.begin(), recovering.end(), op.waiter.unit) != recovering.end()) {
            wrong_ = "a unit is used during its recovery";
        }
    }

    /// No more faults: everything comes to an end.
    void calm() {
        ViewOf last = views_.back();
        for (const auto& [id, node] : views_.back().nodes) {
            if (!node->alive) remove(last, *node);
        }
        push_view(std::move(last));
        for (Node* node : live()) adopt(*node, views_.size() - 1);
        come_to_rest();
        // Once more, and no view ends what was left open.
        for (int i = 0; i < 200 && wrong_.empty() && !live().empty(); ++i) {
            start_op(*live()[random_.below(live().size())]);
            for (std::uint64_t some = random_.below(4); some != 0; --some) deliver_one(random_.below(64));
            end_op(*live()[random_.below(live().size())], true);
            check();
        }
        come_to_rest();
    }

    void come_to_rest() {
        for (int round = 0; round < 20'000 && wrong_.empty(); ++round) {
            bool busy = deliver_one(random_.below(64));
            now_ += 200ns;
            for (Node* node : live()) {
                node->client.tick(now_);
                busy = busy || !node->client.outbox().empty();
                drain(*node);
                busy = busy || !node->ops.empty() || !node->preparing.empty() || !node->recovering.empty();
                end_op(*node, true);
                end_prepare(*node);
                end_recovery(*node);
            }
            check();
            if (!busy) {
                check_calm();
                return;
            }
        }
        if (wrong_.empty()) wrong_ = "somebody waits for ever";
    }

    void check_calm() {
        std::set<std::uint64_t> held;
        std::size_t arbitrated = 0;  // of the broadcast: what each node knows that it holds itself
        std::size_t holds = 0;
        for (const Node* node : live()) {
            node->client.for_each_held([&](UnitIndex u, LockMode) { held.insert(u.v); });
            holds += node->client.held();
            arbitrated += node->arbitration->units();
            if (!node->arbitration->thawed()) wrong_ = "an arbiter stays frozen";
            if (node->client.units() != node->client.held()) wrong_ = "a request is open though nobody waits";
        }
        if (arbitrated != (kind_ == Kind::arbiter ? held.size() : holds))
            wrong_ = "arbiters and clients disagree about what is held";
        for (const Record& record : records_) {
            if (!record.writer->alive) wrong_ = "an orphan is left";
        }
    }

    Kind kind_;
    Prng random_;
    LockClient::Options options_;
    bool prefetches_ = false;
    Nanos now_{};
    const LockQueuePolicy* policy_ = nullptr;
    std::vector<std::unique_ptr<Node>> nodes_;  ///< by id - 1
    std::vector<ViewOf> views_;
    std::map<std::pair<std::uint16_t, std::uint16_t>, std::deque<Packet>> links_;
    std::vector<Record> records_;
    std::map<UnitIndex, std::uint64_t> versions_;  ///< of the units' data
    std::string wrong_;
};

Totals run_models(Kind kind, std::uint64_t seeds) {
    Totals all;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        Model model(kind, seed);
        EXPECT_TRUE(model.run(3000)) << "seed " << seed << ": " << model.wrong();
        if (!model.wrong().empty()) break;
        all.pins += model.totals.pins;
        all.waits += model.totals.waits;
        all.recoveries += model.totals.recoveries;
        all.views += model.totals.views;
        all.crashes += model.totals.crashes;
        all.dropped += model.totals.dropped;
        all.messages += model.totals.messages;
        all.data += model.totals.data;
        all.late += model.totals.late;
    }
    EXPECT_GT(all.pins, 20'000u);
    EXPECT_GT(all.waits, 20'000u);
    EXPECT_GT(all.recoveries, 200u);
    EXPECT_GT(all.views, 1'000u);
    EXPECT_GT(all.crashes, 200u);
    EXPECT_GT(all.dropped, 2'000u);
    EXPECT_GT(all.late, 2'000u);
    std::printf(
        "pins %lu waits %lu recoveries %lu views %lu crashes %lu dropped %lu messages %lu data %lu late "
        "%lu\n",
        all.pins, all.waits, all.recoveries, all.views, all.crashes, all.dropped, all.messages, all.data,
        all.late);
    return all;
}

TEST(LockModel, ArbitersHaveNoTwoWritersAndNoLostWaiterUnderRandomFaults) { run_models(Kind::arbiter, 250); }

TEST(LockModel, BroadcastHasNoTwoWritersNoLostWaiterAndNoOldDataUnderRandomFaults) {
    EXPECT_GT(run_models(Kind::broadcast, 400).data, 1'000u);
}

}  // namespace
}  // namespace braid
