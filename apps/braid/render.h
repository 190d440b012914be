// Documents of the control API as text for people: stable column order, no colour, no box drawing.
#pragma once

#include <string>
#include <string_view>

namespace braid::cli {

/// Each takes a document as the API sent it; unknown and missing fields are left out, never an error.
std::string status_text(std::string_view document, bool problems_only = false);
/// Whether the status document holds a condition.
bool has_problems(std::string_view document);
std::string groups_text(std::string_view document);
std::string group_text(std::string_view document);
/// A column for each disk, a row for each band.
std::string map_text(std::string_view document);
std::string volumes_text(std::string_view document);
std::string ports_text(std::string_view document);
std::string disks_text(std::string_view document);
std::string controllers_text(std::string_view document);
std::string jobs_text(std::string_view document);
std::string job_text(std::string_view document);
std::string events_text(std::string_view document);
std::string outcome_text(std::string_view document);

/// "scrub g0  [=====>....]  61.4 %   0.6/1.0 GiB   412 MiB/s   1 s left".
std::string job_line(std::string_view job_document);

}  // namespace braid::cli
