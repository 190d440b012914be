// The numbers of the metrics page that no report holds, from the plain counters of the parts.
#include <cmath>
#include <limits>
#include <map>

#include "controller/controller.h"
#include "icl/frame.h"

namespace braid {
namespace {

using Labels = std::vector<std::pair<std::string, std::string>>;

/// Samples of one name follow each other, whatever the order they were counted in.
class Page {
public:
    void count(const std::string& name, std::string help, Labels labels, double value) {
        metrics_[name].push_back({name, std::move(help), true, std::move(labels), value});
    }
    void count(const std::string& name, std::string help, Labels labels, std::uint64_t value) {
        count(name, std::move(help), std::move(labels), static_cast<double>(value));
    }
    void add(Metric metric) { metrics_[metric.name].push_back(std::move(metric)); }
    std::vector<Metric> take() {
        std::vector<Metric> out;
        for (auto& [name, samples] : metrics_)
            std::move(samples.begin(), samples.end(), std::back_inserter(out));
        return out;
    }

private:
    std::map<std::string, std::vector<Metric>> metrics_;
};

/// Powers of two of a nanosecond from 1 us to 17 s.
Metric lock_wait(const LockCounters& locks, Labels labels) {
    Metric out{"braid_lock_wait_seconds", "Time that operations waited for locks.", false, std::move(labels),
               static_cast<double>(locks.wait_ns) / 1e9};
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < locks.waits.size(); ++i) {
        seen += locks.waits[i];
        if (i >= 9 && i < 34) out.buckets.emplace_back(std::ldexp(1e-9, static_cast<int>(i) + 1), seen);
    }
    out.buckets.emplace_back(std::numeric_limits<double>::infinity(), seen);
    return out;
}

void count_amf(Page& page, const std::string& name, unsigned index, const AmfReport& amf) {
    const std::string number = std::to_string(index);
    const AmfCounters& c = amf.counters;
    for (std::size_t i = 0; i < kWritePaths; ++i) {
        page.count(
            "braid_stripe_writes_total", "Stripe writes by path.",
            {{"group", name}, {"amf", number}, {"path", std::string(to_string(static_cast<WritePath>(i)))}},
            c.stripe_writes[i]);
    }
    for (const auto& [kind, value] :
         {std::pair("redo", c.recovered_redo), std::pair("data", c.recovered_data),
          std::pair("dropped", c.recovered_dropped)}) {
        page.count("braid_recoveries_total", "Writes of lost controllers that were finished here.",
                   {{"group", name}, {"amf", number}, {"kind", kind}}, value);
    }
    for (const auto& [result, value] : {std::pair("local", c.cached_reads), std::pair("peer", c.peer_reads),
                                        std::pair("disk", c.disk_reads)}) {
        page.count("braid_cache_reads_total",
                   "Parts of reads, a stripe at a time, from this AMF's cache, another one's, or the disks.",
                   {{"group", name}, {"amf", number}, {"result", result}}, value);
    }
    page.count("braid_reads_around_total",
               "Parts of reads with data computed from other disks because one is slow.",
               {{"group", name}, {"amf", number}}, c.read_around);
    page.count("braid_cache_reads_without_lease_total",
               "Of those from the disks: they were in the cache, and no peer had answered in time.",
               {{"group", name}, {"amf", number}}, c.reads_without_lease);
    page.count("braid_cache_reads_for_peers_total", "Parts of reads of others that were answered from here.",
               {{"group", name}, {"amf", number}}, c.reads_for_peers);
    page.count("braid_cache_evictions_total", "Blocks that left to make room.",
               {{"group", name}, {"amf", number}}, amf.cache.evicted);
    page.count("braid_cache_drops_total", "Blocks that left with their lock.",
               {{"group", name}, {"amf", number}}, amf.cache.dropped);
    page.add({"braid_cache_bytes",
              "Clean data in the cache.",
              false,
              {{"group", name}, {"amf", number}},
              static_cast<double>(amf.cache_bytes)});
    page.add({"braid_cache_capacity_bytes",
              "Room in the cache.",
              false,
              {{"group", name}, {"amf", number}},
              static_cast<double>(amf.cache_capacity)});
    const std::uint64_t reads = c.cached_reads + c.peer_reads + c.disk_reads;
    page.add({"braid_cache_hit_ratio",
              "Share of reads that needed no disk, since the start.",
              false,
              {{"group", name}, {"amf", number}},
              reads == 0 ? 0.0 : static_cast<double>(reads - c.disk_reads) / static_cast<double>(reads)});
    const Labels labels = {{"group", name}, {"amf", number}};
    page.add({"braid_dirty_bytes", "Answered to hosts and not on the disks yet.", false, labels,
              static_cast<double>(amf.conditions.dirty_bytes)});
    page.add({"braid_dirty_age_seconds", "Of the oldest of it.", false, labels,
              std::chrono::duration<double>(amf.conditions.dirty_age).count()});
    page.add({"braid_uncopied_bytes", "Answered to hosts and not at all partners yet.", false, labels,
              static_cast<double>(amf.conditions.uncopied_bytes)});
    page.add({"braid_uncopied_age_seconds", "Of the oldest of it.", false, labels,
              std::chrono::duration<double>(amf.conditions.uncopied_age).count()});
    page.add({"braid_copying_bytes", "Of open writes, on their way to new partners.", false, labels,
              static_cast<double>(amf.conditions.copying_bytes)});
    page.count("braid_early_answers_total", "Of dirty writes, those answered before they had their copies.",
               labels, c.early_answers);
    page.count("braid_window_waits_total",
               "Of dirty writes, those that waited for their copies because the window was full.", labels,
               c.window_waits);
    page.count("braid_dirty_writes_total",
               "Parts of writes, a stripe at a time, answered with no disk touched.", labels, c.dirty_writes);
    page.count("braid_dirty_waits_total", "Of writes, those that had to wait for room.", labels,
               c.dirty_waits);
    page.count("braid_dirty_slowed_total", "Of writes, those slowed down because little room was left.",
               labels, c.dirty_slowed);
    for (const auto& [kind, value] :
         {std::pair("full", c.destaged_full), std::pair("partial", c.destaged_partial)}) {
        page.count("braid_destaged_stripes_total", "Stripes written later than their hosts were answered.",
                   {{"group", name}, {"amf", number}, {"kind", kind}}, value);
    }
    page.count("braid_destaged_writes_total", "Parts of writes in them: by stripes, what one destage saves.",
               labels, c.destaged_writes);
    page.count("braid_flushed_by_append_total", "Runs of dirty data that a flush put into the journal.",
               labels, c.flushed_by_append);
    page.count("braid_dirty_passed_on_total", "Lock units whose dirty data went along with the lock.", labels,
               c.passed_on);
    page.count("braid_destages_recalled_total", "Of those stripes, because another AMF wanted the lock.",
               labels, c.destages_recalled);
    for (const auto& [found_by, value] :
         {std::pair("read", c.rotten_reads), std::pair("update", c.rotten_updates),
          std::pair("check", c.rotten_checks)}) {
        page.count("braid_checksum_mismatches_total",
                   "Operations that met blocks which were not what was written.",
                   {{"group", name}, {"amf", number}, {"found_by", found_by}}, value);
    }
    for (std::size_t i = 0; i < c.mismatches.size(); ++i) {
        if (c.mismatches[i] == 0) continue;
        page.count("braid_member_checksum_mismatches_total",
                   "The same by member: what it said was not what was written.",
                   {{"group", name}, {"amf", number}, {"member", std::to_string(i)}}, c.mismatches[i]);
    }
    page.count("braid_checksum_record_reads_total", "Checksums of a stripe that had to be read.", labels,
               c.checksum_reads);
    page.count("braid_checksum_record_repairs_total", "Of which a copy was old or broken.", labels,
               c.checksum_repairs);
    page.count("braid_blocks_repaired_total", "Strips or blocks that were written again.", labels,
               c.repaired);
    for (const JobKind kind : {JobKind::scrub, JobKind::rebuild, JobKind::reshape, JobKind::rebalance}) {
        page.count("braid_background_bytes_total",
                   "Bytes that a scrub has looked at, or another job has made.",
                   {{"group", name}, {"amf", number}, {"kind", std::string(to_string(kind))}},
                   amf.pace.bytes_of(kind));
    }
    if (amf.pace.on) {
        page.add({"braid_background_limit_bytes_per_second",
                  "What all of it may do together beside hosts; 0: as much as they can.", false, labels,
                  static_cast<double>(amf.pace.limit)});
        page.add({"braid_host_latency_p99_seconds",
                  "Of reads, writes and flushes in the last second or less.", false, labels,
                  std::chrono::duration<double>(amf.pace.host_p99).count()});
    }
    const LockCounters& locks = amf.locks;
    for (const auto& [result, value] : locks.by_result()) {
        page.count("braid_lock_requests_total", "Locks by how they were had.",
                   {{"group", name}, {"amf", number}, {"result", result}}, value);
    }
    for (std::size_t i = 0; i < locks.messages.size(); ++i) {
        const auto type = static_cast<MessageType>(LockCounters::kFirst + i);
        if (to_string(type) == "unknown") continue;
        page.count("braid_lock_messages_total", "Messages about locks that were sent to other AMFs.",
                   {{"group", name}, {"amf", number}, {"type", std::string(to_string(type))}},
                   locks.messages[i]);
    }
    page.add(lock_wait(locks, {{"group", name}, {"amf", number}}));
    if (amf.forwarded.operations == 0 && amf.forwarded.refused == 0) return;
    const Labels served = {{"group", name}, {"amf", number}};
    page.count("braid_forward_served_total", "Operations done for controllers outside of the group.", served,
               amf.forwarded.operations);
    page.count("braid_forward_served_bytes_total", "Data read and written for them.", served,
               amf.forwarded.bytes);
    page.count("braid_forward_repeated_total",
               "Questions of theirs about operations that were known already.", served,
               amf.forwarded.repeated);
    page.count("braid_forward_refused_total", "Operations of theirs that were refused.", served,
               amf.forwarded.refused);
}

/// Of ports that lead to other controllers.
void count_forwarded(Page& page, const Forwarder::GroupReport& group) {
    const Labels labels = {{"group", group.group}};
    const ForwardCounters& c = group.counters;
    page.count("braid_forward_operations_total",
               "Operations that other controllers did for hosts of this one.", labels, c.operations);
    page.count("braid_forward_bytes_total", "Data of those.", labels, c.bytes);
    for (const auto& [reason, value] :
         {std::pair("view", c.asked_again), std::pair("left", c.moved), std::pair("refused", c.refused)}) {
        page.count(
            "braid_forward_retries_total",
            "Asked once more: the same controller in a new view, another one because the first had left, "
            "or because it refused.",
            {{"group", group.group}, {"reason", reason}}, value);
    }
    page.count("braid_forward_given_up_total", "Operations for which nobody was there.", labels, c.given_up);
    page.add({"braid_forward_open", "Operations without an answer.", false, labels,
              static_cast<double>(group.open)});
}

void count_link(Page& page, const std::string& peer, const char* direction, const TrafficCounters& traffic) {
    const Labels labels = {{"peer", peer}, {"direction", direction}};
    page.count("braid_icl_packets_total", "Calls on the link: messages per packet is the gathering.", labels,
               traffic.packets);
    page.count("braid_icl_bytes_total", "Bytes on the link.", labels, traffic.bytes);
    std::map<std::string_view, std::uint64_t> messages;  // types without a name of their own are one
    for (std::size_t type = 0; type < traffic.messages.size(); ++type) {
        if (traffic.messages[type] != 0)
            messages[to_string(static_cast<MessageType>(type))] += traffic.messages[type];
    }
    for (const auto& [type, count] : messages) {
        Labels typed = labels;
        typed.emplace_back("type", type);
        page.count("braid_icl_messages_total", "Messages on the link.", std::move(typed), count);
    }
}

}  // namespace

std::vector<Metric> Controller::metrics() {
    Page page;
    for (const auto& [uuid, group] : groups_) {
        for (unsigned index = 0; index < group->amfs(); ++index) {
            const AmfReport report = group->seat(index).report();
            if (report.loaded) count_amf(page, group->name(), index, report);
        }
        const AmfReport all = group->together();
        for (std::size_t i = 0; i < group->member_count(); ++i) {
            const Disk* disk = group->disk(MemberIndex(static_cast<std::uint8_t>(i)));
            if (disk == nullptr) continue;
            const DiskCounters& c = all.disks[i];
            for (const auto& [op, bytes] : {std::pair("read", c.read_by), std::pair("write", c.written_by)}) {
                for (std::size_t purpose = 0; purpose < bytes.size(); ++purpose) {
                    page.count("braid_disk_io_bytes_total", "Bytes moved by this controller.",
                               {{"disk", disk->name()},
                                {"op", op},
                                {"purpose", std::string(to_string(static_cast<DiskPurpose>(purpose)))}},
                               bytes[purpose]);
                }
            }
            for (const auto& [op, count] : {std::pair("read", c.reads), std::pair("write", c.writes),
                                            std::pair("zero", c.zeroes), std::pair("flush", c.flushes)}) {
                page.count("braid_disk_operations_total", "Commands of this controller.",
                           {{"disk", disk->name()}, {"op", op}}, count);
            }
            const MemberLatency& seen = all.latencies[i];
            for (const auto& [op, p99] : {std::pair("read", seen.reads), std::pair("write", seen.writes)}) {
                page.add({"braid_disk_latency_p99_seconds",
                          "Of this controller's commands, some seconds ago; 0: too few to tell.",
                          false,
                          {{"disk", disk->name()}, {"op", op}},
                          std::chrono::duration<double>(p99).count()});
            }
            page.add({"braid_disk_slow",
                      "1: much slower than the other disks of its group, as this controller sees it.",
                      false,
                      {{"disk", disk->name()}},
                      seen.limps ? 1.0 : 0.0});
        }
    }
    for (const Forwarder::GroupReport& group : forwarder_.groups()) count_forwarded(page, group);
    for (const auto& [peer, counters] : icl_.counters()) {
        count_link(page, controller_name(peer), "sent", counters.sent);
        count_link(page, controller_name(peer), "received", counters.received);
    }
    return page.take();
}

}  // namespace braid
