// The disks of this machine: what the configuration's glob patterns match, opened by path, probed with
// libblkid. Scanning and probing are system calls of some milliseconds on the loop's thread: not for the data
// path.
#pragma once

#include <string>
#include <vector>

#include "io/disk.h"
#include "io/uring/loop.h"

namespace braid {

struct ShelfOptions {
    std::vector<std::string> patterns;
    Nanos delay{};  ///< before each command
};

class FileShelf final : public DiskShelf {
public:
    FileShelf(Loop& loop, ShelfOptions options) : loop_(loop), options_(std::move(options)) {}

    std::vector<std::string> scan() override;
    /// refused also for a path that no pattern matches.
    Result<std::unique_ptr<Disk>> open(std::string_view name) override;
    Result<DiskContent> probe(std::string_view name) override;

    /// Whether commands of that process, dead or alive, may still be in flight at any of the disks.
    bool may_still_write(std::uint64_t pid);

private:
    bool matches(const std::string& name) const;

    Loop& loop_;
    const ShelfOptions options_;
};

}  // namespace braid
