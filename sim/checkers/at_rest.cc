#include "sim/checkers/at_rest.h"

#include <array>
#include <utility>

namespace braid::sim {

std::string check_at_rest(Amf& amf) {
    const AmfConditions conditions = amf.conditions();
    const std::array open = {
        std::pair{"stripes in use", amf.stripes_in_use()},
        std::pair{"locks in use", amf.locks().in_use()},
        std::pair{"records of its own", amf.replicator().live_records()},
        std::pair{"records kept for others", amf.replicator().store().all().size()},
        std::pair{"recoveries", conditions.recovering_units},
        std::pair{"ways of locking that its tables do not say",
                  std::size_t{amf.locks().sharing() != amf.tables().config().sharing}},
        std::pair{"missing copies", std::size_t{conditions.missing_copies}},
    };
    std::string out;
    for (const auto& [what, count] : open) {
        if (count == 0) continue;
        if (!out.empty()) out += ", ";
        out += std::to_string(count) + " " + what;
    }
    return out;
}

}  // namespace braid::sim
