#include "cache/peer_cache.h"

#include <cstring>

namespace braid {

/// In the frame of the coroutine that waits.
struct PeerCache::Question {
    Question(PeerCache& p, AmfId whom, std::span<std::byte> where)
        : peers(p), number(p.next_number_++), holder(whom), into(where), answered(p.executor_) {
        peers.open_[number] = this;
    }
    Question(const Question&) = delete;
    Question& operator=(const Question&) = delete;
    ~Question() { peers.open_.erase(number); }

    PeerCache& peers;
    const std::uint64_t number;
    const AmfId holder;
    const std::span<std::byte> into;
    Answer answer = Answer::not_here;
    Event answered;
};

Task<PeerCache::Answer> PeerCache::fetch(AmfId holder, std::uint64_t at, std::span<std::byte> into,
                                         std::uint32_t generation) {
    Question question(*this, holder, into);
    const CacheFetch frame{question.number, at, static_cast<std::uint32_t>(into.size()), generation};
    transport_.send(holder, encode(group_, frame));
    (void)co_await wait_until(question.answered, clock_, clock_.now() + patience_);
    co_return question.answer;
}

void PeerCache::adopt() {
    for (const auto& [number, question] : open_) question->answered.set();
}

bool PeerCache::deliver(AmfId from, const Message& message) {
    const Result<CacheData> frame = decode_cache_data(message);
    if (!frame) return false;
    const auto place = open_.find(frame->number);
    if (place == open_.end()) return true;
    Question& question = *place->second;
    const std::span<const std::byte> data = frame->data.bytes;
    if (from != question.holder || (!data.empty() && data.size() != question.into.size())) return false;
    if (question.answered.is_set()) return true;
    if (!data.empty()) {
        std::memcpy(question.into.data(), data.data(), data.size());
        question.answer = Answer::here;
    }
    question.answered.set();
    return true;
}

}  // namespace braid
