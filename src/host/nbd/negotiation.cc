#include "host/nbd/negotiation.h"

#include <algorithm>

namespace braid::nbd {

Task<Status> Negotiation::send() {
    const Status status = co_await write_all(executor_, stream_, out_);
    out_.clear();
    co_return status;
}

std::uint16_t Negotiation::transmission_flags() const {
    unsigned flags = has_flags | send_flush | send_fua | send_trim | send_write_zeroes | can_multi_conn |
                     send_cache | send_fast_zero;
    if (agreed_.structured) flags |= send_df;
    return static_cast<std::uint16_t>(flags);
}

Task<Result<Agreement>> Negotiation::run() {
    append_greeting(out_);
    CO_TRY(co_await send());
    CO_TRY(co_await intake_.need(kClientFlagsSize));
    const std::uint32_t flags = decode_client_flags(intake_.available().first<kClientFlagsSize>());
    intake_.consume(kClientFlagsSize);
    if ((flags & ~std::uint32_t{fixed_newstyle | no_zeroes}) != 0) co_return fail(Errc::corrupt);
    padding_ = (flags & no_zeroes) == 0;

    for (std::size_t count = 0; count < limits_.options; ++count) {
        const Result<OptionHeader> header = co_await receive_header();
        if (!header) co_return std::unexpected(header.error());
        const Result<Next> next = co_await handle(*header);
        if (!next) co_return std::unexpected(next.error());
        CO_TRY(co_await send());
        if (*next == Next::transmission) co_return agreed_;
        if (*next == Next::end) co_return fail(Errc::cancelled);
    }
    co_return fail(Errc::too_large);
}

Task<Result<OptionHeader>> Negotiation::receive_header() {
    CO_TRY(co_await intake_.need(kOptionHeaderSize));
    const auto header = decode_option_header(intake_.available().first<kOptionHeaderSize>());
    intake_.consume(kOptionHeaderSize);
    co_return header;
}

Task<Result<Negotiation::Next>> Negotiation::handle(OptionHeader header) {
    if (header.length > limits_.option_length) {
        if (header.option == Option::export_name || header.length > limits_.option_skip) {
            co_return fail(Errc::too_large);
        }
        CO_TRY(co_await intake_.skip(header.length));
        reply(header.option, OptionReply::err_too_big);
        co_return Next::option;
    }
    CO_TRY(co_await intake_.need(header.length));
    const auto next = answer(header, intake_.available().first(header.length));
    intake_.consume(header.length);
    co_return next;
}

Result<Negotiation::Next> Negotiation::answer(OptionHeader header, std::span<const std::byte> data) {
    switch (header.option) {
        case Option::export_name:
            return answer_export_name(data);
        case Option::abort:
            reply(header.option, OptionReply::ack);
            return Next::end;
        case Option::info:
        case Option::go:
            return answer_info(header.option, data);
        case Option::list_meta_context:
        case Option::set_meta_context:
            answer_meta(header.option, data);
            return Next::option;
        case Option::list:
        case Option::structured_reply:
            break;
        default:
            reply(header.option, OptionReply::err_unsup);
            return Next::option;
    }
    if (!data.empty()) {
        reply(header.option, OptionReply::err_invalid);
        return Next::option;
    }
    if (header.option == Option::list) {
        answer_list();
    } else {
        agreed_.structured = true;
    }
    reply(header.option, OptionReply::ack);
    return Next::option;
}

void Negotiation::answer_list() {
    for (const auto& port : ports_.list()) append_server(out_, port->name());
}

// The option has no reply for a failure: the connection ends.
Result<Negotiation::Next> Negotiation::answer_export_name(std::span<const std::byte> data) {
    TRY_LET(const std::string name, decode_name(data));
    const auto port = ports_.find(name);
    if (!port) return fail(Errc::not_found);
    append_export(out_, port->size(), transmission_flags(), padding_);
    settle(name);
    return Next::transmission;
}

Negotiation::Next Negotiation::answer_info(Option option, std::span<const std::byte> data) {
    const Result<InfoRequest> request = decode_info_request(data);
    if (!request) {
        reply(option, OptionReply::err_invalid);
        return Next::option;
    }
    const auto port = ports_.find(request->name);
    if (!port) {
        reply(option, OptionReply::err_unknown);
        return Next::option;
    }
    append_info_export(out_, option, port->size(), transmission_flags());
    append_info_block_size(out_, option);
    if (request->wants_name) append_info_text(out_, option, Info::name, port->name());
    if (request->wants_description) append_info_text(out_, option, Info::description, port->description());
    reply(option, OptionReply::ack);
    if (option == Option::info) return Next::option;
    settle(request->name);
    return Next::transmission;
}

void Negotiation::answer_meta(Option option, std::span<const std::byte> data) {
    const bool selects = option == Option::set_meta_context;
    if (selects) context_selected_ = false;  // the new choice replaces the old one even if it fails
    const Result<MetaRequest> request = decode_meta_request(data);
    if (!agreed_.structured || !request) return reply(option, OptionReply::err_invalid);
    if (!ports_.find(request->name)) return reply(option, OptionReply::err_unknown);
    // A list without queries means everything, and a namespace alone all that is in it; a choice is exact.
    const bool matches = (!selects && request->queries.empty()) ||
                         std::ranges::any_of(request->queries, [selects](const std::string& query) {
                             return query == kAllocationContext || (!selects && query == "base:");
                         });
    if (matches) append_meta_context(out_, option, selects ? kAllocationContextId : 0);
    if (selects && matches) {
        context_selected_ = true;
        context_name_ = request->name;
    }
    reply(option, OptionReply::ack);
}

/// The export of this name is there.
void Negotiation::settle(const std::string& asked_name) {
    agreed_.port = ports_.find(asked_name);
    agreed_.side = ports_.take_turn(asked_name);
    agreed_.allocation = context_selected_ && context_name_ == asked_name;
}

}  // namespace braid::nbd
