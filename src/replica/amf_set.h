// A small set of AMFs of one group.
#pragma once

#include <algorithm>
#include <array>

#include "base/assert.h"
#include "base/types.h"

namespace braid {

/// At most one entry per AMF that can share a group.
class AmfSet {
public:
    bool contains(AmfId id) const {
        for (std::size_t i = 0; i < size_; ++i) {
            if (ids_[i] == id) return true;
        }
        return false;
    }
    void insert(AmfId id) {
        if (contains(id)) return;
        ASSERT(size_ < ids_.size());
        ids_[size_++] = id;
    }
    bool erase(AmfId id) {
        for (std::size_t i = 0; i < size_; ++i) {
            if (ids_[i] != id) continue;
            ids_[i] = ids_[--size_];
            return true;
        }
        return false;
    }
    void clear() { size_ = 0; }
    bool empty() const { return size_ == 0; }
    std::size_t size() const { return size_; }
    const AmfId* begin() const { return ids_.data(); }
    const AmfId* end() const { return ids_.data() + size_; }

private:
    std::array<AmfId, kMaxGroupAmfs> ids_{};
    std::size_t size_ = 0;
};

}  // namespace braid
