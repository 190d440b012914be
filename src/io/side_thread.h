// Further data threads of this process, as the first one has them: each with an executor, a clock, disks and
// sockets of its own, tied to the first one by two queues.
//
//   first thread   post(act)  ------------->  the side: act()
//   first: act()   <------------------------  post_back(act)
//
// Guarantees: acts run in the order of their posts, one at a time, never inside a post; whatever one act
// wrote is seen by the next. Needs: what was made on a thread is used and destroyed there (OnThread sees to
// it).
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "async/scope.h"
#include "async/sync.h"
#include "async/task.h"
#include "io/clock.h"
#include "io/disk.h"
#include "io/stream.h"

namespace braid {

class SideThread {
public:
    using Act = std::move_only_function<void()>;
    virtual ~SideThread() = default;
    /// From the first thread to the side.
    virtual void post(Act act) = 0;
    /// From the side to the first thread.
    virtual void post_back(Act act) = 0;

    // For what lives there, and only there.
    virtual Executor& executor() = 0;
    virtual Clock& clock() = 0;
    virtual Network& network() = 0;
    virtual DiskShelf& shelf() = 0;
};

class SideThreads {
public:
    virtual ~SideThreads() = default;
    /// The side of this number, from 1 on; begun at the first call. They end with this object, after all that
    /// was posted to them. Null: there is none, what belongs there runs on the first thread.
    virtual SideThread* side(unsigned number) = 0;
};

/// An object that is made, used and destroyed on a side, by calls from the first thread; or, without a side,
/// on the first thread at once.
template <class T>
class OnThread {
    struct Inside {
        std::unique_ptr<T> object;
        std::optional<Scope> scope;  ///< of what was asked
    };
    struct Answer {
        explicit Answer(Executor& executor) : done(executor) {}
        Event done;
        Status status;
    };

public:
    /// `make` runs where the object will live.
    OnThread(Executor& here, SideThread* side, std::move_only_function<std::unique_ptr<T>()> make)
        : here_(here), side_(side), inside_(std::make_shared<Inside>()) {
        auto create = [inside = inside_, make = std::move(make)]() mutable { inside->object = make(); };
        if (side_ == nullptr) {
            create();
        } else {
            side_->post(std::move(create));
        }
    }
    OnThread(const OnThread&) = delete;
    OnThread& operator=(const OnThread&) = delete;
    ~OnThread() {
        if (side_ == nullptr) return;
        side_->post([inside = std::move(inside_)] {
            inside->scope.reset();
            inside->object.reset();
        });
    }

    void tell(std::move_only_function<void(T&)> what) {
        if (side_ == nullptr) return what(*inside_->object);
        side_->post([inside = inside_, what = std::move(what)]() mutable { what(*inside->object); });
    }
    /// Returns here when the task that `what` makes has ended there.
    Task<Status> ask(std::move_only_function<Task<Status>(T&)> what) {
        if (side_ == nullptr) co_return co_await what(*inside_->object);
        const auto answer = std::make_shared<Answer>(here_);
        side_->post([inside = inside_, side = side_, what = std::move(what), answer]() mutable {
            if (!inside->scope) inside->scope.emplace(side->executor());
            inside->scope->spawn(carry(*side, what(*inside->object), std::move(answer)));
        });
        co_await answer->done;
        co_return answer->status;
    }
    /// For acts that run on its thread after it was made.
    std::function<T&()> reach() const {
        return [inside = inside_]() -> T& { return *inside->object; };
    }
    /// For the first thread where there is no side, and for who stands outside of all threads.
    T* object() const { return inside_->object.get(); }
    bool here() const { return side_ == nullptr; }

private:
    static Task<void> carry(SideThread& side, Task<Status> task, std::shared_ptr<Answer> answer) {
        const Status status = co_await std::move(task);
        // The answer is set, and given up, on the thread that waits for it.
        side.post_back([answer = std::move(answer), status] {
            answer->status = status;
            answer->done.set();
        });
    }

    Executor& here_;
    SideThread* side_;
    std::shared_ptr<Inside> inside_;
};

}  // namespace braid
