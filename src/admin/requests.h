// What the control API understands, from JSON text. Requests are hostile until parsed: an unknown or
// ill-typed field is an error that names it.
#pragma once

#include <string_view>

#include "controller/admin_target.h"

namespace braid::admin {

AdminResult<CreateGroup> parse_create_group(std::string_view body);
/// Without the name.
AdminResult<AddDisk> parse_add_disk(std::string_view body);
AdminResult<ExpandGroup> parse_expand_group(std::string_view body);
AdminResult<SetGroup> parse_set_group(std::string_view body);
/// Without the name.
AdminResult<ScrubGroup> parse_scrub_group(std::string_view body);
AdminResult<CreateVolume> parse_create_volume(std::string_view body);
AdminResult<CreatePorts> parse_create_ports(std::string_view body);

}  // namespace braid::admin
