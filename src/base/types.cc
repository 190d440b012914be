#include "base/types.h"

namespace braid {

std::string to_string(const Uuid& id) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string out;
    out.reserve(36);
    for (std::size_t i = 0; i < id.bytes.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) out.push_back('-');
        out.push_back(digits[id.bytes[i] >> 4]);
        out.push_back(digits[id.bytes[i] & 15]);
    }
    return out;
}

}  // namespace braid
