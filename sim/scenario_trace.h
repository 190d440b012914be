// The trace of a scenario as lines that people can read, and the hand that makes what they name wait.
//
//   a > b lock_request X write     a sends it            b < a lock_request X write     it reaches b
//   a reads X/d0, a writes X/P     commands begin        a read X/d0, a wrote X/P       they are done
//
// Controllers are a, b, ...; X is a place of the scenario: a lock unit, and its first stripe (X#1 the next);
// X+0, X+4K the lock units of its blocks, by their first byte;
// X/d0 the strips with its data, X/P, X/Q, X/R those with its parity (for a mirror: further copies), X/s0,
// X/s1 the copies of its checksums. What has
// no name is `17`, whatever stands before the data `tables`. Words that begin with + are special: +release
// (let it go when done), +recover, +of a (a record of a dead writer), +for a (finishes one).
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "replica/record.h"
#include "sim/node.h"
#include "sim/tap.h"

namespace braid::sim {

/// lock, record, disk: about places; other: the same about what has no name; table: messages of the tables,
/// their locks too; tables: disk commands there; report, link, arrival.
bool is_trace_kind(std::string_view kind);
bool is_message_name(std::string_view name);
std::optional<unsigned> role_of_name(std::string_view name, const Geometry& geometry);

class Trace final : public Tap {
public:
    struct Line {
        Nanos at{};
        std::string_view kind;
        std::string text;
    };

    Trace(World& world, const Shape& shape);
    ~Trace() override;

    // ---- what things are called
    void name_place(std::string name, UnitIndex unit) { places_[unit.v] = std::move(name); }
    /// From now on commands at data are told by stripe and strip: by what somebody's tables say, null for
    /// none.
    void use_tables(std::function<const Tables*()> tables) { tables_ = std::move(tables); }

    const std::vector<Line>& lines() const { return lines_; }
    /// A remark of the scenario itself.
    void say(std::string text);
    std::string text() const;

    // ---- what waits
    void hold(std::vector<std::string> pattern) { held_.push_back(std::move(pattern)); }
    /// False: it was not held.
    bool release(const std::vector<std::string>& pattern) { return std::erase(held_, pattern) != 0; }
    void release_all() { held_.clear(); }

    // ---- Tap
    std::size_t frame_length(std::span<const std::byte> bytes) override;
    void sent(const Process& from, const Process& to, std::span<const std::byte> frame) override;
    bool holds(const Process& from, const Process& to, std::span<const std::byte> frame) override;
    void arrives(const Process& from, const Process& to, std::span<const std::byte> frame) override;
    void begins(const Process& process, std::uint64_t member, const DiskOp& op) override;
    bool holds(const Process& process, std::uint64_t member, const DiskOp& op) override;
    void done(const Process& process, std::uint64_t member, const DiskOp& op) override;

private:
    struct Known {
        StripeIndex stripe;
        AmfId root;  ///< whose host write it is
    };
    std::string frame_text(const Process& from, const Process& to, std::string_view arrow,
                           std::span<const std::byte> frame, std::string_view& kind);
    std::string lock_text(const Message& message, std::string_view& kind) const;
    std::string report_text(const Message& message) const;
    std::string cache_text(const Message& message, AmfId asker, std::string_view& kind);
    std::string ports_text(const Message& message) const;
    std::string forward_text(const Message& message, AmfId asker, std::string_view& kind);
    std::string record_text(const Message& message, AmfId from, AmfId to);
    std::string completion_text(const Message& message) const;
    std::string record_name(const RecordId& id, AmfId writer) const;
    std::string command_text(const Process& process, std::uint64_t member, const DiskOp& op, bool done,
                             std::string_view& kind) const;
    std::string unit_name(UnitIndex unit) const;
    std::string stripe_name(StripeIndex stripe) const;
    std::string checksums_of(ExtentIndex extent, ZonePosition position, std::uint64_t offset) const;
    std::string place_of(std::uint64_t member, std::uint64_t offset) const;
    bool is_held(const std::string& text) const;
    void add(std::string_view kind, std::string text);

    World& world_;
    Geometry geometry_;
    UnitMap units_;
    std::function<const Tables*()> tables_ = [] { return nullptr; };
    std::map<std::uint64_t, std::string> places_;  ///< by unit
    std::map<RecordId, Known> records_;
    std::map<std::pair<AmfId, std::uint64_t>, StripeIndex> fetches_;    ///< by asker and number
    std::map<std::pair<AmfId, std::uint64_t>, std::string> forwarded_;  ///< the same; what it is about
    std::vector<std::vector<std::string>> held_;
    std::vector<Line> lines_;
};

}  // namespace braid::sim
