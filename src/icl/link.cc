#include "icl/link.h"

#include <algorithm>
#include <utility>

namespace braid {

Link::Link(Executor& executor, const Clock& clock, std::unique_ptr<ByteStream> stream)
    : since(clock.now()),
      heard_at(since),
      sent_at(since),
      executor_(executor),
      clock_(clock),
      stream_(std::move(stream)),
      reader_(executor, *stream_),
      wake_(executor),
      resume_(executor) {
    reader_.on_bytes([this](std::size_t got) {
        heard_at = clock_.now();
        ++counters_->received.packets;
        counters_->received.bytes += got;
    });
}

void Link::count_for(PeerCounters& counters) {
    counters.sent.add(early_.sent);
    counters.received.add(early_.received);
    ++counters.received.messages[static_cast<std::size_t>(MessageType::hello)];
    counters_ = &counters;
}

void Link::enqueue(Epoch epoch, Message message) {
    if (closed_) return;
    queued_bytes_ += size_of(message);
    queue_.push_back({epoch, std::move(message)});
    wake_.notify_all();
}

void Link::drop_older(Epoch epoch) {
    std::erase_if(queue_, [&](const Queued& q) {
        if (q.epoch >= epoch || is_link_type(q.message.type)) return false;
        queued_bytes_ -= size_of(q.message);
        return true;
    });
}

Task<Status> Link::say(Epoch epoch, Message message) {
    Bytes bytes;
    encode_frame(bytes, epoch, message);
    ++counters_->sent.messages[static_cast<std::size_t>(message.type)];
    ++counters_->sent.packets;
    counters_->sent.bytes += bytes.size();
    co_return co_await write_all(executor_, *stream_, bytes);
}

/// Takes the front of the queue into heads_, payloads_ and pieces_.
void Link::collect() {
    struct Part {
        std::size_t heads_end;
        std::span<const std::byte> payload;
    };
    std::vector<Part> parts;
    heads_.clear();
    pieces_.clear();
    std::size_t bytes = 0;
    for (std::size_t n = 0; n < kGatherFrames && !queue_.empty() && (n == 0 || bytes < kGatherBytes); ++n) {
        Queued queued = std::move(queue_.front());
        queue_.pop_front();
        const std::size_t size = size_of(queued.message);
        bytes += size;
        queued_bytes_ -= size;
        encode_frame(heads_, queued.epoch, queued.message);
        ++counters_->sent.messages[static_cast<std::size_t>(queued.message.type)];
        if (!queued.message.receipt.empty()) {
            receipts_.push_back(
                {queued.epoch,
                 {queued.message.group, MessageType::record_sent, std::move(queued.message.receipt), Slice(),
                  queued.message.to_index, queued.message.from_index}});
        }
        if (queued.message.payload.bytes.empty()) continue;
        parts.push_back({heads_.size(), queued.message.payload.bytes});
        payloads_.push_back(std::move(queued.message.payload));
    }
    // Only now heads_ stays where it is.
    std::size_t at = 0;
    for (const Part& part : parts) {
        pieces_.push_back(std::span<const std::byte>(heads_).subspan(at, part.heads_end - at));
        pieces_.push_back(part.payload);
        at = part.heads_end;
    }
    if (at < heads_.size()) pieces_.push_back(std::span<const std::byte>(heads_).subspan(at));
    ++counters_->sent.packets;
    counters_->sent.bytes += bytes;
}

Task<void> Link::write_queue() {
    while (!closed_) {
        if (queue_.empty()) {
            co_await wake_.next();
            continue;
        }
        writing_ = true;
        collect();
        sent_at = clock_.now();
        const Status sent = co_await write_pieces(executor_, *stream_, pieces_);
        payloads_.clear();
        writing_ = false;
        std::vector<Queued> receipts = std::exchange(receipts_, {});
        if (!sent) {
            close();
        } else if (sent_) {
            for (Queued& receipt : receipts) sent_(receipt.epoch, std::move(receipt.message));
        }
    }
}

void Link::close() {
    if (closed_) return;
    closed_ = true;
    queue_.clear();
    queued_bytes_ = 0;
    stream_->shutdown();
    wake_.notify_all();
    resume_.notify_all();
}

}  // namespace braid
