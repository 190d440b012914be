#include "amf/stripe_locks.h"

namespace braid {

StripeLocks::~StripeLocks() {
    ASSERT(active_ == 0);
    while (free_ != nullptr) delete std::exchange(free_, free_->next);
}

StripeLocks::Node& StripeLocks::node_of(StripeIndex stripe) {
    Node*& head = buckets_[stripe.v % kBuckets];
    for (Node* node = head; node != nullptr; node = node->next) {
        if (node->stripe == stripe) return *node;
    }
    Node* node = free_;
    if (node != nullptr) {
        free_ = node->next;
        *node = Node{};
    } else {
        node = new Node;
    }
    node->stripe = stripe;
    node->next = std::exchange(head, node);
    ++active_;
    return *node;
}

void StripeLocks::drop_if_idle(Node& node) {
    if (node.writer || node.readers != 0 || node.first != nullptr) return;
    Node** link = &buckets_[node.stripe.v % kBuckets];
    while (*link != &node) link = &(*link)->next;
    *link = node.next;
    node.next = std::exchange(free_, &node);
    --active_;
}

void StripeLocks::admit(Node& node) {
    while (node.first != nullptr && compatible(node, node.first->write_)) {
        Awaiter& awaiter = *node.first;
        take(node, awaiter.write_);
        forget(awaiter);
        awaiter.granted_ = true;
        executor_.post(awaiter.wakeup_);
    }
}

void StripeLocks::release(Node& node, bool write) {
    if (write) {
        node.writer = false;
    } else {
        --node.readers;
    }
    admit(node);
    drop_if_idle(node);
}

void StripeLocks::forget(Awaiter& awaiter) {
    Node& node = *awaiter.node_;
    Awaiter* before = nullptr;
    for (Awaiter* at = node.first; at != &awaiter; at = at->next_) before = at;
    (before == nullptr ? node.first : before->next_) = awaiter.next_;
    if (node.last == &awaiter) node.last = before;
    awaiter.queued_ = false;
}

StripeLocks::Awaiter::~Awaiter() {
    if (queued_) {
        locks_.forget(*this);
        locks_.admit(*node_);  // it may have stood before readers that can go now
        locks_.drop_if_idle(*node_);
    } else if (granted_) {
        locks_.release(*node_, write_);
    }
}

bool StripeLocks::Awaiter::await_ready() {
    node_ = &locks_.node_of(stripe_);
    if (node_->first != nullptr || !compatible(*node_, write_)) return false;
    take(*node_, write_);
    granted_ = true;
    return true;
}

void StripeLocks::Awaiter::await_suspend(std::coroutine_handle<> h) {
    wakeup_.handle = h;
    next_ = nullptr;
    (node_->first == nullptr ? node_->first : node_->last->next_) = this;
    node_->last = this;
    queued_ = true;
}

StripeLocks::Guard StripeLocks::Awaiter::await_resume() {
    granted_ = false;
    return Guard(locks_, *node_, write_);
}

}  // namespace braid
