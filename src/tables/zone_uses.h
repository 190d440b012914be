// Disk commands by the places of zones, as long as they are under way. A segment that has left its zone may
// be given to another extent only when no command is left anywhere that was sent by the zone as it was:
// whoever applies the change notes the extent, and says that it has done so when they are over.
//
// A command is sent by what the tables say at that moment, and waits for nothing but its disk. So this ends
// under the tables lock; and nobody needs to know how long the operations take that send them.
#pragma once

#include <cstdint>
#include <map>

#include "async/sync.h"
#include "base/types.h"

namespace braid {

class ZoneUses {
public:
    /// Commands that go together, under way until their join says otherwise.
    class Use {
    public:
        Use(ZoneUses& uses, ExtentIndex extent, const Join& commands)
            : uses_(uses), extent_(extent), commands_(commands) {}
        Use(const Use&) = delete;
        Use& operator=(const Use&) = delete;
        ~Use() { leave(); }

        /// Before the first of them is sent.
        void begin() {
            leave();
            number_ = ++uses_.last_number_;
            before_ = uses_.newest_;
            if (before_ != nullptr) before_->after_ = this;
            uses_.newest_ = this;
        }

    private:
        friend class ZoneUses;
        void leave() {
            if (number_ == 0) return;
            (after_ != nullptr ? after_->before_ : uses_.newest_) = before_;
            if (before_ != nullptr) before_->after_ = after_;
            before_ = after_ = nullptr;
            number_ = 0;
        }

        ZoneUses& uses_;
        const ExtentIndex extent_;
        const Join& commands_;
        Use* before_ = nullptr;
        Use* after_ = nullptr;
        std::uint64_t number_ = 0;  ///< 0: not begun
    };

    /// What is under way in the extent now is awaited.
    void await_those_of(ExtentIndex extent) { awaited_[extent] = last_number_; }
    /// Nothing that was awaited is left.
    bool over() {
        for (const Use* use = awaited_.empty() ? nullptr : newest_; use != nullptr; use = use->before_) {
            const auto awaited = awaited_.find(use->extent_);
            const bool before = awaited != awaited_.end() && use->number_ <= awaited->second;
            if (before && use->commands_.pending() != 0) return false;
        }
        awaited_.clear();
        return true;
    }

private:
    Use* newest_ = nullptr;
    std::uint64_t last_number_ = 0;
    std::map<ExtentIndex, std::uint64_t> awaited_;  ///< with the number of the last use that is
};

}  // namespace braid
