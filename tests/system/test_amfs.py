"""Several AMFs of a controller, each on a thread of its own: connections are spread over them, and a controller that dies
with all of them loses nothing."""

import os
import time

from harness import Cluster, check, main, say, wait_until
from writer import Writer, wrong_blocks

BLOCKS = 512  # of each writer
SECONDS = 6


def threads_of(pid):
    names = [open(f"/proc/{pid}/task/{t}/comm").read().strip() for t in os.listdir(f"/proc/{pid}/task")]
    return sorted(n for n in names if n.startswith("amf-"))


def check_content(c, records, through):
    for i in through:
        for _ in range(2):  # one connection of each AMF
            wrong = wrong_blocks(c.uris[i], records)
            check(not wrong, f"through {c.names[i]}: {len(wrong)} wrong blocks, as {wrong[:3]}")


def two_amfs():
    """Three controllers with two AMFs each; one is killed while hosts write through all six"""
    with Cluster(flags=("--amfs", "2")) as c:
        for name in c.names:
            check(threads_of(c.pid(name)) == ["amf-1"], f"{name} has a thread for its second AMF")
        writers = [Writer(uri, 10 * i + j, (2 * i + j) * BLOCKS, BLOCKS, SECONDS)
                   for i, uri in enumerate(c.uris) for j in (1, 2)]
        wait_until("it has run for a while", lambda: all(w.process.is_alive() for w in writers), 10)
        time.sleep(SECONDS / 2)
        c.kill("ctl-b")
        records = [w.result() for w in writers]
        for i in (0, 1, 4, 5):
            check(records[i].error is None, f"writer {i} saw an error: {records[i].error}")
            check(records[i].operations > 20, f"writer {i} did {records[i].operations} operations only")
        say(f"operations {[r.operations for r in records]}")
        check_content(c, records, (0, 2))
        c.verify()
        c.restart("ctl-b")
        check(threads_of(c.pid("ctl-b")) == ["amf-1"], "ctl-b is back with both")
        check_content(c, records, (0, 1, 2))


main(two_amfs)
