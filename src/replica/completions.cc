#include "replica/completions.h"

#include <algorithm>

namespace braid {

/// Whoever is alive has a memory, nobody else.
void Completions::keep(std::span<const ControllerStart> alive) {
    std::erase_if(memories_,
                  [&](const auto& memory) { return std::ranges::find(alive, memory.first) == alive.end(); });
    for (const ControllerStart& who : alive) memories_.try_emplace(who);
}

void Completions::pass(Memory& memory, std::uint64_t watermark) {
    memory.watermark = std::max(memory.watermark, watermark);
    memory.errands.erase(memory.errands.begin(), memory.errands.lower_bound(memory.watermark));
}

void Completions::note(const Completion& done) {
    const auto known = memories_.find(done.errand.who);
    if (known == memories_.end()) return;
    Memory& memory = known->second;
    pass(memory, done.errand.watermark);
    if (done.errand.number < memory.watermark) return;
    Bytes& bytes = memory.errands[done.errand.number];
    std::uint64_t begin = done.begin, end = done.end;
    auto at = bytes.upper_bound(begin);
    if (at != bytes.begin() && std::prev(at)->second >= begin) --at;
    while (at != bytes.end() && at->first <= end) {
        begin = std::min(begin, at->first);
        end = std::max(end, at->second);
        at = bytes.erase(at);
    }
    bytes.emplace(begin, end);
}

Completions::Run Completions::knows(const Completion& bytes) const {
    const Run nothing{false, bytes.end};
    const auto memory = memories_.find(bytes.errand.who);
    if (memory == memories_.end()) return nothing;
    const auto errand = memory->second.errands.find(bytes.errand.number);
    if (errand == memory->second.errands.end()) return nothing;
    const auto after = errand->second.upper_bound(bytes.begin);
    if (after != errand->second.begin() && std::prev(after)->second > bytes.begin)
        return {true, std::min(std::prev(after)->second, bytes.end)};
    return after == errand->second.end() ? nothing : Run{false, std::min(after->first, bytes.end)};
}

std::size_t Completions::size() const {
    std::size_t out = 0;
    for (const auto& [who, memory] : memories_) {
        for (const auto& [number, bytes] : memory.errands) out += bytes.size();
    }
    return out;
}

// ---- the view

void Completions::adopt(const AmfView& view, bool fenced) {
    fenced_ = fenced;
    others_.clear();
    for (const AmfMember& member : view.members) {
        if (member.id != view.self) others_.insert(member.id);
    }
    if (!fenced_) {
        for (Asking& asking : asking_) send(asking, others_);
    }
    answered_.notify_all();
}

/// Whoever held them with us may have left.
void Completions::hand_on(const AmfSet& partners) {
    handing_.waiting.clear();
    std::vector<Completion> all;
    for (const auto& [who, memory] : memories_) {
        for (const auto& [number, bytes] : memory.errands) {
            for (const auto& [begin, end] : bytes)
                all.push_back({{who, number, memory.watermark}, begin, end});
        }
    }
    if (all.empty()) return;
    for (std::size_t at = 0; at < all.size(); at += CompletionTell::kMost) {
        const std::size_t count = std::min(CompletionTell::kMost, all.size() - at);
        const auto first = all.begin() + static_cast<std::ptrdiff_t>(at);
        const CompletionTell tell{0, {first, first + static_cast<std::ptrdiff_t>(count)}};
        for (const AmfId partner : partners) transport_.send(partner, encode(group_, tell));
    }
    handing_.ask.ticket = next_ticket_++;
    send(handing_, partners);
}

Task<void> Completions::handed_on() {
    while (!fenced_ && !handing_.waiting.empty()) co_await answered_.next();
}

// ---- questions

void Completions::send(Asking& asking, const AmfSet& to) {
    asking.waiting = to;
    for (const AmfId id : to) transport_.send(id, encode(group_, asking.ask));
}

Task<Status> Completions::learn(Completion about) {
    const std::uint64_t ticket = next_ticket_++;
    asking_.push_back({{ticket, about}, {}});
    send(asking_.back(), others_);
    while (true) {
        const auto mine = std::ranges::find(asking_, ticket, [](const Asking& a) { return a.ask.ticket; });
        if (fenced_ || mine->waiting.empty()) {
            asking_.erase(mine);
            break;
        }
        co_await answered_.next();
    }
    if (fenced_) co_return fail(Errc::fenced);
    // What was known is forgotten, and nobody waits for the rest.
    if (!memories_.contains(about.errand.who)) co_return fail(Errc::cancelled);
    co_return Status{};
}

bool Completions::deliver(AmfId from, const Message& message) {
    if (message.type == MessageType::completion_ask) {
        const Result<CompletionAsk> ask = decode_completion_ask(message);
        if (ask) answer(from, *ask);
        return ask.has_value();
    }
    const Result<CompletionTell> tell = decode_completion_tell(message);
    if (!tell) return false;
    for (const Completion& known : tell->known) note(known);
    const auto heard = [&](Asking& asking) {
        if (asking.ask.ticket != tell->ticket || !asking.waiting.erase(from)) return;
        if (asking.waiting.empty()) answered_.notify_all();
    };
    std::ranges::for_each(asking_, heard);
    heard(handing_);
    return true;
}

void Completions::answer(AmfId to, const CompletionAsk& ask) {
    CompletionTell tell{ask.ticket, {}};
    const Completion& about = ask.about;
    const auto memory = memories_.find(about.errand.who);
    if (about.errand && memory != memories_.end()) {
        const auto errand = memory->second.errands.find(about.errand.number);
        if (errand != memory->second.errands.end()) {
            for (const auto& [begin, end] : errand->second) {
                if (begin < about.end && about.begin < end && tell.known.size() < CompletionTell::kMost)
                    tell.known.push_back({about.errand, begin, end});
            }
        }
    }
    transport_.send(to, encode(group_, tell));
}

}  // namespace braid
