#include "io/pipe.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/assert.h"

namespace braid {
namespace {

/// One direction: a ring of bytes, the read that waits for some and the write that waits for room.
struct Flow {
    explicit Flow(std::size_t capacity) : ring(capacity) {}

    std::vector<std::byte> ring;
    std::size_t first = 0;
    std::size_t held = 0;
    StreamOp* reader = nullptr;
    StreamOp* writer = nullptr;
    std::size_t piece = 0;       // of the write: the first piece not taken whole,
    std::size_t piece_done = 0;  // and how much of it is
    bool ended = false;          // no more bytes come
    bool broken = false;         // nobody will read them

    std::size_t take(std::span<std::byte> into) {
        const std::size_t count = std::min(into.size(), held);
        const std::size_t straight = std::min(count, ring.size() - first);
        if (straight != 0) std::memcpy(into.data(), ring.data() + first, straight);
        if (count != straight) std::memcpy(into.data() + straight, ring.data(), count - straight);
        first = (first + count) % ring.size();
        held -= count;
        return count;
    }
    std::size_t put(std::span<const std::byte> from) {
        const std::size_t count = std::min(from.size(), ring.size() - held);
        const std::size_t at = (first + held) % ring.size();
        const std::size_t straight = std::min(count, ring.size() - at);
        if (straight != 0) std::memcpy(ring.data() + at, from.data(), straight);
        if (count != straight) std::memcpy(ring.data(), from.data() + straight, count - straight);
        held += count;
        return count;
    }
    /// Moves what can be moved. Each round empties or fills the ring, so a large write goes through in
    /// rounds.
    void move() {
        bool moved = true;
        while (moved) {
            moved = fill();
            if (reader == nullptr) continue;
            if (held != 0 || reader->into.empty()) {
                end(reader, take(reader->into));
                moved = true;
            } else if (ended) {
                end(reader, 0);
            }
        }
    }
    bool fill() {
        if (writer == nullptr) return false;
        bool any = false;
        while (piece < writer->from.size()) {
            const auto left = writer->from[piece].subspan(piece_done);
            const std::size_t count = put(left);
            piece_done += count;
            writer->progress += count;
            any |= count != 0;
            if (count < left.size()) return any;
            ++piece;
            piece_done = 0;
        }
        end(writer, writer->progress);
        return any;
    }
    static void end(StreamOp*& place, Result<std::size_t> result) {
        StreamOp& op = *place;
        place = nullptr;
        op.in_flight = nullptr;
        op.result = result;
        op.join->done();
    }
    void fail_writer() {
        broken = true;
        if (writer != nullptr) end(writer, fail(Errc::closed));
    }
};

struct Flows {
    explicit Flows(std::size_t capacity) : a_to_b(capacity), b_to_a(capacity) {}
    Flow a_to_b, b_to_a;
};

class PipeEnd final : public ByteStream {
public:
    PipeEnd(std::shared_ptr<Flows> flows, Flow& in, Flow& out, std::string name)
        : flows_(std::move(flows)), in_(in), out_(out), name_(std::move(name)) {}
    ~PipeEnd() override { shutdown(); }

    void submit(StreamOp& op, Join& join) override {
        Flow& flow = op.verb == StreamVerb::read ? in_ : out_;
        StreamOp*& place = op.verb == StreamVerb::read ? flow.reader : flow.writer;
        ASSERT(op.in_flight == nullptr && place == nullptr);
        op.in_flight = this;
        op.join = &join;
        op.progress = 0;
        join.add();
        place = &op;
        if (shut_ || (op.verb == StreamVerb::write && flow.broken))
            return Flow::end(place, fail(Errc::closed));
        if (op.verb == StreamVerb::write) flow.piece = flow.piece_done = 0;
        flow.move();
    }

    void abandon(StreamOp& op) override {
        op.in_flight = nullptr;
        if (op.verb == StreamVerb::read) {
            in_.reader = nullptr;
        } else {
            out_.writer = nullptr;
            shutdown();  // the far end may have part of it
        }
    }

    void shutdown() override {
        if (shut_) return;
        shut_ = true;
        if (in_.reader != nullptr) Flow::end(in_.reader, fail(Errc::closed));
        in_.fail_writer();
        out_.fail_writer();
        out_.ended = true;
        out_.move();
    }

    std::string peer_name() const override { return name_; }

private:
    const std::shared_ptr<Flows> flows_;
    Flow& in_;
    Flow& out_;
    const std::string name_;
    bool shut_ = false;
};

}  // namespace

PipeEnds make_pipe(std::string name, std::size_t capacity) {
    ASSERT(capacity > 0);
    auto flows = std::make_shared<Flows>(capacity);
    PipeEnds ends;
    ends.a = std::make_unique<PipeEnd>(flows, flows->b_to_a, flows->a_to_b, name + "/b");
    ends.b = std::make_unique<PipeEnd>(flows, flows->a_to_b, flows->b_to_a, name + "/a");
    return ends;
}

}  // namespace braid
