"""The whole cluster dies at once and comes up from the disks alone."""

import os
import signal
import time

import nbd_client
import soak_kill
from harness import Cluster, Failed, check, main, say, wait_until
from writer import Writer, wrong_blocks

BLOCKS = 4096


def whole_cluster():
    """kill -9 of all controllers under load: it assembles, acknowledged content is intact, parity is made right"""
    with Cluster() as c:
        writers = [Writer(uri, i + 1, i * BLOCKS, BLOCKS, 30) for i, uri in enumerate(c.uris)]
        time.sleep(4)
        pids = [x["pid"] for x in c.status()["controllers"]]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        records = [w.result() for w in writers]
        check(all(r.error for r in records), "every host saw the end of its controller")
        check(min(r.operations for r in records) > 20, f"all wrote: {[r.operations for r in records]}")
        wait_until("all are gone", lambda: not any(os.path.exists(f"/proc/{p}") for p in pids), 10)
        c.restart(*c.names)
        for uri in c.uris:
            wrong = wrong_blocks(uri, records, in_flight_may_tear=True)
            check(not wrong, f"{len(wrong)} wrong blocks, as {wrong[:3]}")
        say(f"{sum(r.operations for r in records)} writes before the kill: all acknowledged content is there")
        c.verify()
        check(c.status()["health"] == "ok", "healthy again")


def with_write_back():
    """kill -9 of all controllers, twice, with the journal and in asynchronous mode: what was flushed is there"""
    for mode in ("write-back", "asynchronous"):
        soak_kill.rounds_in(mode, rounds=2, seed=time.time_ns())


def orderly():
    """SIGTERM to all, then start: nothing is lost and nothing needs a resync"""
    with Cluster(disks=4, disk_size="512MiB", volume_size="128MiB") as c:
        writers = [Writer(uri, i + 1, i * 1024, 1024, 2) for i, uri in enumerate(c.uris)]
        records = [w.result() for w in writers]
        check(not any(r.error for r in records), f"errors: {[r.error for r in records]}")
        pids = [x["pid"] for x in c.status()["controllers"]]
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        wait_until("all are gone", lambda: not any(os.path.exists(f"/proc/{p}") for p in pids), 30)
        for name in c.names:
            log = open(f"{c.directory}/demo/{name}/log").read()
            check("daemon.stopped" in log, f"{name} did not stop in order:\n{log[-2000:]}")
        c.restart(*c.names)
        wrong = wrong_blocks(c.uris[1], records)
        check(not wrong, f"{len(wrong)} wrong blocks, as {wrong[:3]}")
        c.verify()


def flip_a_byte(cluster):
    """Of a block that holds something, on one disk, behind the array's back. What the block is to hold."""
    marker = os.urandom(4096)
    connection = nbd_client.Connection(cluster.uris[0])
    connection.write(8 << 20, marker)
    connection.disconnect()
    cluster.verify()
    for i in range(4):  # data, or a parity that equals it because the rest of the stripe is zeros
        with open(f"{cluster.directory}/demo/disks/d{i}", "r+b") as disk:
            at = disk.read().rfind(marker[:64])  # before the data: the journals
            if at >= 0:
                disk.seek(at + 100)
                disk.write(bytes([marker[100] ^ 1]))
                return marker
    raise Failed("the data stands on no disk")


def flipped_byte():
    """without checksums `group scrub` says that a byte of a disk changed behind the array's back (exit 1)"""
    with Cluster(disks=4, disk_size="256MiB", volume_size="64MiB", level="raid5", flags=["--checksums", "off"]) as c:
        flip_a_byte(c)
        done = c.braid("group", "scrub", "g0", "--wait", expect=1)
        check("1 stripes" in done.stderr, f"the mismatch is told: {done.stdout}{done.stderr}")


def repaired_byte():
    """with checksums `group scrub` repairs it, and says so"""
    with Cluster(disks=4, disk_size="256MiB", volume_size="64MiB", level="raid5") as c:
        marker = flip_a_byte(c)
        done = c.braid("group", "scrub", "g0", "--wait")
        check("1 stripes had blocks" in done.stdout, f"the repair is told: {done.stdout}{done.stderr}")
        done = c.braid("group", "scrub", "g0", "--wait")
        check("stripes had blocks" not in done.stdout, f"once: {done.stdout}{done.stderr}")
        connection = nbd_client.Connection(c.uris[1])
        check(connection.read(8 << 20, 4096) == marker, "the block is what was written")
        connection.disconnect()


main(whole_cluster, with_write_back, orderly, flipped_byte, repaired_byte)
