#include "braid/metadata.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
// After sys/stat.h.
#include <linux/fs.h>

#include <array>
#include <nlohmann/json.hpp>

#include "ondisk/superblock.h"
#include "ondisk/table_pages.h"

namespace braid::cli {

namespace {

using Json = nlohmann::ordered_json;
using Page = std::array<std::byte, kPageSize>;

class DiskFile {
public:
    explicit DiskFile(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
        struct stat found{};
        if (fd_ < 0 || ::fstat(fd_, &found) != 0) return;
        size_ = static_cast<std::uint64_t>(found.st_size);
        if (S_ISBLK(found.st_mode) && ::ioctl(fd_, BLKGETSIZE64, &size_) != 0) size_ = 0;
    }
    DiskFile(const DiskFile&) = delete;
    DiskFile& operator=(const DiskFile&) = delete;
    ~DiskFile() {
        if (fd_ >= 0) ::close(fd_);
    }
    bool ok() const { return fd_ >= 0; }
    std::uint64_t size() const { return size_; }
    bool read(std::uint64_t at, Page& page) const {
        return ::pread(fd_, page.data(), page.size(), static_cast<off_t>(at)) ==
               static_cast<ssize_t>(page.size());
    }

private:
    int fd_;
    std::uint64_t size_ = 0;
};

Json superblock_json(const SuperblockChoice& choice) {
    const Superblock& s = choice.superblock;
    return Json{{"group", s.group_name},         {"group_id", to_string(s.group)},
                {"disk_id", to_string(s.disk)},  {"member", s.member.v},
                {"sequence", s.sequence},        {"disk_bytes", s.disk_size},
                {"table_start", s.table_start},  {"pages", s.page_count},
                {"data_start", s.data_start},    {"units", s.units},
                {"from_copy", choice.from_copy}, {"both_agree", choice.both_agree}};
}

Json content_json(PageKind kind, ConstPageBytes bytes) {
    Json out;
    if (kind == PageKind::config) {
        const auto c = GroupConfig::decode(bytes);
        if (!c) return Json{{"error", to_string(c.error().code)}};
        Json partners = Json::object();
        for (std::uint8_t slot = 0; slot < c->controllers.size(); ++slot) {
            if (c->sharing.partners[slot].any())
                partners[c->controllers[slot]] = c->partners_of(ControllerSlot(slot));
        }
        out = Json{{"name", c->name},
                   {"level", to_string(c->geometry.level)},
                   {"data", c->geometry.k},
                   {"parity", c->geometry.m},
                   {"strip_bytes", c->geometry.strip_size},
                   {"checksums", c->geometry.checksums ? "on" : "off"},
                   {"granularity", to_string(c->sharing.granularity)},
                   {"lock_order", to_string(c->sharing.lock_order)},
                   {"coherency", to_string(c->sharing.coherency)},
                   {"min_hold_us", c->sharing.min_hold / std::chrono::microseconds(1)},
                   {"prefetch", c->sharing.prefetch},
                   {"amfs", c->sharing.amfs},
                   {"cache", to_string(c->sharing.write_cache)},
                   {"replication", to_string(c->sharing.replication)},
                   {"few_partners", to_string(c->sharing.few_partners)},
                   {"named_partners", std::move(partners)},
                   {"dimension", c->dimension},
                   {"journal_ring_bytes", c->journal.ring_size},
                   {"extents", c->extents},
                   {"controllers", c->controllers}};
        for (const MemberRecord& m : c->members) out["members"].push_back(to_string(m.disk));
    } else if (kind == PageKind::state) {
        const auto s = GroupState::decode(bytes);
        if (!s) return Json{{"error", to_string(s.error().code)}};
        out["clean"] = s->clean;
        for (const MemberStatus& m : s->members) {
            out["members"].push_back(
                Json{{"state", to_string(m.state)}, {"changed_epoch", m.changed.v}, {"errors", m.errors}});
        }
        for (std::size_t slot = 0; slot < s->journals.size(); ++slot) {
            const JournalState& j = s->journals[slot];
            if (j.life == 0) continue;
            Json ring{{"slot", slot}, {"life", j.life}, {"open", j.open()}};
            for (std::size_t i = 0; i < kMaxMembers; ++i) {
                if (j.members[i]) ring["members"].push_back(i);
            }
            out["journals"].push_back(std::move(ring));
        }
        out["scrub_every_s"] = s->schedule.every;
        for (const JobRecord& job : s->jobs) {
            if (job.id == 0) continue;
            out["jobs"].push_back(Json{{"id", job.id},
                                       {"kind", to_string(job.kind)},
                                       {"state", to_string(job.state)},
                                       {"cursor", job.cursor.v},
                                       {"units_done", job.done}});
        }
    } else if (kind == PageKind::intent) {
        const auto i = Intent::decode(bytes);
        if (!i) return Json{{"error", to_string(i.error().code)}};
        out["regions"] = Json::array();
        for (const RegionIndex r : i->regions) out["regions"].push_back(r.v);
    } else if (kind == PageKind::volumes) {
        const auto v = VolumesPage::decode(bytes);
        if (!v) return Json{{"error", to_string(v.error().code)}};
        out["volumes"] = Json::array();
        for (const VolumeRecord& r : v->records) {
            if (r.state == VolumeState::free) continue;
            out["volumes"].push_back(Json{{"name", r.name},
                                          {"id", r.id.v},
                                          {"state", r.state == VolumeState::ok ? "ok" : "deleting"},
                                          {"first_extent", r.first_extent.v},
                                          {"extents", r.extents},
                                          {"size_bytes", r.size},
                                          {"port_slots", r.ports},
                                          {"closing_slots", r.closing}});
        }
    } else {
        const auto m = MapPage::decode(bytes);
        if (!m) return Json{{"error", to_string(m.error().code)}};
        out["zones"] = std::ranges::count_if(m->zones, [](const Zone& z) { return z.allocated(); });
    }
    return out;
}

const char* kind_name(PageKind kind) {
    switch (kind) {
        case PageKind::config:
            return "config";
        case PageKind::state:
            return "state";
        case PageKind::intent:
            return "intent";
        case PageKind::volumes:
            return "volumes";
        case PageKind::map:
            return "map";
    }
    return "unknown";
}

/// The newest valid slot of a page; null for a page that was never written.
Json page_json(const DiskFile& disk, const Superblock& s, PageNumber number) {
    Page slots[2];
    for (unsigned i = 0; i < 2; ++i) {
        if (!disk.read(slot_offset(s.table_start, number, i), slots[i])) return Json{{"error", "unreadable"}};
    }
    const PagePick pick = pick_slot(slots[0], slots[1], s.group, number);
    const bool blank = pick.slots[0] == SlotState::blank && pick.slots[1] == SlotState::blank;
    if (!pick.found && blank) return nullptr;
    Json out{{"page", number.v}, {"kind", kind_name(kind_of(number))}};
    if (!pick.found) {
        out["error"] = "no valid slot";
        return out;
    }
    out["sequence"] = pick.header.sequence;
    out["epoch"] = pick.header.epoch.v;
    out["writer_slot"] = pick.header.writer.v;
    out["other_slot_valid"] = pick.slots[1 - pick.slot] == SlotState::valid;
    out["content"] = content_json(kind_of(number), slots[pick.slot]);
    return out;
}

}  // namespace

int metadata_dump(const Globals&, const std::string& path) {
    const DiskFile disk(path);
    if (!disk.ok())
        return report({kNotFound, fmt::format("cannot open {} for reading: is the path right?", path)});
    Page first, copy;
    const std::uint64_t at_copy = disk.size() < 2 * kPageSize ? 0 : superblock_copy_offset(disk.size());
    if (!disk.read(kSuperblockOffset, first) || !disk.read(at_copy, copy)) {
        return report(
            {kFailed, fmt::format("{} is too small to be a member of a group, or unreadable", path)});
    }
    const auto choice = choose_superblock(first, copy);
    if (!choice) {
        const bool none = choice.error().code == Errc::not_found;
        return report({none ? kNotFound : kFailed,
                       none ? fmt::format("{} is not a member of a group: it has no superblock of ours", path)
                            : fmt::format("the superblock of {} cannot be used: {}", path,
                                          to_string(choice.error().code))});
    }
    Json out{{"schema", "braid/metadata"}, {"version", 1}, {"path", path}};
    out["superblock"] = superblock_json(*choice);
    out["pages"] = Json::array();
    for (std::uint32_t p = 0; p < choice->superblock.page_count; ++p) {
        Json page = page_json(disk, choice->superblock, PageNumber(p));
        if (!page.is_null()) out["pages"].push_back(std::move(page));
    }
    fmt::print("{}\n", out.dump(2, ' ', false, Json::error_handler_t::replace));
    return kOk;
}

}  // namespace braid::cli
