#include "io/uring/disk.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/assert.h"
#include "base/log.h"

namespace braid {
namespace {

constexpr std::uint64_t kLargestTransfer = 1u << 30;
constexpr std::uint64_t kZerosSize = 1u << 20;
constexpr std::uint64_t kInlineZero = 4u << 20;  // punching 1024 pages out of tmpfs takes about 100 us
constexpr std::uint64_t kMarks = 1ull << 62;     // lock offsets that no data has: this + process number

std::byte* zeros() {
    alignas(4096) static std::byte memory[kZerosSize];
    return memory;
}

bool is_in_memory(int fd) {
    struct statfs fs{};
    if (::fstatfs(fd, &fs) != 0) return false;
    const auto type = static_cast<std::uint64_t>(fs.f_type);
    return type == TMPFS_MAGIC || type == RAMFS_MAGIC;
}

std::uint64_t size_of(int fd, const struct stat& st) {
    if (!S_ISBLK(st.st_mode)) return static_cast<std::uint64_t>(st.st_size);
    std::uint64_t bytes = 0;
    return ::ioctl(fd, BLKGETSIZE64, &bytes) == 0 ? bytes : 0;
}

std::unexpected<Error> open_failed(int error) {
    const auto detail = static_cast<std::uint32_t>(error);
    if (error == ENOENT || error == ENXIO || error == ENODEV) return fail(Errc::not_found, detail);
    if (error == EACCES || error == EPERM || error == EROFS) return fail(Errc::refused, detail);
    return fail(Errc::io_error, detail);
}

struct flock mark_of(std::uint64_t pid, short type) {
    struct flock lock{};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<off_t>(kMarks + pid);
    lock.l_len = 1;
    return lock;
}

bool is_media(int error) { return error == EIO || error == ENODATA || error == EILSEQ || error == EBADMSG; }

}  // namespace

Result<std::unique_ptr<Disk>> UringDisk::open(Loop& loop, std::string path) {
    struct stat st{};
    if (::stat(path.c_str(), &st) != 0) return open_failed(errno);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) return fail(Errc::refused);
    bool direct = true;
    int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_DIRECT);
    if (fd < 0 && errno == EINVAL) {
        direct = false;
        fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    }
    if (fd < 0) return open_failed(errno);
    std::unique_ptr<UringDisk> disk(new UringDisk(loop, std::move(path), fd));
    disk->size_ = size_of(fd, st);
    disk->in_memory_ = S_ISREG(st.st_mode) && is_in_memory(fd);
    if (disk->in_memory_ && direct) {
        // There O_DIRECT only adds checks.
        ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_DIRECT);
        direct = false;
    }
    disk->direct_ = direct;
    disk->zero_way_ = disk->in_memory_ ? ZeroWay::punch_hole : ZeroWay::zero_range;
    if (disk->size_ == 0 || disk->size_ % kBlockSize != 0) return fail(Errc::refused);
    // The lock belongs to the open file, and so does every command in flight: it goes with the last of them.
    struct flock mark = mark_of(static_cast<std::uint64_t>(::getpid()), F_RDLCK);
    if (::fcntl(fd, F_OFD_SETLK, &mark) != 0)
        LOG_WARN("disk.no_mark", {"disk", disk->path_}, {"errno", errno});
    return std::unique_ptr<Disk>(std::move(disk));
}

bool may_still_write(const std::string& path, std::uint64_t pid) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) return false;
    struct flock mark = mark_of(pid, F_WRLCK);
    const bool held = ::fcntl(fd, F_OFD_GETLK, &mark) == 0 && mark.l_type != F_UNLCK;
    ::close(fd);
    return held;
}

UringDisk::~UringDisk() {
    ASSERT(free_.size() == commands_.size());  // a command is still in flight
    ::close(fd_);
}

UringDisk::Command& UringDisk::take_command() {
    if (free_.empty()) {
        commands_.push_back(std::make_unique<Command>());
        free_.reserve(commands_.size());
        Command& fresh = *commands_.back();
        fresh.disk = this;
        fresh.fd = fd_;
        fresh.finish = [](KernelOp& op, int result) {
            auto& command = static_cast<Command&>(op);
            command.disk->finish(command, result);
        };
        return fresh;
    }
    Command& command = *free_.back();
    free_.pop_back();
    return command;
}

void UringDisk::submit(DiskOp& op, Join& join) {
    ASSERT(op.in_flight == nullptr);
    const std::uint64_t length = op.verb == DiskVerb::zero ? op.zero_length : op.memory.size();
    ASSERT(op.offset % kBlockSize == 0 && length % kBlockSize == 0);
    ASSERT(reinterpret_cast<std::uintptr_t>(op.memory.data()) % kBlockSize == 0);
    op.in_flight = this;
    op.join = &join;
    op.progress = 0;
    starts(op, loop_.clock().now());
    join.add();
    Command& command = take_command();
    command.op = &op;
    op.device_state = &command;
    if (op.offset > size_ || length > size_ - op.offset) {
        loop_.finish_later(command, -ERANGE);
    } else if (op.verb != DiskVerb::flush && length == 0) {
        loop_.finish_later(command, 0);
    } else {
        begin(command);
    }
}

/// Starts what is left of the command.
void UringDisk::begin(Command& command) {
    DiskOp& op = *command.op;
    command.offset = op.offset + op.progress;
    command.durable = op.durable;
    switch (op.verb) {
        case DiskVerb::read:
        case DiskVerb::write:
            command.verb = op.verb == DiskVerb::read ? KernelOp::Verb::read : KernelOp::Verb::write;
            command.memory = op.memory.data() + op.progress;
            command.length = std::min<std::uint64_t>(op.memory.size() - op.progress, kLargestTransfer);
            if (in_memory_) return loop_.finish_later(command, transfer_now(command));
            return loop_.start(command);
        case DiskVerb::zero:
            return begin_zero(command);
        case DiskVerb::flush:
            command.verb = KernelOp::Verb::fdatasync;
            if (in_memory_) return loop_.finish_later(command, 0);
            return loop_.start(command);
    }
}

void UringDisk::begin_zero(Command& command) {
    const std::uint64_t left = command.op->zero_length - command.op->progress;
    if (zero_way_ == ZeroWay::write) {
        command.verb = KernelOp::Verb::write;
        command.memory = zeros();
        command.length = std::min(left, kZerosSize);
        return loop_.start(command);
    }
    command.verb = KernelOp::Verb::fallocate;
    command.mode = FALLOC_FL_KEEP_SIZE |
                   (zero_way_ == ZeroWay::zero_range ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE);
    command.length = left;
    if (!in_memory_ || left > kInlineZero) return loop_.start(command);
    const int result =
        ::fallocate(fd_, command.mode, static_cast<off_t>(command.offset), static_cast<off_t>(left));
    loop_.finish_later(command, result == 0 ? 0 : -errno);
}

int UringDisk::transfer_now(Command& command) {
    const auto offset = static_cast<off_t>(command.offset);
    const ssize_t moved = command.verb == KernelOp::Verb::read
                              ? ::pread(fd_, command.memory, command.length, offset)
                              : ::pwrite(fd_, command.memory, command.length, offset);
    return moved < 0 ? -errno : static_cast<int>(moved);
}

void UringDisk::finish(Command& command, int result) {
    DiskOp& op = *command.op;
    if (result < 0) {
        if (result == -EINTR || result == -EAGAIN) return begin(command);
        if (op.verb == DiskVerb::zero && try_other_zero_way(command, -result)) return begin(command);
        const auto detail = static_cast<std::uint32_t>(-result);
        if (result == -ERANGE) return end(command, fail(Errc::invalid, detail));
        const bool media = op.verb == DiskVerb::read && is_media(-result);
        return end(command, fail(media ? Errc::media_error : Errc::io_error, detail));
    }
    const std::uint64_t length = op.verb == DiskVerb::zero ? op.zero_length : op.memory.size();
    if (op.verb == DiskVerb::flush || length == 0 || command.verb == KernelOp::Verb::fallocate) {
        return end(command, {});
    }
    if (result == 0) return end(command, fail(Errc::io_error, ENODATA));  // somebody cut the file
    op.progress += static_cast<std::size_t>(result);
    if (op.progress < length) return begin(command);
    end(command, {});
}

bool UringDisk::try_other_zero_way(const Command& command, int error) {
    if (command.verb != KernelOp::Verb::fallocate) return false;
    if (error != EOPNOTSUPP && error != EINVAL && error != ENOSYS && error != ENOTTY) return false;
    if (zero_way_ == ZeroWay::write) return true;  // another command found out before this one
    zero_way_ = command.mode & FALLOC_FL_ZERO_RANGE ? ZeroWay::punch_hole : ZeroWay::write;
    return true;
}

void UringDisk::end(Command& command, Status status) {
    DiskOp& op = *command.op;
    ends(op, loop_.clock().now());
    switch (op.verb) {
        case DiskVerb::read:
            ++counters_.reads;
            if (status) counters_.count_bytes(op);
            break;
        case DiskVerb::write:
            ++counters_.writes;
            if (status) counters_.count_bytes(op);
            break;
        case DiskVerb::zero:
            ++counters_.zeroes;
            break;
        case DiskVerb::flush:
            ++counters_.flushes;
            break;
    }
    if (!status) ++counters_.errors;
    command.op = nullptr;
    free_.push_back(&command);
    op.in_flight = nullptr;
    op.device_state = nullptr;
    op.status = status;
    op.join->done();
}

void UringDisk::abandon(DiskOp& op) {
    ASSERT(loop_.stopping());  // the kernel still owns the memory of this command
    loop_.drain();
    ASSERT(op.in_flight == nullptr);
}

}  // namespace braid
