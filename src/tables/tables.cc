#include "tables/tables.h"

#include <algorithm>

#include "base/log.h"

namespace braid {
namespace {

constexpr std::uint32_t kLastPageMark = 0xffffffff;  // table_page: the answer is complete

}  // namespace

Tables::Tables(Executor& executor, Clock& clock, Transport& transport, const Uuid& group,
               std::uint64_t table_start, std::vector<Disk*> disks, std::vector<Uuid> disk_ids, AmfSlot slot)
    : executor_(executor),
      clock_(clock),
      transport_(transport),
      turn_(executor, 1),
      group_(group),
      table_start_(table_start),
      disks_(std::move(disks)),
      disk_ids_(std::move(disk_ids)),
      slot_(slot),
      settled_(executor),
      agreed_(executor),
      changed_(executor),
      intents_changed_(executor),
      scope_(executor) {
    agreed_.set();
}

Tables::~Tables() = default;

Task<void> Tables::stop() {
    while (intent_writer_runs_) co_await intents_changed_.next();
    co_await turn_.take();  // a change that has begun ends; those that wait find the locks stopped
    turn_.give();
}

const Zone* Tables::zone(ExtentIndex extent) const {
    ASSERT(extent.v < zones_.size());
    const Zone& zone = zones_[extent.v];
    return zone.allocated() ? &zone : nullptr;
}

std::vector<VolumeRecord> Tables::volumes() const {
    std::vector<VolumeRecord> out;
    for (const VolumesPage& page : volume_pages_) {
        for (const VolumeRecord& record : page.records) {
            if (record.state != VolumeState::free) out.push_back(record);
        }
    }
    return out;
}

std::uint64_t Tables::bytes_in_use(ExtentIndex extent) const {
    for (const VolumesPage& page : volume_pages_) {
        for (const VolumeRecord& record : page.records) {
            if (record.state == VolumeState::free || extent < record.first_extent) continue;
            const std::uint32_t index = extent.v - record.first_extent.v;
            if (index < record.extents) return std::min(record.size - index * kExtentSize, kExtentSize);
        }
    }
    return kExtentSize;
}

// ---- the view

void Tables::adopt(const AmfView& view) {
    for (const AmfMember& old : view_.members) {
        if (!view.contains(old)) verify_before_change_ = true;
    }
    view_ = view;
    settled_.reset();
    versions_.clear();
    acked_.clear();
    for (const AmfMember& peer : view_.members) {
        if (peer.id == view_.self) continue;
        send_version(peer.id);
        if (change_open_) send_update(peer.id);
    }
    check_settled();
    agreed_.set();  // who lacks our last change, or has not applied its own yet, does not settle without it
    changed_.notify_all();
}

void Tables::send_version(AmfId to) {
    Message message{group_, MessageType::table_version, {}, {}};
    Writer(message.head).put(loaded_ ? version_ : std::uint64_t{0});
    transport_.send(to, std::move(message));
}

void Tables::send_update(AmfId to) {
    if (!last_change_) return;
    Message message{group_, MessageType::table_update, {}, Slice(last_change_->bytes)};
    Writer writer(message.head);
    writer.put(version_);
    writer.put(last_change_->page);
    transport_.send(to, std::move(message));
}

void Tables::send_agreed(AmfId to) {
    Message message{group_, MessageType::table_agreed, {}, {}};
    Writer(message.head).put(version_);
    transport_.send(to, std::move(message));
}

bool Tables::all_versions_in() const {
    if (!view_.contains(view_.self)) return false;
    for (const AmfMember& peer : view_.members) {
        if (peer.id != view_.self && !versions_.contains(peer.id.v)) return false;
    }
    return true;
}

void Tables::check_settled() {
    if (!loaded_ || settled_.is_set() || change_open_ || !all_versions_in()) return;
    for (const auto& [id, version] : versions_) {
        if (version > version_) return;
    }
    settled_.set();
    changed_.notify_all();
    if (settled_listener_) settled_listener_();
}

void Tables::deliver(AmfId from, const Message& message) {
    Reader reader(message.head);
    switch (message.type) {
        case MessageType::table_update:
            return on_update(from, message);
        case MessageType::table_page:
            return on_page(message);
        case MessageType::table_fetch:
            if (loaded_) send_all_pages(from);
            return;
        case MessageType::table_version: {
            const auto version = reader.get<std::uint64_t>();
            if (!reader.done()) return;
            versions_[from.v] = version;
            // A peer that lacks the last change gets it from everybody who has it; applying it twice is
            // harmless.
            if (loaded_ && version != 0 && version + 1 == version_ && !change_open_) {
                send_update(from);
                if (agreed()) send_agreed(from);
            }
            check_settled();
            changed_.notify_all();
            return;
        }
        case MessageType::table_agreed: {
            const auto version = reader.get<std::uint64_t>();
            if (reader.done() && version == version_) agreed_.set();
            return;
        }
        case MessageType::table_ack: {
            const auto version = reader.get<std::uint64_t>();
            const MemberMask reached(reader.get<std::uint64_t>());
            const auto shrunk = reader.get<std::uint64_t>();
            if (!reader.done() || version != version_) return;
            acked_[from.v] = {reached, shrunk};
            changed_.notify_all();
            return;
        }
        case MessageType::member_ask:
        case MessageType::member_told: {
            const auto question = reader.get<std::uint64_t>();
            const MemberMask members(reader.get<std::uint64_t>());
            if (!reader.done()) return;
            if (message.type == MessageType::member_told) return on_told(from, question, members);
            scope_.spawn(tell_read(from, question, members));
            return;
        }
        default:
            return;
    }
}

/// Makes every AMF of the present view, whatever it becomes meanwhile, have the page, this one last.
Task<void> Tables::agree(PageNumber page, Buffer bytes) {
    ++version_;
    last_change_ = LastChange{page, bytes};
    change_open_ = true;
    acked_.clear();
    for (const AmfMember& peer : view_.members) {
        if (peer.id != view_.self) send_update(peer.id);
    }
    while (true) {
        bool all = view_.contains(view_.self);
        for (const AmfMember& peer : view_.members) {
            if (peer.id != view_.self && !acked_.contains(peer.id.v)) all = false;
        }
        if (all) break;
        co_await changed_.next();
    }
    const Status applied = apply_page(page, ConstPageBytes(bytes.span()));
    ASSERT(applied.has_value());
    change_open_ = false;
    agreed_.set();  // to the one before as well, should its author's word still be on the way
    for (const AmfMember& peer : view_.members) {
        if (peer.id != view_.self) send_agreed(peer.id);
    }
    check_settled();
    co_await zone_uses_over();
    co_await open_members();
}

Task<void> Tables::settled_and_agreed() {
    while (!settled() || !agreed()) co_await (settled() ? agreed_ : settled_);
}

Task<void> Tables::zone_uses_over() {
    while (!zone_uses_.over()) co_await sleep_for(clock_, 1ms);
}

void Tables::on_update(AmfId from, const Message& message) {
    Reader reader(message.head);
    const auto version = reader.get<std::uint64_t>();
    const auto page = reader.get<PageNumber>();
    if (!reader.done() || message.payload.bytes.size() != kPageSize) {
        LOG_WARN("tables.bad_update", {"from", from});
        return;
    }
    if (loaded_ && version == version_ + 1) {
        const Status applied = apply_page(page, ConstPageBytes(message.payload.bytes));
        if (!applied) {
            LOG_ERROR("tables.bad_page", {"from", from}, {"page", page},
                      {"reason", to_string(applied.error().code)});
            return;
        }
        version_ = version;
        last_change_ = LastChange{page, Buffer::copy_of(message.payload.bytes)};
        agreed_.reset();
        check_settled();
        changed_.notify_all();
        if (listener_) listener_();
    } else if (loaded_ && version > version_ + 1) {
        LOG_ERROR("tables.version_gap", {"from", from}, {"mine", version_}, {"theirs", version});
        loaded_ = false;
        settled_.reset();
        scope_.spawn(reload());
    }
    scope_.spawn(acknowledge(from, version));
}

/// At once, or when no command is left by places that a zone has given up, and members that come are open.
Task<void> Tables::acknowledge(AmfId to, std::uint64_t version) {
    co_await zone_uses_over();
    co_await open_members();
    Message ack{group_, MessageType::table_ack, {}, {}};
    Writer writer(ack.head);
    writer.put(version);
    writer.put(std::uint64_t{reached_members().to_ullong()});
    writer.put(shrunk_);
    transport_.send(to, std::move(ack));
}

Task<void> Tables::reload() {
    const Status status = co_await load();
    if (!status) LOG_ERROR("tables.reload_failed", {"reason", to_string(status.error().code)});
}

// ---- a joiner

Task<Status> Tables::load() {
    co_await turn_.take();
    Turn turn(turn_);
    CO_TRY_LET(turn.pin, co_await locks_->acquire(kTablesUnit, LockMode::write));
    const auto lacks_disk = [this](std::size_t i) {
        return disks_[i] == nullptr && serves(state_.members[i].state);
    };
    Status status;
    bool from_peer = false;
    while (true) {
        while (!all_versions_in()) co_await changed_.next();
        AmfId source;
        std::uint64_t highest = 0;
        for (const auto& [id, version] : versions_) {
            if (version > highest) {
                highest = version;
                source = AmfId(id);
            }
        }
        if (highest == 0) {
            version_ = 1;
            status = co_await load_from_disks();
            break;
        }
        const Epoch epoch = view_.epoch;
        status = co_await load_from_peer(source);
        if (status) co_await open_members();
        if (view_.epoch != epoch) continue;
        version_ = fetched_version_;  // the versions told at the view change may be older than its pages
        from_peer = true;
        break;
    }
    for (std::size_t i = 0; from_peer && status && i < disks_.size(); ++i) {
        // Others work with this disk: that this controller does not reach it does not make it a failed one.
        if (lacks_disk(i)) {
            LOG_ERROR("tables.disk_not_reached", {"group", config_.name}, {"member", i});
            status = fail(Errc::refused, static_cast<std::uint32_t>(i));
        }
    }
    if (status) status = co_await load_own_intents();
    if (!status) co_return status;
    loaded_ = true;
    agreed_.set();
    for (const AmfMember& peer : view_.members) {
        if (peer.id != view_.self) send_version(peer.id);
    }
    check_settled();
    // Members that nobody has brought are declared failed before anything is written.
    for (std::size_t i = 0; i < disks_.size(); ++i) {
        if (lacks_disk(i)) write_errors_.insert(static_cast<std::uint8_t>(i));
    }
    if (!write_errors_.empty()) {
        while (!settled()) co_await changed_.next();
        CO_TRY(co_await end_change());
    }
    if (!from_peer) {
        CO_TRY(co_await end_what_is_doubtful());
        CO_TRY(co_await replay_journals());
    }
    if (listener_) listener_();
    co_return Status{};
}

Task<Status> Tables::load_from_peer(AmfId peer) {
    const Epoch epoch = view_.epoch;
    fetched_.emplace();
    fetch_done_ = false;
    transport_.send(peer, Message{group_, MessageType::table_fetch, {}, {}});
    while (!fetch_done_ && view_.epoch == epoch) co_await changed_.next();
    auto pages = std::move(*fetched_);
    fetched_.reset();
    if (!fetch_done_) co_return fail(Errc::stale_epoch);
    for (const auto& [number, bytes] : pages) {
        CO_TRY(apply_page(PageNumber(number), ConstPageBytes(bytes.span())));
    }
    verify_before_change_ = true;
    co_return Status{};
}

void Tables::on_page(const Message& message) {
    if (!fetched_) return;
    Reader reader(message.head);
    const auto page = reader.get<std::uint32_t>();
    const auto version = page == kLastPageMark ? reader.get<std::uint64_t>() : 0;
    if (!reader.done()) return;
    if (page == kLastPageMark) {
        fetched_version_ = version;
        fetch_done_ = true;
        changed_.notify_all();
    } else if (message.payload.bytes.size() == kPageSize) {
        (*fetched_)[page] = Buffer::copy_of(message.payload.bytes);
    }
}

void Tables::send_all_pages(AmfId to) {
    const auto send = [&](std::uint32_t page, Slice bytes) {
        Message message{group_, MessageType::table_page, {}, std::move(bytes)};
        Writer writer(message.head);
        writer.put(page);
        if (page == kLastPageMark) writer.put(version_);
        transport_.send(to, std::move(message));
    };
    for (std::uint32_t page = 0; page < page_count(); ++page) {
        if (is_shared(PageNumber(page)) && sequences_[page] != 0) {
            send(page, Slice(encode_page(PageNumber(page), sequences_[page])));
        }
    }
    send(kLastPageMark, {});
}

}  // namespace braid
