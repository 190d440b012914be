#include "amf/peer_trims.h"

#include <algorithm>

namespace braid {

// ---- frames

Message encode(const Uuid& group, const TrimsAsk& frame) {
    Message message{group, MessageType::trims_ask, {}, {}};
    Writer out(message.head);
    out.put(frame.number);
    out.put(static_cast<std::uint8_t>(frame.adds_up ? 1 : 0));
    out.put(static_cast<std::uint8_t>(frame.extents.size()));
    for (const ExtentIndex extent : frame.extents) out.put(extent);
    return message;
}

Message encode(const Uuid& group, const TrimsTold& frame) {
    Message message{group, MessageType::trims_told, {}, {}};
    Writer out(message.head);
    out.put(frame.number);
    out.put(static_cast<std::uint8_t>(frame.blocks.size()));
    for (const auto& [extent, blocks] : frame.blocks) {
        out.put(extent);
        for (std::size_t i = 0; i < blocks.size(); i += 8) {
            unsigned byte = 0;
            for (std::size_t bit = 0; bit < 8; ++bit) byte |= (blocks[i + bit] ? 1u : 0u) << bit;
            out.put(static_cast<std::uint8_t>(byte));
        }
    }
    return message;
}

Result<TrimsAsk> decode_trims_ask(const Message& message) {
    Reader in(message.head);
    TrimsAsk frame{in.get<std::uint64_t>()};
    const auto adds_up = in.get<std::uint8_t>();
    const std::size_t count = in.get<std::uint8_t>();
    if (adds_up > 1 || count == 0 || count > kMostTrimsAsked) return fail(Errc::corrupt);
    frame.adds_up = adds_up == 1;
    for (std::size_t i = 0; i < count; ++i) frame.extents.push_back(in.get<ExtentIndex>());
    const bool ascending =
        std::ranges::adjacent_find(frame.extents, std::greater_equal()) == frame.extents.end();
    if (!in.done() || !ascending || !message.payload.bytes.empty()) return fail(Errc::corrupt);
    return frame;
}

Result<TrimsTold> decode_trims_told(const Message& message) {
    Reader in(message.head);
    TrimsTold frame{in.get<std::uint64_t>(), {}};
    const std::size_t count = in.get<std::uint8_t>();
    if (count > kMostTrimsAsked) return fail(Errc::corrupt);
    for (std::size_t at = 0; at < count && in.ok(); ++at) {
        const auto extent = in.get<ExtentIndex>();
        if (!frame.blocks.empty() && extent <= frame.blocks.rbegin()->first) return fail(Errc::corrupt);
        ExtentBlocks& blocks = frame.blocks[extent];
        const auto bytes = in.raw(blocks.size() / 8);
        for (std::size_t i = 0; i < bytes.size() * 8; ++i)
            blocks[i] = (std::to_integer<unsigned>(bytes[i / 8]) >> i % 8 & 1) != 0;
        if (blocks.none()) return fail(Errc::corrupt);
    }
    if (!in.done() || !message.payload.bytes.empty()) return fail(Errc::corrupt);
    return frame;
}

// ---- questions

constexpr Nanos kPatience = 1s;

/// In the frame of the coroutine that waits.
struct PeerTrims::Question {
    Question(PeerTrims& p, std::set<AmfId> whom, const std::vector<ExtentIndex>& what)
        : peers(p), number(p.next_number_++), extents(what), waiting(std::move(whom)), over(p.executor_) {
        peers.open_[number] = this;
    }
    Question(const Question&) = delete;
    Question& operator=(const Question&) = delete;
    ~Question() { peers.open_.erase(number); }

    PeerTrims& peers;
    const std::uint64_t number;
    const std::vector<ExtentIndex>& extents;
    std::set<AmfId> waiting;
    Told told;
    Event over;
};

Task<PeerTrims::Told> PeerTrims::ask(std::set<AmfId> whom, std::vector<ExtentIndex> extents, bool adds_up) {
    if (whom.empty()) co_return Told{{}, true};
    Question question(*this, whom, extents);
    for (const AmfId peer : whom)
        transport_.send(peer, encode(group_, TrimsAsk{question.number, adds_up, extents}));
    // No host waits for what is added up.
    const Nanos patience = adds_up ? std::max(patience_, kPatience) : patience_;
    (void)co_await wait_until(question.over, clock_, clock_.now() + patience);
    question.told.by_all = question.waiting.empty();
    co_return std::move(question.told);
}

void PeerTrims::adopt() {
    for (const auto& [number, question] : open_) question->over.set();
}

bool PeerTrims::deliver(AmfId from, const Message& message) {
    const Result<TrimsTold> frame = decode_trims_told(message);
    if (!frame) return false;
    const auto place = open_.find(frame->number);
    if (place == open_.end()) return true;
    Question& question = *place->second;
    const auto asked = [&](const auto& told) {
        return std::ranges::binary_search(question.extents, told.first);
    };
    if (!question.waiting.contains(from) || !std::ranges::all_of(frame->blocks, asked)) return false;
    if (question.over.is_set()) return true;
    for (const auto& [extent, blocks] : frame->blocks) question.told.blocks[extent] |= blocks;
    question.waiting.erase(from);
    if (question.waiting.empty()) question.over.set();
    return true;
}

}  // namespace braid
