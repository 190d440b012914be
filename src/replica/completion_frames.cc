#include "replica/completion_frames.h"

#include "base/assert.h"

namespace braid {
namespace {

void put(Writer& out, const Completion& known) {
    put(out, known.errand);
    out.put(known.begin);
    out.put(known.end);
}

Completion get_completion(Reader& in) {
    Completion out;
    out.errand = get_errand(in);
    out.begin = in.get<std::uint64_t>();
    out.end = in.get<std::uint64_t>();
    if (out.begin >= out.end) in.fail();
    return out;
}

}  // namespace

Message encode(const Uuid& group, const CompletionAsk& ask) {
    Message message{group, MessageType::completion_ask, {}, {}};
    Writer out(message.head);
    out.put(ask.ticket);
    out.put(static_cast<std::uint8_t>(ask.about.errand ? 1 : 0));
    if (ask.about.errand) put(out, ask.about);
    return message;
}

Result<CompletionAsk> decode_completion_ask(const Message& message) {
    Reader in(message.head);
    CompletionAsk ask;
    ask.ticket = in.get<std::uint64_t>();
    const auto something = in.get<std::uint8_t>();
    if (something == 1) ask.about = get_completion(in);
    if (!in.done() || ask.ticket == 0 || something > 1 || !message.payload.bytes.empty())
        return fail(Errc::corrupt);
    return ask;
}

Message encode(const Uuid& group, const CompletionTell& tell) {
    ASSERT(tell.known.size() <= CompletionTell::kMost);
    Message message{group, MessageType::completion_tell, {}, {}};
    Writer out(message.head);
    out.put(tell.ticket);
    out.put(static_cast<std::uint32_t>(tell.known.size()));
    for (const Completion& known : tell.known) put(out, known);
    return message;
}

Result<CompletionTell> decode_completion_tell(const Message& message) {
    Reader in(message.head);
    CompletionTell tell;
    tell.ticket = in.get<std::uint64_t>();
    const std::size_t count = in.get<std::uint32_t>();
    if (count > CompletionTell::kMost) return fail(Errc::corrupt);
    for (std::size_t i = 0; i < count && in.ok(); ++i) tell.known.push_back(get_completion(in));
    if (!in.done() || !message.payload.bytes.empty()) return fail(Errc::corrupt);
    return tell;
}

}  // namespace braid
