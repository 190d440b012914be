// What each command does: asks the control API and prints. All return the process's exit code.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "braid/client.h"

namespace braid::cli {

struct Globals {
    bool json = false;
    bool yes = false;
    bool dry_run = false;
    double timeout_s = 0;           ///< 0: none given
    std::vector<std::string> apis;  ///< --api, or BRAID_API and the other controllers of a running demo
    Client client() const { return Client(apis, timeout_s); }
};

/// How the AMFs of a new group share it.
struct SharingRequest {
    std::uint64_t min_hold_us = 0;
    std::string granularity = "stripe", coherency = "arbiter", lock_order = "fifo";
    unsigned prefetch = 32, amfs = 1;
    std::string cache = "write-through", replication = "synchronous", few_partners = "write-through";
    std::string power_loss = "journal";
    std::string checksums;   ///< on, off; empty: as the daemon thinks right
    unsigned dimension = 0;  ///< 0: as the daemon thinks right
    /// As fields of a request of the control API: key and JSON value.
    std::vector<std::pair<std::string, std::string>> fields() const;
};

/// What is not there stays as it is. `fixed`: settings that the daemon refuses with the reason, by their
/// names there. `partners`: CTL=CTL,CTL.
struct GroupChange {
    std::optional<std::string> lock_order;
    std::optional<std::uint64_t> min_hold_us;
    std::optional<unsigned> prefetch;
    std::optional<std::string> replication, few_partners, partners;
    std::optional<std::string> scrub_every;  ///< 7d, 12h; off
    std::optional<unsigned> spares;
    std::optional<std::string> level;
    std::map<std::string, std::string> fixed;
};

struct GroupRequest {
    std::string name, level;
    std::vector<std::string> disks, controllers;
    std::uint64_t strip_size = 64 << 10;
    SharingRequest sharing;
    unsigned copies = 0;
    unsigned width = 0;
    unsigned spares = 0;
    bool force = false;
};

int status(const Globals& g, bool watch, bool problems_only);
int events(const Globals& g);

// With `wait` what begins a job ends when that has ended, as job_wait().
int group_create(const Globals& g, const GroupRequest& request);
int group_set(const Globals& g, const std::string& name, const GroupChange& change, bool wait);
int group_list(const Globals& g);
int group_show(const Globals& g, const std::string& name);
int group_map(const Globals& g, const std::string& name, unsigned bands);
/// Begins a scrub. With `wait` kFailed if parity does not fit somewhere.
int group_scrub(const Globals& g, const std::string& name, unsigned priority, bool wait);

int volume_create(const Globals& g, const std::string& name, const std::string& group, std::uint64_t size);
int volume_list(const Globals& g);
int volume_show(const Globals& g, const std::string& name);
int volume_delete(const Globals& g, const std::string& name, bool force);

int port_create(const Globals& g, const std::string& volume, const std::vector<std::string>& controllers);
int port_list(const Globals& g);
int port_delete(const Globals& g, const std::string& volume, const std::string& controller);

int disk_list(const Globals& g);
int disk_show(const Globals& g, const std::string& name);
int disk_fail(const Globals& g, const std::string& name);
/// `replaces`: empty if it replaces none.
int disk_add(const Globals& g, const std::string& name, const std::string& group, const std::string& replaces,
             bool force, bool wait);
int group_expand(const Globals& g, const std::string& name, const std::vector<std::string>& disks,
                 unsigned width, bool force, bool wait);
int disk_remove(const Globals& g, const std::string& name, bool wait);

int controller_list(const Globals& g);
int controller_show(const Globals& g, const std::string& name);
int controller_fence(const Globals& g, const std::string& name);

/// Locks and hot units of one controller, or of all whose API is known. kNotFound if none of these is it.
int controller_locks(const Globals& g, const std::string& name, unsigned hot);
/// Load of all controllers whose API is known: every `interval_s` until Ctrl-C, or one interval's.
int top(const Globals& g, double interval_s, unsigned hot, bool once);

int job_list(const Globals& g);
int job_show(const Globals& g, std::uint64_t id);
int job_wait(const Globals& g, std::uint64_t id);
int job_set(const Globals& g, std::uint64_t id, unsigned priority);
/// `word`: pause, resume, cancel.
int job_change(const Globals& g, std::uint64_t id, const std::string& word);

/// Prints the failure on stderr and returns its exit code.
int report(const Failure& failure);

}  // namespace braid::cli
