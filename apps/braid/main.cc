// The command's tree: words and flags, nothing else. The only file that includes the parser.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <functional>
#include <utility>

#include "braid/commands.h"
#include "braid/demo.h"
#include "braid/demo_state.h"
#include "braid/metadata.h"
#include "braid/sizes.h"
#include "layout/sharing.h"

namespace braid::cli {
namespace {

constexpr const char* kDefaultApi = "unix:/run/braidd/api.sock";

/// What is to be done once all words are understood.
using Action = std::function<int()>;

struct Words {
    Globals globals;
    std::string api;
    std::string name, second, group, size, strip_size;
    std::vector<std::string> controllers, disks;
    std::uint64_t job = 0;
    bool watch = false, problems = false, force = false, wait = false, once = false;
    unsigned priority = 4;
    unsigned hot = 10;
    unsigned width = 0;
    unsigned bands = 32;
    double interval_s = 1;
    GroupRequest group_request;
    GroupChange group_change;
    DemoOptions demo;
    std::string demo_disk_size, demo_volume_size;
    Action action;
};

/// --api, else BRAID_API and then the other controllers of the demo that runs here.
std::vector<std::string> apis_of(const Words& w) {
    if (!w.api.empty()) return {w.api};
    std::vector<std::string> apis;
    const char* const named = std::getenv("BRAID_API");
    if (named != nullptr && *named != 0) apis.emplace_back(named);
    if (named == nullptr || std::getenv("BRAID_DIR") != nullptr) {
        if (const auto demo = find_demo()) {
            for (const DemoController& c : demo->controllers) {
                if (std::ranges::find(apis, c.api) == apis.end()) apis.push_back(c.api);
            }
        }
    }
    if (apis.empty()) apis.emplace_back(kDefaultApi);
    return apis;
}

CLI::Option* add_size(CLI::App* app, const std::string& flag, std::string& out, const std::string& help) {
    return app->add_option(flag, out, help)->check([](const std::string& text) {
        return parse_size(text) ? std::string()
                                : fmt::format("'{}' is not a size: write 64K, 500M, 1.5GiB", text);
    });
}

/// A verb of a noun whose work is `act`.
CLI::App* verb(Words& w, CLI::App* noun, const std::string& name, const std::string& help, Action act) {
    CLI::App* const app = noun->add_subcommand(name, help);
    app->callback([&w, act] {
        if (!w.action) w.action = act;  // called from the innermost command outwards
    });
    return app;
}

CLI::App* noun(CLI::App& app, const std::string& name, const std::string& help) {
    CLI::App* const n = app.add_subcommand(name, help);
    n->require_subcommand(1);
    return n;
}

void add_sharing(CLI::App* create, SharingRequest& r) {
    create
        ->add_option("--granularity", r.granularity,
                     "what one lock covers: block, blocks:N (4 KiB each), stripe (default), stripes:N")
        ->check([](const std::string& text) {
            return parse_granularity(text) ? std::string() : "block, blocks:N, stripe or stripes:N";
        });
    create->add_option("--coherency", r.coherency, "arbiter (default) or broadcast")
        ->check(CLI::IsMember({"arbiter", "broadcast"}));
    create->add_option("--lock-order", r.lock_order, "fifo (default) or priority: hosts before jobs")
        ->check(CLI::IsMember({"fifo", "priority"}));
    create->add_option("--min-hold", r.min_hold_us, "microseconds a lock stays where it is, default 0")
        ->check(CLI::Range(0, 1'000'000));
    create->add_option("--prefetch", r.prefetch, "locks a sequential stream asks for ahead, default 32")
        ->check(CLI::Range(0, 63));
    create->add_option("--amfs", r.amfs, "AMFs of each controller that share the group, default 1")
        ->check(CLI::Range(1, 8));
    create
        ->add_option(
            "--cache", r.cache,
            "write-through (default): a host is answered when its write is on the disks; write-back: "
            "when as many controllers have it as --dimension says")
        ->check(CLI::IsMember({"write-through", "write-back"}));
    create
        ->add_option("--replication", r.replication,
                     "with write-back: synchronous (default): a host is answered when the partners have its "
                     "write; pseudo-synchronous: when it was sent to them; asynchronous: before")
        ->check(CLI::IsMember({"synchronous", "pseudo-synchronous", "asynchronous"}));
    create
        ->add_option(
            "--few-partners", r.few_partners,
            "with write-back, when fewer controllers are up than --dimension asks for: write-through "
            "(default), or continue with fewer copies")
        ->check(CLI::IsMember({"continue", "write-through"}));
    create
        ->add_option(
            "--power-loss", r.power_loss,
            "journal (default): no loss of power leaves a stripe half-written; resync: faster writes")
        ->check(CLI::IsMember({"journal", "resync"}));
    create
        ->add_option(
            "--checksums", r.checksums,
            "on (default, from strips of 16K on): every block has a checksum elsewhere, so that rotten, "
            "lost and misdirected blocks are found and repaired; off")
        ->check(CLI::IsMember({"on", "off"}));
    create
        ->add_option("--dimension", r.dimension,
                     "copies of an update record, default 2, or 1 on one controller")
        ->check(CLI::Range(1, 8));
}

void add_wait(CLI::App* verb, Words& w) {
    verb->add_flag("--wait", w.wait, "until the job that it begins, if there is one, has ended");
}

void add_groups(CLI::App& app, Words& w) {
    CLI::App* const group = noun(app, "group", "redundancy groups");
    CLI::App* const create = verb(w, group, "create", "make a group of 3 to 64 disks", [&w] {
        GroupRequest& r = w.group_request;
        if (!w.strip_size.empty()) r.strip_size = *parse_size(w.strip_size);
        return group_create(w.globals, r);
    });
    GroupRequest& r = w.group_request;
    create->add_option("NAME", r.name)->required();
    create->add_option("--level", r.level, "mirror, raid5, raid6, raid7.3")
        ->required()
        ->check(CLI::IsMember({"mirror", "raid5", "raid6", "raid7.3"}));
    create->add_option("--disks", r.disks, "paths or names ('braid disk list')")->required()->delimiter(',');
    add_size(create, "--strip-size", w.strip_size, "4K to 1M, default 64K");
    create->add_option("--controllers", r.controllers, "that share it, default all that are up")
        ->delimiter(',');
    create->add_option("--copies", r.copies, "mirror: copies of each block");
    create->add_option("--width", r.width,
                       "others: strips of a stripe, parity too, default all disks less --spares, at most 24; "
                       "with fewer than disks there "
                       "is room to make again what a failed one held");
    create
        ->add_option(
            "--spares", r.spares,
            "room of so many disks is kept free on all of them, to make again there what failed ones "
            "held; default 0")
        ->check(CLI::Range(0, 61));
    add_sharing(create, r.sharing);
    create->add_flag("--force", r.force, "overwrite what the disks hold");
    CLI::App* const set =
        verb(w, group, "set", "change how its locks and copies are kept, while it is in use",
             [&w] { return group_set(w.globals, w.name, w.group_change, w.wait); });
    GroupChange& c = w.group_change;
    set->add_option("NAME", w.name)->required();
    set->add_option("--lock-order", c.lock_order, "fifo or priority: hosts before jobs")
        ->check(CLI::IsMember({"fifo", "priority"}));
    set->add_option("--min-hold", c.min_hold_us, "microseconds a lock stays where it is")
        ->check(CLI::Range(0, 1'000'000));
    set->add_option("--prefetch", c.prefetch, "locks a sequential stream asks for ahead")
        ->check(CLI::Range(0, 63));
    set->add_option("--replication", c.replication,
                    "with write-back: synchronous, pseudo-synchronous or asynchronous")
        ->check(CLI::IsMember({"synchronous", "pseudo-synchronous", "asynchronous"}));
    set->add_option("--few-partners", c.few_partners, "with write-back: continue or write-through")
        ->check(CLI::IsMember({"continue", "write-through"}));
    set->add_option("--partners", c.partners,
                    "CTL=CTL,CTL, CTL=host:LABEL or CTL=site:LABEL: where copies of a controller's records "
                    "stand, if somebody is up there; CTL=: wherever is best")
        ->check([](const std::string& text) {
            return text.find('=') == std::string::npos || text.front() == '=' ? "CTL=CTL,CTL or CTL="
                                                                              : std::string();
        });
    set->add_option("--scrub-every", c.scrub_every,
                    "7d, 12h: it is scrubbed by itself so long after the last scrub; off")
        ->check([](const std::string& text) {
            return parse_duration(text) ? std::string() : "7d, 12h, 30m, 90s or off";
        });
    set->add_option("--spares", c.spares, "room of so many disks is kept free for rebuilding")
        ->check(CLI::Range(0, 61));
    set->add_option("--level", c.level, "raid6 of raid5: all that is there is converted")
        ->check(CLI::IsMember({"raid5", "raid6", "raid7.3"}));
    add_wait(set, w);
    // Understood, to be refused with the reason.
    for (const char* name : {"coherency", "granularity", "amfs", "cache", "dimension", "power-loss",
                             "strip-size", "checksums", "copies"}) {
        std::string key = name;
        std::ranges::replace(key, '-', '_');
        set->add_option_function<std::string>(std::string("--") + name,
                                              [&c, key](const std::string& value) { c.fixed[key] = value; })
            ->group("");
    }
    verb(w, group, "list", "all groups", [&w] { return group_list(w.globals); });
    CLI::App* const expand =
        verb(w, group, "expand", "more room for virtual disks: on new disks, and on those that came before",
             [&w] { return group_expand(w.globals, w.name, w.disks, w.width, w.force, w.wait); });
    expand->add_option("NAME", w.name)->required();
    expand->add_option("--add", w.disks, "disks that come first ('braid disk list')")->delimiter(',');
    expand
        ->add_option("--width", w.width,
                     "disks of a stripe, more than before: all that is there is converted")
        ->check(CLI::Range(3, 24));
    expand->add_flag("--force", w.force, "overwrite what they hold");
    add_wait(expand, w);
    verb(w, group, "show", "one group and its disks", [&w] { return group_show(w.globals, w.name); })
        ->add_option("NAME", w.name)
        ->required();
    CLI::App* const map = verb(w, group, "map", "where its content stands: a column a disk, a row a band",
                               [&w] { return group_map(w.globals, w.name, w.bands); });
    map->add_option("NAME", w.name)->required();
    map->add_option("--bands", w.bands, "rows, at most; none is lower than a segment")
        ->check(CLI::Range(1, 1024));
    CLI::App* const scrub =
        verb(w, group, "scrub",
             "read all of it on all controllers, compare it with checksums and parity, write "
             "again what checksums tell to be wrong",
             [&w] { return group_scrub(w.globals, w.name, w.priority, w.wait); });
    scrub->add_option("NAME", w.name)->required();
    scrub->add_flag("--wait", w.wait, "until it has ended; exit 1 if parity does not fit somewhere");
    scrub->add_option("--priority", w.priority, "stripes in work at once on each AMF, 1 to 9, default 4")
        ->check(CLI::Range(1, 9));
}

void add_volumes(CLI::App& app, Words& w) {
    CLI::App* const volume = noun(app, "volume", "virtual disks");
    CLI::App* const create = verb(w, volume, "create", "make a virtual disk", [&w] {
        return volume_create(w.globals, w.name, w.group, *parse_size(w.size));
    });
    create->add_option("NAME", w.name)->required();
    add_size(create, "--size", w.size, "500M, 1.5GiB")->required();
    create->add_option("--group", w.group, "default: the only one");
    verb(w, volume, "list", "all virtual disks", [&w] { return volume_list(w.globals); });
    verb(w, volume, "show", "one virtual disk", [&w] { return volume_show(w.globals, w.name); })
        ->add_option("NAME", w.name)
        ->required();
    CLI::App* const remove = verb(w, volume, "delete", "destroy a virtual disk and its data",
                                  [&w] { return volume_delete(w.globals, w.name, w.force); });
    remove->add_option("NAME", w.name)->required();
    remove->add_flag("--force", w.force, "close its ports first");

    CLI::App* const port = noun(app, "port", "doors to virtual disks, one per controller at most");
    CLI::App* const open = verb(w, port, "create", "open a virtual disk on controllers",
                                [&w] { return port_create(w.globals, w.name, w.controllers); });
    open->add_option("VOLUME", w.name)->required();
    open->add_option("CONTROLLER", w.controllers,
                     "default: all that share its group; one that does not forwards to one that does");
    verb(w, port, "list", "all ports", [&w] { return port_list(w.globals); });
    CLI::App* const close = verb(w, port, "delete", "finish what is in flight, then close",
                                 [&w] { return port_delete(w.globals, w.name, w.second); });
    close->add_option("VOLUME", w.name)->required();
    close->add_option("CONTROLLER", w.second)->required();
}

void add_machines(CLI::App& app, Words& w) {
    CLI::App* const disk = noun(app, "disk", "disks of this machine");
    verb(w, disk, "list", "all disks", [&w] { return disk_list(w.globals); });
    verb(w, disk, "show", "one disk", [&w] { return disk_show(w.globals, w.name); })
        ->add_option("NAME", w.name)
        ->required();
    verb(w, disk, "fail", "declare a disk failed", [&w] { return disk_fail(w.globals, w.name); })
        ->add_option("NAME", w.name)
        ->required();
    CLI::App* const add =
        verb(w, disk, "add",
             "take a disk into a group: room for what failed disks held; or one that failed "
             "back, with what was written since",
             [&w] { return disk_add(w.globals, w.name, w.group, {}, w.force, w.wait); });
    add->add_option("NAME", w.name, "a disk of 'braid disk list'")->required();
    add->add_option("--group", w.group, "which group, if there are several");
    add->add_flag("--force", w.force, "overwrite what the disk holds");
    add_wait(add, w);
    CLI::App* const replace =
        verb(w, disk, "replace", "take a disk into a group, and the one that it replaces out of it",
             [&w] { return disk_add(w.globals, w.second, {}, w.name, w.force, w.wait); });
    replace->add_option("OLD", w.name, "a disk of the group, or GROUP/NUMBER")->required();
    replace->add_option("NEW", w.second, "a disk of 'braid disk list'")->required();
    replace->add_flag("--force", w.force, "overwrite what the new disk holds");
    add_wait(replace, w);
    CLI::App* const remove =
        verb(w, disk, "remove", "move what it has to the other disks of its group, and take it out",
             [&w] { return disk_remove(w.globals, w.name, w.wait); });
    remove->add_option("NAME", w.name)->required();
    add_wait(remove, w);
    CLI::App* const controller = noun(app, "controller", "controllers of the cluster");
    verb(w, controller, "list", "all controllers", [&w] { return controller_list(w.globals); });
    verb(w, controller, "show", "one controller", [&w] { return controller_show(w.globals, w.name); })
        ->add_option("NAME", w.name)
        ->required();
    verb(w, controller, "fence", "end a controller for good",
         [&w] { return controller_fence(w.globals, w.name); })
        ->add_option("NAME", w.name)
        ->required();
    CLI::App* const locks = verb(w, controller, "locks", "who locks what, and which units change hands most",
                                 [&w] { return controller_locks(w.globals, w.name, w.hot); });
    locks->add_option("NAME", w.name, "default: all that are known here");
    locks->add_option("--hot", w.hot, "so many hot units, default 10")->check(CLI::Range(0, 128));
    CLI::App* const job = noun(app, "job", "work that takes longer");
    verb(w, job, "list", "all jobs", [&w] { return job_list(w.globals); });
    verb(w, job, "show", "one job", [&w] { return job_show(w.globals, w.job); })
        ->add_option("ID", w.job)
        ->required();
    verb(w, job, "wait", "until it has ended", [&w] { return job_wait(w.globals, w.job); })
        ->add_option("ID", w.job)
        ->required();
    CLI::App* const set = verb(w, job, "set", "how much of its share it takes, from now on",
                               [&w] { return job_set(w.globals, w.job, w.priority); });
    set->add_option("ID", w.job)->required();
    set->add_option("--priority", w.priority, "1 to 9, as 'braid group scrub --priority'")
        ->check(CLI::Range(1, 9))
        ->required();
    for (const auto& [name, help] : {std::pair{"pause", "all controllers stop working on it"},
                                     {"resume", "it goes on where it was"},
                                     {"cancel", "end it for good"}}) {
        verb(w, job, name, help,
             [&w, word = std::string(name)] { return job_change(w.globals, w.job, word); })
            ->add_option("ID", w.job)
            ->required();
    }
    CLI::App* const metadata = noun(app, "metadata", "what stands on a disk; needs no daemon, never writes");
    verb(w, metadata, "dump", "superblock and tables as JSON",
         [&w] { return metadata_dump(w.globals, w.name); })
        ->add_option("PATH", w.name)
        ->required();
}

void add_demo(CLI::App& app, Words& w) {
    CLI::App* const d = verb(w, &app, "demo", "a whole cluster on this machine, until Ctrl-C", [&w] {
        if (w.demo.outside >= w.demo.controllers)
            return report({kUsage, "--outside: at least one controller must share the group"});
        if (!w.demo_disk_size.empty()) w.demo.disk_size = *parse_size(w.demo_disk_size);
        if (!w.demo_volume_size.empty()) w.demo.volume_size = *parse_size(w.demo_volume_size);
        return demo(w.demo);
    });
    d->add_option("--controllers", w.demo.controllers, "1 to 16, default 3")->check(CLI::Range(1, 16));
    d->add_option(
         "--outside", w.demo.outside,
         "of the controllers, so many do not share the group and forward to those that do, default 0")
        ->check(CLI::Range(0, 15));
    d->add_option("--disks", w.demo.disks, "3 to 64, default 6")->check(CLI::Range(3, 64));
    add_size(d, "--disk-size", w.demo_disk_size, "default 1GiB");
    add_size(d, "--volume-size", w.demo_volume_size, "default 1GiB, at most what the group holds");
    d->add_option("--level", w.demo.level, "default raid6")
        ->check(CLI::IsMember({"mirror", "raid5", "raid6", "raid7.3"}));
    add_sharing(d, w.demo.sharing);
    d->add_option("--dir", w.demo.dir, "for disks, configurations and logs; default a fresh temporary one");
    d->add_flag("--keep", w.demo.keep,
                "leave the directory; a demo with --dir on it goes on where this one ended");
    d->add_option("--run", w.demo.run, "run a command beside the cluster, then stop; exit with its status");
    d->add_option("--ping-timeout-ms", w.demo.ping_timeout_ms, "default 1000")
        ->check(CLI::Range(10, 600'000));
    d->add_option("--spin-us", w.demo.spin_us, "default 50")->check(CLI::Range(0, 10'000));
    d->add_option("--disk-delay-us", w.demo.disk_delay_us, "before each disk command, default 0")
        ->check(CLI::Range(0, 1'000'000));
    for (const auto& [name, help] : {std::pair{"kill", "end a controller with SIGKILL"},
                                     {"stop", "halt a controller with SIGSTOP"},
                                     {"cont", "let a halted controller go on"},
                                     {"start", "start a controller that has ended"}}) {
        verb(w, d, name, help, [&w, word = std::string(name)] { return demo_control(word, w.name); })
            ->add_option("CONTROLLER", w.name)
            ->required();
    }
}

/// Command words may be shortened to any unique beginning. Words that begin no or several commands stay as
/// they are: the parser says what is wrong with them.
std::vector<std::string> expand_prefixes(CLI::App& app, std::vector<std::string> words) {
    CLI::App* at = &app;
    bool value_follows = false;
    for (std::string& word : words) {
        if (std::exchange(value_follows, false)) continue;
        if (word.starts_with('-')) {
            const CLI::Option* option = at->get_option_no_throw(word);
            if (option == nullptr) option = app.get_option_no_throw(word);
            value_follows = option != nullptr && option->get_items_expected_max() > 0;
            continue;
        }
        CLI::App* found = nullptr;
        int matches = 0;
        for (CLI::App* command : at->get_subcommands([](CLI::App*) { return true; })) {
            if (command->get_name() == word) {
                found = command;
                matches = 1;
                break;
            }
            if (!command->get_name().starts_with(word)) continue;
            found = command;
            ++matches;
        }
        if (matches != 1) return words;
        word = found->get_name();
        at = found;
    }
    return words;
}

int run(int argc, char** argv) {
    Words w;
    CLI::App app("braid: an active-active disk array. Words may be shortened to any unique beginning.",
                 "braid");
    app.require_subcommand(1);
    app.fallthrough();
    app.add_flag("--json", w.globals.json, "documents instead of text");
    app.add_option("--api", w.api, "control API: unix:PATH or HOST:PORT; default BRAID_API");
    app.add_option("--timeout", w.globals.timeout_s, "seconds; exit 7 when it is hit")
        ->check(CLI::NonNegativeNumber);
    app.add_flag("-y,--yes", w.globals.yes, "do not ask");
    app.add_flag("--dry-run", w.globals.dry_run, "print the plan, change nothing");
    CLI::App* const s = verb(w, &app, "status", "everything on one screen",
                             [&w] { return status(w.globals, w.watch, w.problems); });
    s->add_flag("--watch", w.watch, "once a second until Ctrl-C");
    s->add_flag("--problems", w.problems, "conditions only; exit 1 if there is one");
    CLI::App* const t = verb(w, &app, "top", "load, locks and messages of all controllers, live",
                             [&w] { return top(w.globals, w.interval_s, w.hot, w.once || w.globals.json); });
    t->add_flag("--once", w.once, "one interval, then end; --json implies it");
    t->add_option("--interval", w.interval_s, "seconds, default 1")->check(CLI::Range(0.1, 3600.0));
    t->add_option("--hot", w.hot, "so many hot units, default 10")->check(CLI::Range(0, 128));
    verb(w, &app, "events", "the last events of the controller that answers",
         [&w] { return events(w.globals); });
    add_groups(app, w);
    add_volumes(app, w);
    add_machines(app, w);
    add_demo(app, w);

    std::vector<std::string> words = expand_prefixes(app, {argv + 1, argv + argc});
    std::ranges::reverse(words);  // as the parser wants them
    try {
        app.parse(words);
    } catch (const CLI::ParseError& error) {
        const int code = app.exit(error);
        return code == 0 ? kOk : kUsage;
    }
    w.globals.apis = apis_of(w);
    return w.action();
}

}  // namespace
}  // namespace braid::cli

int main(int argc, char** argv) { return braid::cli::run(argc, argv); }
