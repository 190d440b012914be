#include "controller/refusals.h"

namespace braid {

AdminError from(const Error& error, std::string what) {
    switch (error.code) {
        case Errc::no_space:
            return {error.code, what + ": there is not enough free space", "braid group list"};
        case Errc::offline:
            return {error.code, what + ": the group is offline, more disks are gone than its level survives",
                    "braid status"};
        case Errc::exists:
            return {error.code, what + ": it exists already", "braid status"};
        case Errc::not_found:
            return {error.code, what + ": it is not there any more", "braid status"};
        case Errc::busy:
            return {error.code, what + ": another change is under way", "try again"};
        case Errc::invalid:
            return {error.code, what + ": it has changed meanwhile, and this does not fit it any more",
                    "braid status, then try again: nothing was done"};
        default:
            return {error.code, what + ": " + std::string(to_string(error.code)), "see the daemon's log"};
    }
}

AdminError cannot_leave(const Tables& tables, const std::string& disk, Obstacle why,
                        const std::string& beside) {
    const std::string& name = tables.config().name;
    const std::string group = "group " + name;
    const unsigned lost = tables.failed_members();
    const std::string spares = tables.spares_left() == 0
                                   ? std::string()
                                   : " and keeps room for " + std::to_string(tables.spares_left()) + " more";
    const std::string with = beside.empty() ? std::string() : ", with " + beside;
    const std::string replace_lost =
        "braid disk replace OLD NEW, for each disk that has failed or is not found";
    switch (why) {
        case Obstacle::few_members:
            return {
                Errc::would_lose_data,
                disk + ": " + group + " has stripes of " + std::to_string(tables.config().wanted.width()) +
                    " disks" + spares + ", and without it fewer would be left" + with +
                    (lost == 0 ? std::string() : ": " + std::to_string(lost) + " are gone already"),
                lost == 0 ? "braid disk replace OLD NEW, or braid disk add another one first" : replace_lost};
        case Obstacle::no_room:
            return {Errc::would_lose_data,
                    disk + ": the other disks of " + group + with +
                        " have no room for what it has, and for what its virtual disks may need",
                    lost != 0        ? replace_lost
                    : beside.empty() ? "braid disk add a disk first, or delete virtual disks"
                                     : "use a larger disk, braid disk add another one first, or delete "
                                       "virtual disks"};
        case Obstacle::journal:
            return {Errc::would_lose_data, disk + " has what no other disk of " + group + " has of a journal",
                    replace_lost + ", and try again: journals are written anew by themselves"};
        case Obstacle::not_reached:
            return {Errc::not_ready, disk + " is not reached by this controller",
                    "ask one that reaches it, with --api; if nobody does: braid disk fail, then replace it"};
        default:
            return {Errc::busy, disk + " has failed, or leaves already", "braid disk list"};
    }
}

AdminError cannot_convert(const Tables& tables, StripeShape shape, Obstacle why) {
    const std::string& name = tables.config().name;
    const StripeShape now = tables.config().wanted;
    const std::string what = "group " + name + ": ";
    const std::string width = std::to_string(shape.width());
    const std::string other = "make another group, with braid group create, and copy what is in this one";
    switch (why) {
        case Obstacle::fewer_parities:
            return {Errc::invalid,
                    what + "stripes have " + std::to_string(now.m) + " parities, and cannot get fewer",
                    other};
        case Obstacle::narrower:
            return {Errc::invalid,
                    what + "stripes have " + std::to_string(now.width()) +
                        " disks, and cannot get fewer strips of data",
                    "more disks than that: braid group expand " + name + " --width N, or " + other};
        case Obstacle::few_members:
            return {Errc::invalid,
                    what + "stripes of " + width + " disks would be wider than there are members that serve" +
                        (tables.config().spares == 0 ? "" : ", less those whose room is kept (--spares)"),
                    tables.failed_members() == 0
                        ? "braid group expand " + name + " --add DISK,... first"
                        : "braid disk replace OLD NEW for those that have failed, or braid group expand " +
                              name + " --add DISK,..."};
        case Obstacle::small_journal:
            return {Errc::invalid,
                    what + "its journals, of " + std::to_string(tables.config().journal.ring_size) +
                        " bytes, are too small for stripes of " + width +
                        " disks, and stay as they were made",
                    "fewer disks, or " + other};
        case Obstacle::no_room:
            return {Errc::no_space,
                    what +
                        "there is no room for what its virtual disks may need in such stripes, and for "
                        "one extent beside them while it is converted",
                    "braid group expand " + name + " --add DISK, or delete virtual disks"};
        default:
            return {Errc::invalid, what + "there are no such stripes",
                    "raid5, raid6 or raid7.3; 3 to 24 disks, parities and 2 or more"};
    }
}

}  // namespace braid
