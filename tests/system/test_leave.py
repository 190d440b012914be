"""One controller alone loses its disks: it leaves the group, the others go on without an error and finish its writes, and it
comes back when its disks do. A file size limit below the disks' tables stands for the lost paths: every write fails."""

import resource
import time

from harness import Cluster, check, main, say, wait_until
from writer import Writer, wrong_blocks

BLOCKS = 1024
SECONDS = 6
BELOW_THE_TABLES = 8192  # bytes: the member store's record is smaller


def conditions(c, controller):
    return {(condition["code"], condition["object"]) for condition in c.status(controller)["conditions"]}


def leaves_and_returns():
    """Writers on all three controllers; ctl-b loses its paths under load and gets them back"""
    with Cluster() as c:
        pid = c.pid("ctl-b")
        writers = [Writer(uri, i + 1, i * BLOCKS, BLOCKS, SECONDS) for i, uri in enumerate(c.uris)]
        time.sleep(SECONDS / 3)
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (BELOW_THE_TABLES, resource.RLIM_INFINITY))
        wait_until("ctl-b says that it does not serve the group",
                   lambda: ("GROUP_OFFLINE", "g0") in conditions(c, "ctl-b"))
        wait_until("ctl-a says the same of ctl-b", lambda: ("GROUP_NOT_ATTACHED", "ctl-b") in conditions(c, "ctl-a"))
        check(c.pid("ctl-b") == pid, "ctl-b is still the same process")
        check(c.status("ctl-a")["groups"][0]["members"].count("_") == 0, "no disk was declared failed for all")
        records = [w.result() for w in writers]
        for i in (0, 2):
            check(records[i].error is None, f"the writer on {c.names[i]} saw an error: {records[i].error}")
        check(records[1].error is not None, "ctl-b's host was told")
        say(f"operations {[r.operations for r in records]}, longest gap of the others "
            f"{max(records[0].longest_gap, records[2].longest_gap) * 1000:.0f} ms; ctl-b's host: {records[1].error}")
        for i in (0, 2):
            wrong = wrong_blocks(c.uris[i], records)
            check(not wrong, f"through {c.names[i]}: {len(wrong)} wrong blocks, as {wrong[:3]}")
        c.verify()

        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        wait_until("ctl-b serves v0 again, by itself", lambda: c.serves("ctl-b"), 60)
        check(c.pid("ctl-b") == pid, "ctl-b did not have to be started")
        wait_until("nothing is left to complain of", lambda: not c.status("ctl-b")["conditions"], 30)
        wrong = wrong_blocks(c.uris[1], records)
        check(not wrong, f"through ctl-b: {len(wrong)} wrong blocks, as {wrong[:3]}")
        writers = [Writer(uri, i + 1, i * BLOCKS, BLOCKS, 1, earlier=records[i]) for i, uri in enumerate(c.uris)]
        records = [w.result() for w in writers]
        for i in range(3):
            check(records[i].error is None, f"afterwards the writer on {c.names[i]} saw an error: {records[i].error}")
        c.verify()


def everybody_loses():
    """All three lose their disks at once: nobody serves; when the disks are back all do, and the data is right"""
    with Cluster() as c:
        pids = [c.pid(name) for name in c.names]
        writers = [Writer(uri, i + 1, i * BLOCKS, BLOCKS, SECONDS / 2) for i, uri in enumerate(c.uris)]
        time.sleep(SECONDS / 6)
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (BELOW_THE_TABLES, resource.RLIM_INFINITY))
        records = [w.result() for w in writers]
        check(all(r.error is not None for r in records), "all hosts were told")
        for name in c.names:
            wait_until(f"{name} says that it does not serve the group",
                       lambda name=name: ("GROUP_OFFLINE", "g0") in conditions(c, name))
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        for name in c.names:
            wait_until(f"{name} serves v0 again", lambda name=name: c.serves(name), 60)
        check([c.pid(name) for name in c.names] == pids, "nobody had to be started")
        for i in range(3):
            wrong = wrong_blocks(c.uris[i], records, in_flight_may_tear=True)
            check(not wrong, f"through {c.names[i]}: {len(wrong)} wrong blocks, as {wrong[:3]}")
        c.verify()


def cannot_even_leave():
    """ctl-b loses its disks and the member store: it cannot say that it leaves, and ends itself"""
    with Cluster() as c:
        pid = c.pid("ctl-b")
        writers = [Writer(uri, i + 1, i * BLOCKS, BLOCKS, SECONDS) for i, uri in enumerate(c.uris)]
        time.sleep(SECONDS / 3)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        records = [w.result() for w in writers]
        for i in (0, 2):
            check(records[i].error is None, f"the writer on {c.names[i]} saw an error: {records[i].error}")
        say(f"operations {[r.operations for r in records]}, longest gap of the others "
            f"{max(records[0].longest_gap, records[2].longest_gap) * 1000:.0f} ms; ctl-b's host: {records[1].error}")
        wait_until("ctl-b is gone", lambda: ("CONTROLLER_DOWN", "ctl-b") in conditions(c, "ctl-a"))
        for i in (0, 2):
            wrong = wrong_blocks(c.uris[i], records)
            check(not wrong, f"through {c.names[i]}: {len(wrong)} wrong blocks, as {wrong[:3]}")
        c.verify()


main(leaves_and_returns, everybody_loses, cannot_even_leave)
