#include "sim/checkers/one_disk.h"

#include <algorithm>
#include <bit>
#include <concepts>

namespace braid::sim {

OneDisk::Page& OneDisk::page(std::uint64_t number) {
    if (number != last_number_) {
        auto& page = pages_[number];
        if (!page) page = std::make_unique<Page>();
        last_number_ = number;
        last_page_ = page.get();
    }
    return *last_page_;
}

void OneDisk::Page::split(std::size_t at) {
    std::size_t word = at / 64;
    const std::uint64_t bit = 1ull << at % 64;
    if ((begins[word] & bit) != 0) return;
    std::uint64_t before = begins[word] & (bit - 1);
    while (before == 0) before = begins[--word];
    registers[at] = registers[word * 64 + static_cast<std::size_t>(std::bit_width(before)) - 1];
    begins[at / 64] |= bit;
}

std::size_t OneDisk::Page::next(std::size_t at) const {
    for (++at; at < kPage; at = (at / 64 + 1) * 64) {
        const std::uint64_t rest = begins[at / 64] >> at % 64;
        if (rest != 0) return at + static_cast<std::size_t>(std::countr_zero(rest));
    }
    return kPage;
}

template <class Each>
void OneDisk::for_each(Sectors sectors, const Each& each) {
    const std::uint64_t end = sectors.first + sectors.count;
    for (std::uint64_t from = sectors.first; from < end;) {
        Page& here = page(from / kPage);
        std::size_t at = from % kPage;
        const auto to = static_cast<std::size_t>(std::min<std::uint64_t>(kPage, at + (end - from)));
        here.split(at);
        if (to < kPage) here.split(to);
        from += to - at;
        for (std::size_t next = at; at < to; at = next) {
            next = here.next(at);
            if constexpr (std::invocable<Each, Register&, std::size_t>) {
                each(here.registers[at], next - at);
            } else {
                each(here.registers[at]);
            }
        }
    }
}

OneDisk::Value& OneDisk::value_of(Register& values, std::uint64_t value) {
    if (values.empty()) {
        Value initial;
        initial.written = true;
        initial.write_invoked = initial.last_invocation = -2;
        initial.first_completion = -1;
        values.push_back(initial);
    }
    if (values.back().value == value) return values.back();
    if (values.back().value < value) {
        if (values.size() == values.capacity()) values.reserve(4 * values.size());
        values.emplace_back().value = value;
        return values.back();
    }
    auto place = std::ranges::lower_bound(values, value, {}, &Value::value);
    if (place->value != value) {
        place = values.insert(place, Value{});
        place->value = value;
    }
    return *place;
}

void OneDisk::write_begins(Sectors sectors, std::uint64_t value, Instant invoked) {
    for_each(sectors, [&](Register& values) {
        Value& v = value_of(values, value);
        v.written = true;
        v.write_invoked = invoked;
        v.last_invocation = std::max(v.last_invocation, invoked);
    });
    operations_ += sectors.count;
}

void OneDisk::write_done(Sectors sectors, std::uint64_t value, Instant completed, bool durable) {
    for_each(sectors, [&](Register& values) {
        Value& v = value_of(values, value);
        v.write_completion = completed;
        v.durable = durable;
        v.first_completion = std::min(v.first_completion, completed);
    });
}

void OneDisk::may_repeat(Sectors sectors, std::uint64_t value) {
    for_each(sectors, [&](Register& values) { value_of(values, value).repeats = true; });
}

void OneDisk::perhaps_lost(Sectors sectors, std::uint64_t value) {
    for_each(sectors, [&](Register& values) { value_of(values, value).perhaps_lost = true; });
}

void OneDisk::not_lost(Sectors sectors, std::uint64_t value) {
    for_each(sectors, [&](Register& values) { value_of(values, value).perhaps_lost = false; });
}

bool OneDisk::seen(Sectors sectors, std::uint64_t value) {
    bool out = false;
    for_each(sectors, [&](Register& values) { out |= value_of(values, value).reads != 0; });
    return out;
}

std::uint64_t OneDisk::gone(Sectors sectors, std::uint64_t value) {
    std::uint64_t out = 0;
    for_each(sectors, [&](Register& values, std::size_t count) {
        const Value& v = value_of(values, value);
        const bool older_seen = std::ranges::any_of(values, [&](const Value& older) {
            const bool before = older.value == 0 || older.write_completion < v.write_invoked;
            return older.reads != 0 && before && last_invocation(older) > v.write_completion;
        });
        out += older_seen ? count : 0;
    });
    return out;
}

void OneDisk::read(Sectors sectors, std::uint64_t value, Instant invoked, Instant completed) {
    for_each(sectors, [&](Register& values) {
        // Before the first write was invoked: contradicts nothing that may come.
        if (value == 0 && values.empty()) return;
        Value& v = value_of(values, value);
        const bool open = !v.survivor && invoked < v.write_completion;
        Instant& first = open ? v.open_completion : v.first_completion;
        Instant& last = open ? v.open_invocation : v.last_invocation;
        first = v.survivor ? power_back_ - 1 : std::min(first, completed);
        last = std::max(last, invoked);
        v.first_read_completion = std::min(v.first_read_completion, completed);
        ++v.reads;
    });
    operations_ += sectors.count;
}

std::string OneDisk::judge_register(const Register& values) {
    struct Zone {
        std::uint64_t value;
        Instant low, high;
        bool forward;
    };
    std::vector<Zone> zones;
    const Value* survived = nullptr;
    for (const Value& v : values) {
        const std::uint64_t value = v.value;
        if (v.survivor && v.reads != 0) {
            if (survived != nullptr) {
                return "values " + std::to_string(survived->value) + " and " + std::to_string(value) +
                       " were both read after power came back";
            }
            survived = &v;
        }
        if (!v.written) return "value " + std::to_string(value) + " was read and never written";
        if (v.first_read_completion < v.write_invoked) {
            return "value " + std::to_string(value) + " was read before it was written";
        }
        const Instant first = first_completion(v), last = last_invocation(v);
        if (first == kNever || lost(v)) continue;  // never seen, and not answered, or gone since
        zones.push_back({value, std::min(first, last), std::max(first, last), first < last});
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
                return "value " + std::to_string(open->value) + " was read after " +
                       std::to_string(zone.value) + " had replaced it";
            }
        }
        if (zone.forward && (open == nullptr || zone.high > open->high)) open = &zone;
    }
    return {};
}

/// What a sector may hold afterwards: whatever was not surely replaced by something durable.
void OneDisk::power_lost(Instant now) {
    if (broken_.empty()) broken_ = judge();
    for (auto& [number, page] : pages_) {
        for (Register& values : page->registers) {
            if (values.empty()) continue;
            const bool known =
                std::ranges::any_of(values, [](const Value& v) { return v.survivor && v.reads != 0; });
            Instant replaced = std::numeric_limits<Instant>::min();  // what ended before this is gone
            for (const Value& v : values) {
                const bool durable = !lost(v) && (v.durable || v.write_completion <= last_flush_);
                if (durable && v.write_completion != kNever) replaced = std::max(replaced, v.write_invoked);
            }
            std::erase_if(values, [&](const Value& v) {
                return (first_completion(v) < replaced && !lost(v)) || (v.survivor && known && v.reads == 0);
            });
            for (Value& v : values) {
                const std::uint64_t value = v.value;
                v = Value{};
                v.value = value;
                v.written = v.survivor = true;
                v.write_invoked = v.last_invocation = now - 2;
            }
        }
    }
    power_back_ = now;
    last_flush_ = std::numeric_limits<Instant>::min();
}

std::string OneDisk::judge() const {
    if (!broken_.empty()) return broken_;
    for (const auto& [number, page] : pages_) {
        for (std::size_t i = 0; i < kPage; ++i) {
            const std::string wrong = judge_register(page->registers[i]);
            if (wrong.empty()) continue;
            return "sector " + std::to_string(number * kPage + i) + ": " + wrong;
        }
    }
    return {};
}

}  // namespace braid::sim
