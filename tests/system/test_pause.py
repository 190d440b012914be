"""How long hosts on the survivors wait when a controller dies or hangs."""

import time

from harness import Cluster, check, main, say
from writer import Writer

BLOCKS = 1024


def longest_gap(c, hurt):
    """4 KiB writes on ctl-a and ctl-c into stripes that ctl-b writes too, while hurt() fails ctl-b."""
    writers = [Writer(uri, i + 1, i * BLOCKS, BLOCKS, 5, largest=1) for i, uri in enumerate(c.uris)]
    time.sleep(2)
    hurt()
    records = [w.result() for w in writers]
    for i in (0, 2):
        check(records[i].error is None, f"the writer on {c.names[i]} saw an error: {records[i].error}")
    return max(records[0].longest_gap, records[2].longest_gap) * 1000


def pause():
    """The longest gap of a 4 KiB write loop at SIGKILL (goal: below 300 ms) and at SIGSTOP (ping timeout 1 s)"""
    with Cluster(volume_size="256MiB") as c:
        quiet = longest_gap(c, lambda: None)
        killed = []
        for _ in range(3):
            killed.append(longest_gap(c, lambda: c.kill("ctl-b")))
            c.restart("ctl-b")
    with Cluster(volume_size="256MiB", ping_timeout_ms=1000) as c:
        stopped = longest_gap(c, lambda: c.braid("demo", "stop", "ctl-b"))
        say(f"longest gap of a 4 KiB write loop: undisturbed {quiet:.0f} ms, at SIGKILL "
            f"{' '.join(f'{k:.0f}' for k in killed)} ms (goal 300), at SIGSTOP {stopped:.0f} ms (ping timeout 1000)")
        check(sorted(killed)[1] < 1000, "the pause at SIGKILL is beyond any reason")
        check(stopped < 5000, "the pause at SIGSTOP is beyond the host deadline")


main(pause)
