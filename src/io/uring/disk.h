// A disk that is a file or a block device. O_DIRECT where the file system has it. Several processes may open
// one. The kernel owns the memory of a command until it is complete: destroying a DiskOp in flight is a
// broken invariant unless the loop is stopping, and then waits for the kernel.
//
// Which way is fastest (bare system calls at depth 1 against a bare ring at depth 1 / 32; 4 KiB random, us
// per operation, one run on Linux 6.18; bench/io_loop_bench shows the chosen ways only):
//   - tmpfs: pread 0.9, pwrite 0.8; ring 50 / 2, always a worker thread. So: system calls.
//   - ext4, O_DIRECT: pread 49, pwrite 44; ring 49 / 13 read, 48 / 11 write. So: the ring.
//   - ext4, buffered: pread 0.7, pwrite 2.4; ring 1 / 0.8 read, 59 / 4 write; may block. So: the ring.
// So files in memory are read and written inside submit(), everything else by the ring; the end is always
// told later.
#pragma once

#include <memory>
#include <ranges>
#include <string>
#include <vector>

#include "io/disk.h"
#include "io/uring/loop.h"

namespace braid {

class UringDisk final : public Disk {
public:
    /// not_found, refused (permissions, not a file or block device, an odd size), io_error with errno.
    static Result<std::unique_ptr<Disk>> open(Loop& loop, std::string path);
    ~UringDisk() override;

    std::uint64_t size() const override { return size_; }
    const std::string& name() const override { return path_; }
    void submit(DiskOp& op, Join& join) override;
    void abandon(DiskOp& op) override;
    std::optional<Nanos> oldest() const override {
        return oldest_of(std::views::transform(commands_, [](const auto& command) { return command->op; }));
    }

    bool direct() const { return direct_; }
    bool in_memory() const { return in_memory_; }

private:
    struct Command : KernelOp {
        UringDisk* disk = nullptr;
        DiskOp* op = nullptr;
    };
    enum class ZeroWay : std::uint8_t { zero_range, punch_hole, write };

    UringDisk(Loop& loop, std::string path, int fd) : loop_(loop), path_(std::move(path)), fd_(fd) {}
    void begin(Command& command);
    void begin_zero(Command& command);
    void finish(Command& command, int result);
    void end(Command& command, Status status);
    bool try_other_zero_way(const Command& command, int error);
    int transfer_now(Command& command);
    Command& take_command();

    Loop& loop_;
    const std::string path_;
    const int fd_;
    std::uint64_t size_ = 0;
    bool direct_ = false;
    bool in_memory_ = false;
    ZeroWay zero_way_ = ZeroWay::zero_range;
    std::vector<std::unique_ptr<Command>> commands_;
    std::vector<Command*> free_;
};

/// Whether a process may still have a command in flight at the disk, however dead it is: the kernel lets go
/// of the mark that open() leaves only with the last of them. False for a disk that cannot be opened.
bool may_still_write(const std::string& path, std::uint64_t pid);

}  // namespace braid
