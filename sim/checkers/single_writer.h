// At any instant, over all living controllers: a unit has one writer or readers, never both and never two
// writers.
#pragma once

#include <map>
#include <string>

#include "amf/amf.h"

namespace braid::sim {

class SingleWriter {
public:
    void begin() { units_.clear(); }
    /// Empty, or who contradicts whom.
    std::string add(const std::string& controller, Amf& amf) {
        std::string wrong;
        amf.locks().for_each_held([&](UnitIndex unit, LockMode mode) {
            std::string one = add(controller, unit, mode);
            if (wrong.empty()) wrong = std::move(one);
        });
        return wrong;
    }
    std::string add(const std::string& controller, UnitIndex unit, LockMode mode) {
        auto [at, fresh] = units_.try_emplace(unit.v, Holder{controller, mode});
        if (fresh || compatible(at->second.mode, mode)) return {};
        return "unit " + std::to_string(unit.v) + " is held by " + at->second.controller + " and " +
               controller;
    }

private:
    struct Holder {
        std::string controller;
        LockMode mode;
    };
    std::map<std::uint64_t, Holder> units_;
};

}  // namespace braid::sim
