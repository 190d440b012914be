#include "async/scope.h"

namespace braid {

struct RootPromise : PooledFrame {
    Scope* scope = nullptr;
    RootPromise* next = nullptr;
    RootPromise** link = nullptr;  // whatever points at this one

    RootPromise(Scope& s, Task<void>&) : scope(&s) {}
    std::coroutine_handle<RootPromise> get_return_object() {
        return std::coroutine_handle<RootPromise>::from_promise(*this);
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    struct Final {
        bool await_ready() noexcept { return false; }
        void await_suspend(std::coroutine_handle<RootPromise> h) noexcept {
            Scope& owner = *h.promise().scope;
            h.promise().unlink();
            h.destroy();
            if (--owner.running_ == 0) owner.idle_.notify_all();
        }
        void await_resume() noexcept {}
    };
    Final final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() noexcept { std::terminate(); }

    void insert(RootPromise*& head) {
        next = head;
        link = &head;
        if (next != nullptr) next->link = &next;
        head = this;
    }
    void unlink() {
        *link = next;
        if (next != nullptr) next->link = link;
    }
};

struct Scope::Root {
    using promise_type = RootPromise;
    std::coroutine_handle<RootPromise> handle;
    Root(std::coroutine_handle<RootPromise> h) : handle(h) {}
};

Scope::Root Scope::run(Scope&, Task<void> task) { co_await std::move(task); }

void Scope::spawn(Task<void> task) {
    Root root = run(*this, std::move(task));
    root.handle.promise().insert(first_);
    ++running_;
    root.handle.resume();
}

void Scope::destroy_all() {
    while (first_ != nullptr) {
        RootPromise* promise = first_;
        promise->unlink();
        --running_;
        std::coroutine_handle<RootPromise>::from_promise(*promise).destroy();
    }
    idle_.notify_all();
}

Task<void> Scope::join() {
    while (running_ != 0) co_await idle_.next();
}

}  // namespace braid
