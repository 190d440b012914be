#include "io/bus.h"

#include <deque>

namespace braid {

struct Bus::Door {
    Door(Executor& executor, std::string n) : name(std::move(n)), arrived(executor) {}
    std::string name;
    std::deque<std::unique_ptr<ByteStream>> waiting;
    Event arrived;
    bool closed = false;
};

class Bus::BusListener final : public Listener {
public:
    BusListener(Bus& bus, std::shared_ptr<Door> door) : bus_(bus), door_(std::move(door)) {}
    ~BusListener() override { close(); }

    Task<Result<std::unique_ptr<ByteStream>>> accept() override {
        const auto door = door_;  // an accept may outlive its listener
        while (door->waiting.empty() && !door->closed) co_await door->arrived.next();
        if (door->closed) co_return fail(Errc::closed);
        auto stream = std::move(door->waiting.front());
        door->waiting.pop_front();
        co_return std::move(stream);
    }
    void close() override {
        if (door_->closed) return;
        door_->closed = true;
        door_->waiting.clear();
        door_->arrived.notify_all();
        bus_.doors_.erase(door_->name);
    }
    std::string address() const override { return door_->name; }

private:
    Bus& bus_;
    std::shared_ptr<Door> door_;
};

Task<Result<std::unique_ptr<ByteStream>>> Bus::connect(std::string address) {
    const auto door = doors_.find(address);
    if (door == doors_.end()) co_return fail(Errc::refused);
    PipeEnds ends = make_pipe(address, capacity);
    door->second->waiting.push_back(std::move(ends.b));
    door->second->arrived.notify_all();
    co_return std::move(ends.a);
}

Result<std::unique_ptr<Listener>> Bus::listen(std::string_view address) {
    if (doors_.contains(address)) return fail(Errc::exists);
    auto door = std::make_shared<Door>(executor_, std::string(address));
    doors_.emplace(door->name, door);
    return std::make_unique<BusListener>(*this, std::move(door));
}

}  // namespace braid
