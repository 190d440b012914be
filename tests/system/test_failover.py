"""Controllers and disks fail while three hosts write: the survivors' hosts see a pause, no error, and no data is wrong."""

import os
import signal
import subprocess
import time

from harness import Cluster, check, main, say
from writer import Writer, wrong_blocks

BLOCKS = 2048  # of each writer: 8 MiB, so that stripes are written again and again
SECONDS = 7


def start_fio(uri, number):
    return subprocess.Popen(
        ["fio", f"--name=job{number}", "--ioengine=nbd", f"--uri={uri}", "--rw=randwrite", "--bs=4k", "--iodepth=16",
         f"--offset={64 + 64 * number}M", "--size=16M", "--verify=crc32c", "--verify_backlog=512", "--verify_fatal=1",
         "--time_based", f"--runtime={SECONDS}", "--output-format=terse"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def crash_under_load(c, hurt, earlier=(None, None, None)):
    """Three fio with verify and three writers of known content, one of each per controller, while `hurt()` fails
    ctl-b. Returns the writers' records."""
    fios = [start_fio(uri, i) for i, uri in enumerate(c.uris)]
    writers = [Writer(uri, i + 1, i * BLOCKS, BLOCKS, SECONDS, earlier=earlier[i]) for i, uri in enumerate(c.uris)]
    time.sleep(SECONDS / 3)
    hurt()
    records = [w.result() for w in writers]
    for i, fio in enumerate(fios):
        try:
            output = fio.communicate(timeout=60)[0]
        except subprocess.TimeoutExpired:
            fio.kill()
            check(i == 1, f"fio on {c.names[i]} hangs")
            continue
        if i != 1:
            check(fio.returncode == 0, f"fio on {c.names[i]}: exit {fio.returncode}\n{output}")
        check("verify:" not in output, f"fio on {c.names[i]} read wrong data:\n{output}")
    for i in (0, 2):
        check(records[i].error is None, f"the writer on {c.names[i]} saw an error: {records[i].error}")
        check(records[i].operations > 20, f"the writer on {c.names[i]} did {records[i].operations} operations only")
    say(f"operations {[r.operations for r in records]}, longest gap of the survivors "
        f"{max(records[0].longest_gap, records[2].longest_gap) * 1000:.0f} ms; ctl-b's host: {records[1].error}")
    return records


def check_content(c, records, through):
    for i in through:
        wrong = wrong_blocks(c.uris[i], records)
        check(not wrong, f"through {c.names[i]}: {len(wrong)} wrong blocks, as {wrong[:3]}")


def kill_and_hang(c):
    records = crash_under_load(c, lambda: c.kill("ctl-b"))
    check_content(c, records, (0, 2))
    c.verify()
    c.restart("ctl-b")
    check_content(c, records, (0, 1, 2))
    say("killed with SIGKILL and started again: content and parity are right")

    pid = c.pid("ctl-b")
    records = crash_under_load(c, lambda: c.braid("demo", "stop", "ctl-b"), records)
    try:
        os.kill(pid, signal.SIGCONT)  # if it still were there it would now go on with its writes
    except ProcessLookupError:
        pass
    time.sleep(0.5)
    check_content(c, records, (0, 2))
    c.braid("demo", "cont", "ctl-b", expect=6)  # it was killed, not trusted
    c.verify()
    c.restart("ctl-b")
    check_content(c, records, (0, 1, 2))
    say("stopped with SIGSTOP and continued: fenced, content and parity are right")


def raid6():
    """All disks there: ctl-b is killed, then stopped"""
    with Cluster() as c:
        kill_and_hang(c)


def raid6_less_one():
    """One disk failed: ctl-b is killed, then stopped"""
    with Cluster() as c:
        c.braid("disk", "fail", "d1", "-y")
        check(c.status()["groups"][0]["members"].count("_") == 1, "one member is failed")
        kill_and_hang(c)


def raid6_less_two():
    """Two disks failed: ctl-b is killed, then stopped; a third failure is refused"""
    with Cluster() as c:
        c.braid("disk", "fail", "d1", "-y")
        c.braid("disk", "fail", "d4", "-y")
        check(c.status()["redundancy_remaining"] == 0, "no disk may fail any more")
        c.braid("disk", "fail", "d5", "-y", expect=5)
        kill_and_hang(c)


def write_back():
    """Hosts are answered before the disks have their data: ctl-b is killed, then stopped"""
    with Cluster(flags=("--cache", "write-back")) as c:
        kill_and_hang(c)
        answered = sum(float(line.rsplit(" ", 1)[1]) for line in c.metrics().splitlines()
                       if line.startswith("braid_dirty_writes_total{"))
        check(answered > 100, f"{answered} writes were answered with no disk touched")


main(raid6, raid6_less_one, raid6_less_two, write_back)
