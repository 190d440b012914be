#include "cluster/record.h"

#include <set>

#include "base/crc32c.h"

namespace braid {
namespace {

constexpr std::uint32_t kMagic = 0x4d647262;  // "brdM"
constexpr std::uint16_t kVersion = 4;
constexpr std::size_t kCoverAt = 12;  // what the checksum covers begins here

void put_member(Writer& w, const ViewMember& member) {
    w.put(member.id);
    w.put(member.incarnation);
    w.string(member.name);
    w.string(member.address);
    w.put(member.process.pid);
    w.put(member.process.start_time);
    w.string(member.location.host);
    w.string(member.location.site);
    w.put(static_cast<std::uint16_t>(member.groups.size()));
    for (const Attachment& attached : member.groups) {
        w.put(attached.group);
        w.put(attached.since);
        w.put(attached.amfs);
    }
}

ViewMember get_member(Reader& r) {
    ViewMember member;
    member.id = r.get<ControllerId>();
    member.incarnation = r.get<Incarnation>();
    member.name = r.string(kMaxControllerName);
    member.address = r.string(kMaxAddress);
    member.process.pid = r.get<std::uint64_t>();
    member.process.start_time = r.get<std::uint64_t>();
    member.location.host = r.string(kMaxLabel);
    member.location.site = r.string(kMaxLabel);
    const std::size_t groups = r.get<std::uint16_t>();
    if (groups > kMaxAttachedGroups) r.fail();
    for (std::size_t i = 0; i < groups && r.ok(); ++i) {
        const Uuid group = r.uuid();
        const auto since = r.get<Incarnation>();
        member.groups.push_back({group, since, r.get<std::uint8_t>()});
    }
    return member;
}

KnownController get_known(Reader& r) {
    KnownController known;
    known.id = r.get<ControllerId>();
    known.name = r.string(kMaxControllerName);
    known.pid = r.get<std::uint64_t>();
    known.left_epoch = r.get<std::uint64_t>();
    const auto fenced = r.get<std::uint8_t>();
    if (fenced > 1) r.fail();
    known.fenced = fenced == 1;
    return known;
}

template <class T>
bool ascending(const std::vector<T>& list) {
    for (std::size_t i = 1; i < list.size(); ++i) {
        if (!(list[i - 1].id < list[i].id)) return false;
    }
    return list.empty() || (list.front().id.v != 0 && list.back().id.v <= kMaxControllerId);
}

bool plausible(const ViewMember& member, Epoch epoch) {
    for (std::size_t i = 0; i < member.groups.size(); ++i) {
        const auto& [group, since, amfs] = member.groups[i];
        if (since < member.incarnation || since.v > epoch.v || amfs < 1 || amfs > kMaxAmfs) return false;
        if (i != 0 && !(member.groups[i - 1].group < group)) return false;
    }
    return true;
}

bool consistent(const View& view) {
    if (!ascending(view.members) || !ascending(view.known)) return false;
    std::set<std::string> names;
    for (const KnownController& known : view.known) {
        const ViewMember* member = view.find(known.id);
        if (known.name.empty() || !names.insert(known.name).second) return false;
        if (member == nullptr && (known.left_epoch == 0 || known.left_epoch > view.epoch.v)) return false;
        if (member != nullptr && (known.left_epoch != 0 || known.fenced || member->name != known.name))
            return false;
        if (member != nullptr) names.insert("=" + known.name);
    }
    for (const ViewMember& member : view.members) {
        if (member.incarnation.v == 0 || member.incarnation.v > view.epoch.v) return false;
        if (!plausible(member, view.epoch) || !names.contains("=" + member.name)) return false;
    }
    return true;
}

}  // namespace

Bytes encode_record(const ClusterRecord& record) {
    Bytes body;
    Writer b(body);
    b.put(record.cluster);
    b.put(record.view.epoch);
    b.put(static_cast<std::uint16_t>(record.view.members.size()));
    for (const ViewMember& member : record.view.members) put_member(b, member);
    b.put(static_cast<std::uint16_t>(record.view.known.size()));
    for (const KnownController& known : record.view.known) {
        b.put(known.id);
        b.string(known.name);
        b.put(known.pid);
        b.put(known.left_epoch);
        b.put(static_cast<std::uint8_t>(known.fenced ? 1 : 0));
    }
    Bytes out;
    Writer w(out);
    w.put(kMagic);
    w.put(kVersion);
    w.put(std::uint16_t{0});
    w.put(crc32c(body));
    w.raw(body);
    return out;
}

Result<ClusterRecord> decode_record(std::span<const std::byte> bytes) {
    if (bytes.empty()) return ClusterRecord{};
    Reader r(bytes);
    if (r.get<std::uint32_t>() != kMagic) return fail(Errc::corrupt);
    if (r.get<std::uint16_t>() != kVersion) return fail(Errc::unsupported);
    const auto reserved = r.get<std::uint16_t>();
    const auto crc = r.get<std::uint32_t>();
    if (!r.ok() || reserved != 0 || crc != crc32c(bytes.subspan(kCoverAt))) return fail(Errc::corrupt);

    ClusterRecord record;
    record.cluster = r.uuid();
    record.view.epoch = r.get<Epoch>();
    const std::size_t members = r.get<std::uint16_t>();
    if (members > kMaxClusterMembers) return fail(Errc::corrupt);
    for (std::size_t i = 0; i < members && r.ok(); ++i) record.view.members.push_back(get_member(r));
    const std::size_t known = r.get<std::uint16_t>();
    if (known > kMaxKnownControllers) return fail(Errc::corrupt);
    for (std::size_t i = 0; i < known && r.ok(); ++i) record.view.known.push_back(get_known(r));
    if (!r.done() || record.cluster.is_nil() || record.view.epoch.v == 0 || !consistent(record.view)) {
        return fail(Errc::corrupt);
    }
    return record;
}

}  // namespace braid
