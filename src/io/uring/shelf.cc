#include "io/uring/shelf.h"

#include <blkid.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <glob.h>

#include <algorithm>
#include <cerrno>

#include "io/delayed_disk.h"
#include "io/uring/disk.h"
#include "io/uring/unique_fd.h"

namespace braid {
namespace {

std::string value(blkid_probe probe, const char* name) {
    const char* text = nullptr;
    return blkid_probe_lookup_value(probe, name, &text, nullptr) == 0 && text != nullptr ? text : "";
}

std::string describe(blkid_probe probe) {
    const std::string table = value(probe, "PTTYPE");
    const std::string type = value(probe, "TYPE");
    const std::string usage = value(probe, "USAGE");
    std::string out;
    if (!type.empty()) {
        out = type + (usage == "filesystem" ? " file system"
                      : usage == "raid"     ? " member"
                      : usage == "crypto"   ? " encrypted volume"
                                            : "");
    }
    if (!table.empty()) out += (out.empty() ? "" : " and ") + table + " partition table";
    return out.empty() ? "an unknown signature" : out;
}

struct Probe {
    blkid_probe handle = ::blkid_new_probe();
    Probe() = default;
    Probe(const Probe&) = delete;
    Probe& operator=(const Probe&) = delete;
    ~Probe() { ::blkid_free_probe(handle); }
};

}  // namespace

std::vector<std::string> FileShelf::scan() {
    std::vector<std::string> names;
    for (const std::string& pattern : options_.patterns) {
        glob_t found{};
        if (::glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found) == 0) {
            names.insert(names.end(), found.gl_pathv, found.gl_pathv + found.gl_pathc);
        }
        ::globfree(&found);
    }
    std::ranges::sort(names);
    names.erase(std::ranges::unique(names).begin(), names.end());
    return names;
}

bool FileShelf::matches(const std::string& name) const {
    return std::ranges::any_of(options_.patterns, [&](const std::string& pattern) {
        return ::fnmatch(pattern.c_str(), name.c_str(), FNM_PATHNAME | FNM_PERIOD) == 0;
    });
}

Result<std::unique_ptr<Disk>> FileShelf::open(std::string_view name) {
    const std::string path(name);
    if (!matches(path)) return fail(Errc::refused);
    auto disk = UringDisk::open(loop_, path);
    if (!disk || options_.delay == Nanos{}) return disk;
    return std::make_unique<DelayedDisk>(loop_.executor(), loop_.clock(), std::move(*disk), options_.delay);
}

Result<DiskContent> FileShelf::probe(std::string_view name) {
    const std::string path(name);
    if (!matches(path)) return fail(Errc::refused);
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) {
        const auto detail = static_cast<std::uint32_t>(errno);
        if (errno == ENOENT || errno == ENXIO) return fail(Errc::not_found, detail);
        return fail(errno == EACCES || errno == EPERM ? Errc::refused : Errc::io_error, detail);
    }
    const Probe probe;
    if (probe.handle == nullptr || ::blkid_probe_set_device(probe.handle, fd.get(), 0, 0) != 0) {
        return fail(Errc::io_error, static_cast<std::uint32_t>(errno));
    }
    ::blkid_probe_enable_superblocks(probe.handle, 1);
    ::blkid_probe_set_superblocks_flags(probe.handle,
                                        BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE | BLKID_SUBLKS_MAGIC);
    ::blkid_probe_enable_partitions(probe.handle, 1);
    const int result = ::blkid_do_safeprobe(probe.handle);
    if (result == 1) return DiskContent{};
    if (result == -2) return DiskContent{.empty = false, .what = "signatures of several owners"};
    if (result < 0) return fail(Errc::io_error, static_cast<std::uint32_t>(errno));
    return DiskContent{.empty = false, .what = describe(probe.handle)};
}

bool FileShelf::may_still_write(std::uint64_t pid) {
    return std::ranges::any_of(scan(),
                               [pid](const std::string& path) { return braid::may_still_write(path, pid); });
}

}  // namespace braid
