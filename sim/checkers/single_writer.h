// At any instant, over all living controllers: a unit has one writer or readers, never both and never two
// writers.
#pragma once

#include <string>
#include <vector>

#include "amf/amf.h"
#include "base/prng.h"

namespace braid::sim {

class SingleWriter {
public:
    void begin() {
        ++look_;
        used_ = 0;
        names_.clear();
    }
    /// Empty, or who contradicts whom.
    std::string add(const std::string& controller, Amf& amf) {
        names_.push_back(controller);
        const Holder* other = nullptr;
        amf.locks().for_each_held([&](UnitIndex unit, LockMode mode) {
            if (const Holder* found = add_unit(unit, mode)) other = found;
        });
        return describe(other);
    }
    std::string add(const std::string& controller, UnitIndex unit, LockMode mode) {
        names_.push_back(controller);
        return describe(add_unit(unit, mode));
    }

private:
    /// A place in a hash table; of this look or free.
    struct Holder {
        std::uint64_t unit = 0;
        std::uint32_t look = 0;
        std::uint32_t name = 0;
        LockMode mode{};
    };
    /// Who holds it already in a mode that does not go with this one.
    const Holder* add_unit(UnitIndex unit, LockMode mode) {
        if (2 * ++used_ > units_.size()) grow();
        Holder& at = place(unit.v);
        if (at.look == look_) return compatible(at.mode, mode) ? nullptr : &at;
        at = {unit.v, look_, static_cast<std::uint32_t>(names_.size() - 1), mode};
        return nullptr;
    }
    std::string describe(const Holder* other) const {
        if (other == nullptr) return {};
        return "unit " + std::to_string(other->unit) + " is held by " + names_[other->name] + " and " +
               names_.back();
    }
    Holder& place(std::uint64_t unit) {
        std::size_t at = mix64(unit) & (units_.size() - 1);
        while (units_[at].look == look_ && units_[at].unit != unit) at = (at + 1) & (units_.size() - 1);
        return units_[at];
    }
    void grow() {
        const std::vector<Holder> old = std::exchange(units_, std::vector<Holder>(4 * units_.size()));
        for (const Holder& holder : old) {
            if (holder.look == look_) place(holder.unit) = holder;
        }
    }
    std::vector<Holder> units_ = std::vector<Holder>(1024);
    std::vector<std::string> names_;
    std::size_t used_ = 0;
    std::uint32_t look_ = 1;
};

}  // namespace braid::sim
