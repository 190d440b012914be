// How a job waits until it may go on.
#pragma once

#include "async/task.h"
#include "io/clock.h"
#include "jobs/pace.h"

namespace braid {

/// Returns when so many bytes may go. cancelled: `ending()` was true meanwhile. All outlive the task.
template <class Ending>
Task<Status> take_turn(Pace& pace, Clock& clock, JobKind work, unsigned priority, std::uint64_t bytes,
                       Ending ending) {
    for (Nanos wait = pace.ask(clock.now(), work, priority, bytes); wait != Nanos{0};
         wait = pace.ask(clock.now(), work, priority, bytes)) {
        co_await sleep_for(clock, wait);
        if (ending()) co_return fail(Errc::cancelled);
    }
    co_return Status{};
}

}  // namespace braid
