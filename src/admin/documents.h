// What the control API says, as JSON text. Every document names its schema and version and changes by
// addition only; bytes and seconds, RFC 3339 times, unknown = null.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "controller/admin_target.h"

namespace braid::admin {

/// Milliseconds since 1970 that belong to StatusReport::now.
using UnixMillis = std::int64_t;

std::string rfc3339(UnixMillis time);

std::string status_document(const StatusReport& report, UnixMillis wall);
std::string controllers_document(const StatusReport& report);
std::string groups_document(const StatusReport& report);
/// Empty if there is no such group.
std::string group_document(const StatusReport& report, std::string_view name);
std::string jobs_document(const StatusReport& report);
/// Empty if there is no such job.
std::string job_document(const StatusReport& report, std::uint64_t id);
std::string disks_document(const std::vector<DiskInfo>& disks);
std::string volumes_document(const std::vector<VolumeInfo>& volumes);
/// `report` says where the answering controller serves NBD: its ports get URIs.
std::string ports_document(const std::vector<PortInfo>& ports, const StatusReport& report);
std::string events_document(std::string_view lines);
/// With at most `hot` of the hot units.
std::string load_document(const LoadReport& report, std::size_t hot);
std::string map_document(const GroupMap& map);
std::string outcome_document(const Outcome& outcome, bool dry_run);
/// RFC 7807 with our `code` and `hint`.
std::string problem_document(const AdminError& error);

std::string_view code_name(Errc code);
int http_status(Errc code);

/// "nbd://127.0.0.1:10809/v0" or "nbd+unix:///v0?socket=/run/x.sock".
std::string nbd_uri(std::string_view address, std::string_view volume);

/// The full name of a disk that is written as its name, or as the last part of exactly one name. Others stay
/// as they are: the controller says what is wrong with them.
std::string full_disk_name(const std::vector<DiskInfo>& disks, std::string_view text);

}  // namespace braid::admin
