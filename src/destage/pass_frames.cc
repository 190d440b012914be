#include "destage/pass_frames.h"

namespace braid {

Message encode(const Uuid& group, const DirtyPass& frame) {
    Message message{group, MessageType::dirty_pass, {}, frame.content};
    Writer out(message.head);
    out.put(frame.number);
    out.put(frame.unit);
    out.put(static_cast<std::uint64_t>(frame.age.count()));
    out.put(static_cast<std::uint32_t>(frame.pieces.size()));
    for (const DirtyPass::Piece& piece : frame.pieces) {
        out.put(piece.stripe);
        out.put(piece.generation);
        out.put(piece.offset);
        out.put(piece.length);
    }
    return message;
}

Message encode(const Uuid& group, const DirtyTaken& frame) {
    Message message{group, MessageType::dirty_taken, {}, {}};
    Writer out(message.head);
    out.put(frame.number);
    out.put(static_cast<std::uint8_t>(frame.ok ? 1 : 0));
    return message;
}

Result<DirtyPass> decode_dirty_pass(const Message& message) {
    Reader in(message.head);
    DirtyPass frame{in.get<std::uint64_t>(), in.get<std::uint64_t>()};
    const auto age = in.get<std::uint64_t>();
    const auto count = in.get<std::uint32_t>();
    const bool sane = age <= static_cast<std::uint64_t>(Nanos::max().count()) && count != 0 &&
                      count <= DirtyPass::kMaxPieces;
    if (!sane) return fail(Errc::corrupt);
    frame.age = Nanos(static_cast<Nanos::rep>(age));
    std::uint64_t bytes = 0;
    for (std::uint32_t i = 0; i < count && in.ok(); ++i) {
        const DirtyPass::Piece piece{in.get<StripeIndex>(), in.get<std::uint32_t>(), in.get<std::uint32_t>(),
                                     in.get<std::uint32_t>()};
        if (piece.length == 0 || piece.length % kBlockSize != 0 || piece.offset % kBlockSize != 0) in.fail();
        bytes += piece.length;
        frame.pieces.push_back(piece);
    }
    if (!in.done() || bytes != message.payload.bytes.size()) return fail(Errc::corrupt);
    frame.content = message.payload;
    return frame;
}

Result<DirtyTaken> decode_dirty_taken(const Message& message) {
    Reader in(message.head);
    DirtyTaken frame{in.get<std::uint64_t>()};
    const auto ok = in.get<std::uint8_t>();
    if (!in.done() || ok > 1 || !message.payload.bytes.empty()) return fail(Errc::corrupt);
    frame.ok = ok != 0;
    return frame;
}

}  // namespace braid
