#include "io/uring/side_threads.h"

#include <pthread.h>

#include <semaphore>

#include "base/log.h"
#include "io/uring/network.h"
#include "io/uring/shelf.h"

namespace braid {

// ---- Channel

void Channel::post(SideThread::Act act) {
    if (!late_.empty() || !ring_.put(act)) {
        ASSERT(late_.size() < kLongest);
        late_.push_back(std::move(act));
    }
    to_.nudge();
}

bool Channel::flush() {
    bool any = false;
    while (!late_.empty() && ring_.put(late_.front())) {
        late_.pop_front();
        any = true;
    }
    if (any) to_.nudge();
    return any;
}

bool Channel::run() {
    SideThread::Act act;
    int ran = 0;
    while (ran < kPerTurn && ring_.take(act)) {
        act();
        act = nullptr;
        ++ran;
    }
    return ran != 0;
}

// ---- a side

class LoopSides::Side final : public SideThread {
public:
    Side(Loop& first, LoopOptions options, ShelfOptions disks, unsigned number)
        : to_first_(first), first_inbox_(*this), first_(first) {
        std::binary_semaphore up{0};
        thread_ = std::thread([this, &up, options, number, patterns = std::move(disks)] {
            ::pthread_setname_np(::pthread_self(), ("amf-" + std::to_string(number)).c_str());
            live(options, patterns, up);
        });
        up.acquire();
        first_.add_inbox(first_inbox_);
        LOG_INFO("side.begun", {"number", number}, {"engine", here_->loop.engine_name()});
    }
    ~Side() override {
        to_side_->post([this] { here_->loop.stop(); });
        while (to_side_->late()) {
            to_side_->flush();
            std::this_thread::yield();
        }
        last_post_.release();
        thread_.join();
        first_.remove_inbox(first_inbox_);
    }

    void post(Act act) override { to_side_->post(std::move(act)); }
    void post_back(Act act) override { to_first_.post(std::move(act)); }
    Executor& executor() override { return here_->loop.executor(); }
    Clock& clock() override { return here_->loop.clock(); }
    Network& network() override { return here_->network; }
    DiskShelf& shelf() override { return here_->shelf; }

private:
    /// What lives on the side's thread.
    struct Here {
        Here(LoopOptions options, ShelfOptions disks)
            : loop(options), shelf(loop, std::move(disks)), network(loop) {}
        Loop loop;
        FileShelf shelf;
        UringNetwork network;
    };
    /// In the first loop's turns: what comes from the side, and what could not go there at once.
    struct FirstInbox final : Inbox {
        explicit FirstInbox(Side& s) : side(s) {}
        bool waiting() const override { return side.to_first_.waiting() || side.to_side_->late(); }
        bool run() override {
            const bool sent = side.to_side_->flush();
            return side.to_first_.run() || sent;
        }
        Side& side;
    };
    struct SideInbox final : Inbox {
        explicit SideInbox(Side& s) : side(s) {}
        bool waiting() const override { return side.to_side_->waiting() || side.to_first_.late(); }
        bool run() override {
            const bool sent = side.to_first_.flush();
            return side.to_side_->run() || sent;
        }
        Side& side;
    };

    void live(LoopOptions options, const ShelfOptions& disks, std::binary_semaphore& up) {
        Here here(options, disks);
        here_ = &here;
        to_side_ = std::make_unique<Channel>(here.loop);
        SideInbox inbox(*this);
        here.loop.add_inbox(inbox);
        up.release();
        here.loop.run();
        last_post_.acquire();
        here.loop.remove_inbox(inbox);
    }

    Channel to_first_;
    FirstInbox first_inbox_;
    Loop& first_;
    Here* here_ = nullptr;
    std::unique_ptr<Channel> to_side_;
    std::binary_semaphore last_post_{0};  ///< whoever posts still looks at the loop after the act was taken
    std::thread thread_;
};

LoopSides::LoopSides(Loop& first, LoopOptions options, ShelfOptions disks)
    : first_(first), options_(options), disks_(std::move(disks)) {}

LoopSides::~LoopSides() = default;

SideThread* LoopSides::side(unsigned number) {
    while (sides_.size() < number) {
        sides_.push_back(
            std::make_unique<Side>(first_, options_, disks_, static_cast<unsigned>(sides_.size() + 1)));
    }
    return sides_[number - 1].get();
}

}  // namespace braid
