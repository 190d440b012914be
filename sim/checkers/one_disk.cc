#include "sim/checkers/one_disk.h"

#include <algorithm>

namespace braid::sim {

OneDisk::Value& OneDisk::value_of(Register& values, std::uint64_t value) {
    if (!values.contains(0)) {
        Value& initial = values[0];
        initial.written = true;
        initial.write_invoked = initial.last_invocation = -2;
        initial.first_completion = -1;
    }
    return values[value];
}

void OneDisk::write_begins(std::uint64_t sector, std::uint64_t value, Instant invoked) {
    Value& v = value_of(registers_[sector], value);
    v.written = true;
    v.write_invoked = invoked;
    v.last_invocation = std::max(v.last_invocation, invoked);
    ++operations_;
}

void OneDisk::write_done(std::uint64_t sector, std::uint64_t value, Instant completed) {
    Value& v = value_of(registers_[sector], value);
    v.first_completion = std::min(v.first_completion, completed);
}

void OneDisk::read(std::uint64_t sector, std::uint64_t value, Instant invoked, Instant completed) {
    Value& v = value_of(registers_[sector], value);
    v.first_completion = std::min(v.first_completion, completed);
    v.first_read_completion = std::min(v.first_read_completion, completed);
    v.last_invocation = std::max(v.last_invocation, invoked);
    ++v.reads;
    ++operations_;
}

std::string OneDisk::judge_register(const Register& values) {
    struct Zone {
        std::uint64_t value;
        Instant low, high;
        bool forward;
    };
    std::vector<Zone> zones;
    for (const auto& [value, v] : values) {
        if (!v.written) return "value " + std::to_string(value) + " was read and never written";
        if (v.first_read_completion < v.write_invoked) {
            return "value " + std::to_string(value) + " was read before it was written";
        }
        if (v.first_completion == kNever) continue;  // never answered, never seen
        const bool forward = v.first_completion < v.last_invocation;
        zones.push_back({value, std::min(v.first_completion, v.last_invocation),
                         std::max(v.first_completion, v.last_invocation), forward});
    }
    std::sort(zones.begin(), zones.end(), [](const Zone& a, const Zone& b) {
        return std::pair(a.low, a.value) < std::pair(b.low, b.value);
    });
    // Sweep by start: the forward zone that reaches furthest is the only one that a later zone can break.
    const Zone* open = nullptr;
    for (const Zone& zone : zones) {
        if (open != nullptr && zone.low < open->high) {
            if (zone.forward) {
                return "values " + std::to_string(open->value) + " and " + std::to_string(zone.value) +
                       " come and go (forward zones overlap)";
            }
            if (zone.high < open->high) {
                return "value " + std::to_string(open->value) + " was read after " + std::to_string(zone.value) +
                       " had replaced it";
            }
        }
        if (zone.forward && (open == nullptr || zone.high > open->high)) open = &zone;
    }
    return {};
}

std::string OneDisk::judge() const {
    for (const auto& [sector, values] : registers_) {
        const std::string wrong = judge_register(values);
        if (!wrong.empty()) return "sector " + std::to_string(sector) + ": " + wrong;
    }
    return {};
}

}  // namespace braid::sim
