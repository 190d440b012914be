#include "host/nbd/intake.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "host/nbd/yield.h"

namespace braid::nbd {
namespace {

// A payload's rest of this size or more is received in its place; below, one receive that also brings the
// next requests is cheaper than the copy.
constexpr std::size_t kReceiveInPlace = 32u << 10;

// After a large payload probably comes another one: receiving little beyond its head spares most of the copy.
constexpr std::size_t kHeadOfLarge = 4096;

}  // namespace

Task<Result<std::size_t>> Intake::receive(std::span<std::byte> into) {
    read_some more(executor_, stream_, into);
    // A peer that always has something for us must not keep the thread for itself.
    if (more.await_ready()) co_await Yield{executor_};
    const Result<std::size_t> got = co_await more;
    if (got && *got == 0) co_return fail(Errc::closed);
    co_return got;
}

void Intake::begin_with(std::span<const std::byte> bytes) {
    grow(bytes.size());
    std::ranges::copy(bytes, buffer_.data());
    end_ = bytes.size();
}

void Intake::move_to_front() {
    if (begin_ != end_) std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
}

Task<Status> Intake::refill() {
    // What is left is a part of one request at most: moving it keeps the receives large.
    if (begin_ == end_ || buffer_.size() - end_ < buffer_.size() / 2) move_to_front();
    const std::size_t room = buffer_.size() - end_;
    const std::size_t most = std::exchange(after_large_, false) ? std::min(room, kHeadOfLarge) : room;
    const Result<std::size_t> got = co_await receive(buffer_.span(end_, most));
    if (!got) co_return std::unexpected(got.error());
    end_ += *got;
    co_return Status{};
}

Task<Status> Intake::need(std::size_t count) {
    ASSERT(count <= buffer_.size());
    if (begin_ + count > buffer_.size()) move_to_front();
    while (end_ - begin_ < count) CO_TRY(co_await refill());
    co_return Status{};
}

std::size_t Intake::take(std::span<std::byte> into) {
    const std::size_t count = std::min(into.size(), end_ - begin_);
    if (count != 0) std::memcpy(into.data(), buffer_.data() + begin_, count);
    begin_ += count;
    return count;
}

Task<Status> Intake::read_rest(std::span<std::byte> into) {
    after_large_ = false;
    while (!into.empty()) {
        if (after_large_ || into.size() >= kReceiveInPlace) {
            after_large_ = true;
            const Result<std::size_t> got = co_await receive(into);
            if (!got) co_return std::unexpected(got.error());
            into = into.subspan(*got);
        } else {
            CO_TRY(co_await refill());
            into = into.subspan(take(into));
        }
    }
    co_return Status{};
}

Task<Status> Intake::skip(std::uint64_t count) {
    while (true) {
        const std::size_t here = static_cast<std::size_t>(std::min<std::uint64_t>(count, end_ - begin_));
        begin_ += here;
        count -= here;
        if (count == 0) co_return Status{};
        CO_TRY(co_await refill());
    }
}

void Intake::grow(std::size_t capacity) {
    if (capacity <= buffer_.size()) return;
    Buffer larger(capacity);
    std::memcpy(larger.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    buffer_ = std::move(larger);
}

}  // namespace braid::nbd
