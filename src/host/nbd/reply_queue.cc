#include "host/nbd/reply_queue.h"

#include <utility>

#include "host/nbd/yield.h"

namespace braid::nbd {
namespace {

// Pieces of one call: below the kernel's limit of 1024.
constexpr std::size_t kMaxPieces = 512;
constexpr std::size_t kMaxHead = sizeof(ReplyHead::bytes);
constexpr std::size_t kHeadRoom = 1024 * kMaxHead;

}  // namespace

ReplyQueue::ReplyQueue(Executor& executor, Clock& clock, ByteStream& stream, Admission& admission)
    : executor_(executor), clock_(clock), stream_(stream), admission_(admission), work_(executor) {
    heads_.reserve(kHeadRoom);
}

void ReplyQueue::push(const ReplyHead& head, Slice data, std::size_t charge) {
    if (dead_) return admission_.leave(charge);
    queue_.push_back({head, std::move(data), charge});
    work_.notify_all();
}

void ReplyQueue::finish() {
    finishing_ = true;
    work_.notify_all();
}

Task<void> ReplyQueue::run() {
    while (true) {
        while (queue_.empty() && !finishing_) co_await work_.next();
        if (queue_.empty()) co_return;
        co_await Yield{executor_};  // what else completes in this turn goes along
        std::swap(queue_, batch_);
        batch_begin_ = batch_end_ = 0;
        while (batch_begin_ != batch_.size()) {
            if (!dead_) {
                gather();
                writing_since_ = clock_.now();
                dead_ = !co_await write_pieces(executor_, stream_, pieces_);
                writing_since_ = Nanos{};
                if (dead_) stream_.shutdown();
            } else {
                batch_end_ = batch_.size();
            }
            recycle();
        }
        batch_.clear();
    }
}

// Heads that follow each other without data between them become one piece.
void ReplyQueue::gather() {
    pieces_.clear();
    heads_.clear();
    bool head_is_last = false;
    while (batch_end_ != batch_.size() && pieces_.size() + 2 <= kMaxPieces &&
           heads_.size() + kMaxHead <= kHeadRoom) {
        const Reply& reply = batch_[batch_end_++];
        const std::byte* head = heads_.data() + heads_.size();  // stays in place: the room is reserved
        heads_.insert(heads_.end(), reply.head.bytes.begin(), reply.head.bytes.begin() + reply.head.size);
        if (head_is_last) {
            pieces_.back() = {pieces_.back().data(), pieces_.back().size() + reply.head.size};
        } else {
            pieces_.emplace_back(head, reply.head.size);
        }
        head_is_last = reply.data.bytes.empty();
        if (!head_is_last) pieces_.push_back(reply.data.bytes);
    }
}

// The data goes back to its pool at once, the room for the reply at the end of the batch.
void ReplyQueue::recycle() {
    for (; batch_begin_ != batch_end_; ++batch_begin_) {
        Reply& reply = batch_[batch_begin_];
        reply.data = Slice();
        admission_.leave(reply.charge);
    }
}

}  // namespace braid::nbd
