// `braid metadata dump PATH`: what stands on a member disk, read with every daemon down. Opens the disk for
// reading only.
#pragma once

#include <string>

#include "braid/commands.h"

namespace braid::cli {

int metadata_dump(const Globals& g, const std::string& path);

}  // namespace braid::cli
