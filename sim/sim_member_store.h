// The simulated shared record of a machine's controllers: a lock that dies with its holder, a kill that
// waits for the victim's last disk command to land or vanish, but not always to the end (then it says so),
// and watches that the kernel answers at once.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "io/member_store.h"
#include "sim/world.h"

namespace braid::sim {

/// What stands on the machine, whoever lives.
struct SharedRecord {
    Bytes bytes;
    std::uint64_t holder = 0;  ///< pid that has the lock
    std::uint64_t turns = 0;   ///< times that it was taken
    std::uint64_t kills = 0;
    std::set<std::uint64_t> members;  ///< pids of the view that stands there
    Epoch epoch{};                    ///< of that view
    // Faults.
    Nanos slow{};          ///< every call takes up to so much longer
    bool refuses = false;  ///< calls fail; what was to be written may stand there all the same
    std::function<void(Epoch before)> replaced;  ///< told when a newer view stands there
};

class SimMemberStore final : public MemberStore {
public:
    SimMemberStore(Process& process, SharedRecord& record) : process_(process), record_(record) {}
    ~SimMemberStore() override;

    ProcessRef self() const override { return {process_.pid, 1}; }
    Task<Result<Bytes>> read() override;
    Task<Status> lock() override;
    Task<Status> write(Bytes record) override;
    void unlock() override;
    LockTurn last_lock() override { return {{record_.holder, 1}, record_.turns}; }
    Task<FenceReport> kill(ProcessRef victim) override;
    void watch(std::uint32_t slot, ProcessRef process, Event& died) override;
    void unwatch(std::uint32_t slot) override;

private:
    void note_members();
    Nanos delay(Nanos least);

    struct Watch {
        Event* died = nullptr;
        std::uint64_t pid = 0;
    };
    Process& process_;
    SharedRecord& record_;
    std::map<std::uint32_t, Watch> watches_;
    std::shared_ptr<bool> here_ = std::make_shared<bool>(true);  ///< false once this object is gone
};

}  // namespace braid::sim
