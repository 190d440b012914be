// link: braidd_config
// Any bytes given as a configuration are a configuration or an error with a text, never anything else.
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "braidd/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto config = braid::parse_config({reinterpret_cast<const char*>(data), size});
    if (config) {
        ASSERT(!config->name.empty() && !config->scan.empty());
    } else {
        ASSERT(!config.error().text.empty());
    }
    return 0;
}
