// A virtual disk of a group that this controller does not share, as a port sees it: the group's logical space
// is asked of an AMF elsewhere, operation by operation. Its extents begin at 0. What is larger than one
// message is done in pieces, one after the other, cut between blocks.
#pragma once

#include <algorithm>
#include <cstring>

#include "amf/group_space.h"
#include "forward/forward_client.h"

namespace braid {

class ForwardedSpace final : public GroupSpace {
public:
    /// `client` outlives it.
    ForwardedSpace(ForwardClient& client, VolumeId volume) : client_(client), volume_(volume) {}

    Task<Status> read(std::uint64_t offset, std::span<std::byte> into) override {
        while (!into.empty()) {
            const std::size_t size = piece(offset, into.size());
            ForwardRequest request = make(MessageType::forward_read, offset, size);
            CO_TRY_LET(const Slice data, co_await client_.perform(std::move(request)));
            std::memcpy(into.data(), data.bytes.data(), size);
            into = into.subspan(size);
            offset += size;
        }
        co_return Status{};
    }

    /// No errand passes on what is one.
    Task<Status> write(std::uint64_t offset, Slice data, bool fua, Errand = {}) override {
        // The far end may come to send it again: it must stay as it is, and there, until then.
        if (data.owner.empty()) data = Slice(Buffer::copy_of(data.bytes));
        std::span<const std::byte> left = data.bytes;
        while (!left.empty()) {
            const std::size_t size = piece(offset, left.size());
            ForwardRequest request = make(MessageType::forward_write, offset, size);
            request.fua = fua;
            request.data = Slice(data.owner, left.first(size));
            CO_TRY(co_await client_.perform(std::move(request)));
            left = left.subspan(size);
            offset += size;
        }
        co_return Status{};
    }

    Task<Status> write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_leave_hole, bool fua,
                              Errand = {}) override {
        ForwardRequest request = make(MessageType::forward_zeroes, offset, length);
        request.may_leave_hole = may_leave_hole;
        request.fua = fua;
        CO_TRY(co_await client_.perform(std::move(request)));
        co_return Status{};
    }

    Task<Status> flush() override {
        CO_TRY(co_await client_.perform(make(MessageType::forward_flush, 0, 0)));
        co_return Status{};
    }

    Task<Result<std::vector<AllocationRun>>> allocation(std::uint64_t offset, std::uint64_t length,
                                                        std::size_t most, AllocationDetail detail) override {
        ForwardRequest request = make(MessageType::forward_allocation, offset, length);
        request.runs = static_cast<std::uint16_t>(std::min<std::size_t>(most, UINT16_MAX));
        request.detail = detail;
        CO_TRY_LET(const Slice data, co_await client_.perform(request));
        auto runs = decode_runs(data.bytes, request);
        if (!runs) co_return fail(Errc::io_error);
        co_return std::move(*runs);
    }

private:
    static std::size_t piece(std::uint64_t offset, std::size_t left) {
        return std::min<std::size_t>(left, kMaxForwardData - offset % kBlockSize);
    }
    ForwardRequest make(MessageType type, std::uint64_t offset, std::uint64_t length) const {
        ForwardRequest request;
        request.type = type;
        request.volume = volume_;
        request.offset = offset;
        request.length = length;
        return request;
    }

    ForwardClient& client_;
    VolumeId volume_;
};

}  // namespace braid
