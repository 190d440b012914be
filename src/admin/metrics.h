// The metrics page: the text exposition format 0.0.4 that Prometheus reads.
#pragma once

#include <string>
#include <vector>

#include "controller/admin_target.h"

namespace braid::admin {

/// What every controller says about itself, from its status: epoch, health, groups, jobs, conditions.
std::vector<Metric> status_metrics(const StatusReport& report);

/// HELP and TYPE once per name, before its first sample; label values escaped.
std::string metrics_page(const std::vector<Metric>& metrics);

}  // namespace braid::admin
