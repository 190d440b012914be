// The words of a scenario's steps. A step fits one form; a form is words that stand for themselves and, in
// capitals, words that stand for something:
//
//   C a controller (a, b, ...)   CS several of them    SIZE 512, 4K, 1M    T 20ms, 3s, 50us    N a number
//   AT a place, or a place and bytes: X, X+4K          STRIP a strip of its stripe: X/d0, X/P
//   DISK a number, or whoever has a strip: 2, X/P
//   NAME of an operation, or zeros                     LINE a trace line, or as many of its words as are
//   wanted WORD any word
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "sim/scenario.h"

namespace braid::sim {

/// What a form means. The order is that of the table of forms.
enum class Verb : std::uint8_t {
    write,
    write_fua,
    read,
    read_value,
    sees_hole,
    sees_data,
    zero,
    trim_extent,
    flush,
    await,
    waits,
    crash,
    start,
    stop,
    pause,
    resume,
    paths_lost,
    paths_back,
    path_lost,
    power_cut,
    cut,
    cut_one_way,
    heal,
    reset,
    side_late,
    side_heard,
    disk_dies,
    disks_die,
    disk_returns,
    disk_kept,
    disk_returns_old,
    disk_refuses,
    disk_fails_some,
    disk_slow,
    disk_loses,
    disk_misdirects,
    spoil,
    rot,
    orphans,
    hold,
    release,
    release_all,
    until_calm,
    until_view,
    until_rebuilt,
    until_reshaped,
    until_scrubbed,
    until,
    run,
    fail_disk,
    remove_disk,
    add_disk,
    replace_disk,
    take_disk_back,
    expand,
    want_width,
    want_level,
    close_port,
    open_ports,
    open_port,
    set_hold,
    set_order,
    set_prefetch,
    set_replication,
    set_few_partners,
    set_partners,
    set_partner_place,
    scrub,
    pause_scrub,
    resume_scrub,
    cancel_scrub,
    fence,
    verify,
    expect_view,
    expect_count,
    expect_copies,
    expect_partners,
    expect_packets,
    expect_held,
    expect_not_held,
    expect_condition,
    expect_no_condition,
    expect_condition_at,
    expect_absent,
    expect_parity,
};

Verb verb_of(const Step& step);
/// What somebody asks of a controller and waits for: it may have a name.
constexpr bool is_operation(Verb verb) {
    return verb <= Verb::flush || (verb >= Verb::fail_disk && verb <= Verb::fence);
}
constexpr bool is_write(Verb verb) {
    return verb == Verb::write || verb == Verb::write_fua || verb == Verb::zero || verb == Verb::trim_extent;
}

/// The step, without its line, or what is wrong with it.
std::expected<Step, std::string> parse_step(std::string_view text, const Scenario& scenario);
/// Empty, or what is wrong with a trace line's words.
std::string check_line(const std::vector<std::string>& words, const Scenario& scenario);

std::optional<std::uint64_t> parse_size(std::string_view text);
std::optional<Nanos> parse_time(std::string_view text);
/// Which of its controller's AMFs `a/1` means; `a` is the first one.
inline unsigned index_of(std::string_view amf) {
    return amf.size() < 3 ? 0 : static_cast<unsigned>(amf[2] - '0');
}
bool is_amf(std::string_view word, const Shape& shape);
/// Place of a controller's letter, or of the letter of an AMF's controller: 'a' is 0.
inline std::size_t controller_of(std::string_view letter) {
    return static_cast<std::size_t>(letter[0] - 'a');
}

}  // namespace braid::sim
