// link: cluster
// The input as the member record, as it is and with its checksum made right: no input may crash the decoder,
// what it accepts encodes to the same bytes and can be changed.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/assert.h"
#include "base/crc32c.h"
#include "cluster/transitions.h"

namespace {

using namespace braid;

void check(const Bytes& bytes) {
    const auto record = decode_record(bytes);
    if (!record || bytes.empty()) return;
    ASSERT(std::ranges::equal(encode_record(*record), bytes));
    if (record->view.epoch.next().v == 0) return;
    ClusterRecord next = successor(*record);
    for (const ViewMember& member : record->view.members) {
        ASSERT(remove_member(next, member.id, member.incarnation, true));
    }
    const auto added = add_member(next, "fuzz", "somewhere", {1, 1}, {});
    ASSERT(!added || decode_record(encode_record(next)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto input = std::as_bytes(std::span(data, size));
    Bytes bytes(input.begin(), input.end());
    check(bytes);
    if (bytes.size() < 12) return 0;
    const std::uint32_t crc = crc32c(std::span(bytes).subspan(12));
    for (std::size_t i = 0; i < 4; ++i) bytes[8 + i] = static_cast<std::byte>(crc >> (8 * i));
    check(bytes);
    return 0;
}
