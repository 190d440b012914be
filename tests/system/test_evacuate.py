"""A healthy disk is taken out of its group while three hosts write; a rebuild is paused and resumed, and outlives kill -9 of all."""

import json
import os
import signal
import time

from harness import Cluster, check, main, say, wait_until
from writer import Writer, wrong_blocks

BLOCKS = 512  # of each writer
SECONDS = 4


def same(c, records):
    for uri in c.uris:
        check(not wrong_blocks(uri, records), f"wrong blocks through {uri}: {wrong_blocks(uri, records)[:3]}")


def moved_for(c):
    """Bytes at the disks, of all controllers, by what for."""
    out = {}
    for name in c.names:
        for line in c.metrics(name).splitlines():
            if line.startswith("braid_disk_io_bytes_total{"):
                purpose = line.split('purpose="')[1].split('"')[0]
                out[purpose] = out.get(purpose, 0) + float(line.rsplit(" ", 1)[1])
    return out


def removed():
    """A healthy disk is emptied and taken out under load; its bytes are no longer needed"""
    with Cluster(disks=4, level="raid5", disk_size="256MiB", volume_size="256MiB") as c:
        c.braid("disk", "add", c.new_disk("d4"))
        wait_until("the group has one disk more than its stripes need", lambda: not c.job_runs(), 30)
        writers = [Writer(uri, i + 1, i * 16384, BLOCKS, SECONDS) for i, uri in enumerate(c.uris)]
        time.sleep(SECONDS / 4)
        c.braid("disk", "remove", "d1", "--wait", controller="ctl-b")
        check(all(w.process.is_alive() for w in writers), "hosts write until the disk is gone")
        records = [w.result() for w in writers]
        check(all(r.error is None for r in records), f"{[r.error for r in records]}")
        disk = [d for d in json.loads(c.braid("disk", "list", "--json").stdout)["disks"] if d["name"].endswith("/d1")]
        check([d["state"] for d in disk] == ["gone"], f"d1: {disk}")
        moved = moved_for(c)
        check(moved["rebuild"] > 1e6 and moved["host"] > 1e6 and moved["tables"] > 0 and moved["expand"] == 0, f"{moved}")
        os.truncate(f"{c.directory}/demo/disks/d1", 0)
        same(c, records)
        c.verify()
        check(moved_for(c)["scrub"] > 1e8, "the scrub reads all of it")
        c.braid("disk", "fail", "d2", "-y")
        same(c, records)
        say(f"d1 is gone: {sum(r.operations for r in records)} writes meanwhile")


def rebuild():
    """A rebuild stands still while it is paused, and goes on from where it was when all controllers have been killed"""
    with Cluster(disks=4, level="raid5", disk_size="1GiB", volume_size="1GiB") as c:
        records = [Writer(uri, i + 1, i * 65536, BLOCKS, 1).result() for i, uri in enumerate(c.uris)]
        c.braid("disk", "fail", "d1", "-y")
        c.new_disk("d4")
        c.braid("disk", "replace", "d1", "d4")

        def job(controller=None):
            jobs = json.loads(c.braid("job", "list", "--json", controller=controller).stdout)["jobs"]
            return next((j for j in jobs if j["kind"] == "rebuild"), None)

        begun = wait_until("some is rebuilt", lambda: (j := job()) and j["done_bytes"] and j, 20)
        c.braid("job", "pause", begun["id"], controller="ctl-b")
        time.sleep(0.5)  # what is under way ends
        paused = job("ctl-c")
        check(paused["state"] == "paused" and 0 < paused["done_bytes"] < paused["total_bytes"], f"in its middle: {paused}")
        time.sleep(1)
        check(job("ctl-c")["done_bytes"] == paused["done_bytes"], f"it stands still: {paused}, {job('ctl-c')}")
        pids = [x["pid"] for x in c.status()["controllers"]]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until("all are gone", lambda: not any(os.path.exists(f"/proc/{p}") for p in pids), 10)
        c.restart(*c.names)
        after = job("ctl-c")
        say(f"{paused['done_bytes']} bytes of {paused['total_bytes']}, after all were killed {after['done_bytes']}")
        check(after["state"] == "paused" and 0 < after["done_bytes"] < after["total_bytes"], f"not from zero: {after}")
        c.braid("job", "resume", after["id"], controller="ctl-a")
        wait_until("what d1 held is on d4", lambda: c.status()["redundancy_remaining"] == 1 and not c.job_runs(), 60)
        same(c, records)
        c.verify()
        c.braid("disk", "fail", "d2", "-y")
        same(c, records)


def expansion_degraded():
    """A disk fails in the middle of an expansion, which comes to its end all the same"""
    with Cluster(disks=4, level="raid5", disk_size="512MiB", volume_size="1GiB") as c:
        records = [Writer(uri, i + 1, i * 65536, BLOCKS, 1).result() for i, uri in enumerate(c.uris)]
        c.braid("group", "expand", "g0", "--add", ",".join(c.new_disk(d) for d in ("d4", "d5")))

        def job():
            jobs = json.loads(c.braid("job", "list", "--json").stdout)["jobs"]
            return next((j for j in jobs if j["kind"] == "rebalance"), None)

        before = wait_until("some is moved", lambda: (j := job()) and j["done_bytes"] and j, 20)
        c.braid("disk", "fail", "d1", "-y")
        middle = job()
        check(before["done_bytes"] < before["total_bytes"] and middle["state"] != "done", f"in its middle: {before}, then {middle}")
        wait_until("the expansion ends", lambda: job()["state"] == "done" and not c.job_runs(), 90)  # after spare_delay_s
        say(f"failed at {before['done_bytes']} of {before['total_bytes']}, then {middle['done_bytes']} of {middle['total_bytes']}; [{c.status()['groups'][0]['members']}]")
        same(c, records)
        c.verify()


main(removed, rebuild, expansion_degraded)
