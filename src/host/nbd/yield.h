// `co_await Yield{executor}` goes to the end of the run queue: what is ready now runs first.
#pragma once

#include "async/executor.h"

namespace braid::nbd {

struct Yield {
    Executor& executor;
    Wakeup wakeup{};
    bool await_ready() const noexcept { return executor.idle(); }
    void await_suspend(std::coroutine_handle<> h) noexcept {
        wakeup.handle = h;
        executor.post(wakeup);
    }
    void await_resume() noexcept {}
};

}  // namespace braid::nbd
