"""Hosts on all controllers write neighbouring blocks of the same stripes while a controller is killed, whichever way the group
acquires access, however fine its locks are and however many AMFs a controller has: every block is what its writer was told."""

import time

from harness import Cluster, check, main, say
from writer import Writer, wrong_blocks

BLOCKS = 512  # of each writer, every third block of the same 6 MiB
SECONDS = 6


def check_content(c, records, through):
    for i in through:
        wrong = wrong_blocks(c.uris[i], records)
        check(not wrong, f"through {c.names[i]}: {len(wrong)} wrong blocks, as {wrong[:3]}")


def share_and_kill(flags):
    with Cluster(flags=flags) as c:
        writers = [Writer(uri, i + 1, i, BLOCKS, SECONDS, stride=3) for i, uri in enumerate(c.uris)]
        time.sleep(SECONDS / 2)
        c.kill("ctl-b")
        records = [w.result() for w in writers]
        for i in (0, 2):
            check(records[i].error is None, f"the writer on {c.names[i]} saw an error: {records[i].error}")
            check(records[i].operations > 20, f"the writer on {c.names[i]} did {records[i].operations} operations only")
        say(f"operations {[r.operations for r in records]}, longest gap of the survivors "
            f"{max(records[0].longest_gap, records[2].longest_gap) * 1000:.0f} ms")
        check_content(c, records, (0, 2))
        c.verify()
        c.restart("ctl-b")
        check_content(c, records, (0, 1, 2))


def by_arbiter():
    """By arbiter"""
    share_and_kill(("--coherency", "arbiter"))


def by_broadcast():
    """By broadcast"""
    share_and_kill(("--coherency", "broadcast"))


def by_broadcast_with_two_amfs():
    """By broadcast, two AMFs in each controller"""
    share_and_kill(("--coherency", "broadcast", "--amfs", "2"))


def with_locks_of_blocks():
    """With locks of blocks"""
    share_and_kill(("--granularity", "block"))


main(by_arbiter, by_broadcast, by_broadcast_with_two_amfs, with_locks_of_blocks)
