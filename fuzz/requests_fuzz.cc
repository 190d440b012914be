// link: admin
// Bodies of requests to the control API: each is a request or an error with a text, whatever it says. First
// byte: which request.
#include <cstdint>
#include <string_view>

#include "admin/documents.h"
#include "admin/requests.h"
#include "base/assert.h"

namespace {

template <class T>
const T* check(const braid::AdminResult<T>& parsed) {
    if (parsed) return &*parsed;
    ASSERT(!parsed.error().detail.empty());
    (void)braid::admin::problem_document(parsed.error());
    return nullptr;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace braid::admin;
    if (size == 0) return 0;
    const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
    switch (data[0] % 3) {
        case 0:
            (void)check(parse_create_group(body));
            break;
        case 1:
            (void)check(parse_create_volume(body));
            break;
        default:
            (void)check(parse_create_ports(body));
    }
    return 0;
}
