"""Scrubs on real processes: by all controllers, listed by each of them, paused, resumed and cancelled anywhere, and alive when all of
them have been killed."""

import json
import os
import signal

import nbd_client
from harness import MIB, Cluster, check, main, say, wait_until


def jobs(c, controller=None, kind="scrub"):
    return [j for j in json.loads(c.braid("job", "list", "--json", controller=controller).stdout)["jobs"] if j["kind"] == kind]


def job(c, number, controller=None):
    return json.loads(c.braid("job", "show", number, "--json", controller=controller).stdout)


def fill(c, mib):
    connection = nbd_client.Connection(c.uris[0])
    for i in range(mib // 16):
        connection.write(i * 16 * MIB, os.urandom(MIB) * 16)
    connection.disconnect()


def damage(c, marker, disk_count):
    """Flips a byte of the marker on the first disk that has it: data, or a parity that equals it because the rest is zeros."""
    for i in range(disk_count):
        with open(f"{c.directory}/demo/disks/d{i}", "r+b") as disk:
            at = disk.read().rfind(marker[:64])
            if at >= 0:
                disk.seek(at + 100)
                disk.write(bytes([marker[100] ^ 1]))
                return True
    return False


def outlives_all():
    """a scrub is the same on all controllers, is paused on one and resumed on another, and outlives kill -9 of all"""
    with Cluster(disks=5, disk_size="512MiB", volume_size="768MiB", level="raid5") as c:
        fill(c, 768)
        plan = c.braid("group", "scrub", "g0", "--dry-run")
        check("plan:" in plan.stdout and not jobs(c), f"a plan, and nothing is done: {plan.stdout}")
        begun = json.loads(c.braid("group", "scrub", "g0", "--priority", "1", "--json").stdout)
        number = begun["job"]
        c.braid("job", "pause", number, controller="ctl-b")
        refused = c.braid("group", "scrub", "g0", expect=6)
        check(f"job {number}" in refused.stderr, f"one at a time: {refused.stderr}")
        for name in c.names:
            check([(j["id"], j["state"]) for j in jobs(c, name)] == [(number, "paused")], f"{name}: {jobs(c, name)}")
        c.braid("--timeout", "0.3", "job", "wait", number, expect=7)
        check("JOB_PAUSED" in c.braid("status").stdout, "a condition says that it waits")
        pids = [x["pid"] for x in c.status()["controllers"]]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until("all are gone", lambda: not any(os.path.exists(f"/proc/{p}") for p in pids), 10)
        c.restart(*c.names)
        left = job(c, number, "ctl-c")
        say(f"after all were killed: {left['state']}, {left['done_bytes'] // MIB} of {left['total_bytes'] // MIB} MiB")
        check(left["state"] == "paused", f"it is as it was: {left}")
        c.braid("job", "resume", number, "--dry-run", controller="ctl-c")
        check(job(c, number)["state"] == "paused", "a dry run changes nothing")
        c.braid("job", "resume", number, controller="ctl-c")
        done = c.braid("job", "wait", number, controller="ctl-a", timeout=120)
        say(done.stdout.strip())
        for name in c.names:
            after = job(c, number, name)
            check(after["state"] == "done" and after["done_bytes"] == after["total_bytes"] == 768 * MIB, f"{name}: {after}")
            check(len(after["shares"]) == 3, f"all have done their part: {after['shares']}")
            check(sum(s["done_bytes"] for s in after["shares"]) == 768 * MIB, f"the parts are the whole: {after['shares']}")
            check(after["mismatches"] == 0 and after["started"] is not None and after["ended"] is not None, f"{after}")
        c.braid("job", "cancel", number, expect=1)
        c.braid("job", "cancel", 4711, expect=3)


def cancelled_and_scheduled():
    """a scrub ends when it is cancelled; with --scrub-every it begins by itself, also when a controller dies"""
    with Cluster(disks=4, disk_size="512MiB", volume_size="512MiB", level="raid5") as c:
        fill(c, 512)
        number = json.loads(c.braid("group", "scrub", "g0", "--priority", "1", "--json").stdout)["job"]
        c.braid("job", "cancel", number, controller="ctl-b")
        after = job(c, number, "ctl-c")
        check(after["state"] == "cancelled", f"it has ended: {after}")
        c.braid("job", "wait", number, expect=1)
        plan = c.braid("group", "set", "g0", "--scrub-every", "1s", "--dry-run")
        check("from never to 1 s" in plan.stdout, plan.stdout)
        c.braid("group", "set", "g0", "--scrub-every", "1s", controller="ctl-c")
        wait_until("a scrub has begun by itself and come to its end",
                   lambda: any(j["state"] == "done" for j in jobs(c)), 60)
        c.kill("ctl-a")
        seen = max(j["id"] for j in jobs(c, "ctl-b"))
        wait_until("the next one has, too",
                   lambda: any(j["state"] == "done" and j["id"] > seen for j in jobs(c, "ctl-b")), 60)
        c.braid("group", "set", "g0", "--scrub-every", "off", controller="ctl-b")
        shown = json.loads(c.braid("group", "show", "g0", "--json", controller="ctl-b").stdout)
        check(shown["scrub_every_s"] is None, f"{shown}")
        wait_until("no scrub goes on", lambda: not any(j["state"] == "running" for j in jobs(c, "ctl-b")), 60)


def found():
    """without checksums what does not fit is told with its place until it has been written anew"""
    with Cluster(disks=4, disk_size="256MiB", volume_size="128MiB", level="raid5", flags=["--checksums", "off"]) as c:
        marker = os.urandom(4096)
        connection = nbd_client.Connection(c.uris[0])
        connection.write(0, bytes(16 * MIB))
        connection.write(8 * MIB, marker)
        connection.disconnect()
        c.verify()
        check(damage(c, marker, 4), "the marker stands on some disk")
        c.braid("group", "scrub", "g0", "--wait", expect=1)
        for name in c.names:
            told = [x for x in c.status(name)["conditions"] if x["code"] == "SCRUB_FOUND"]
            check(len(told) == 1 and "v0 byte 8" in told[0]["text"], f"{name}: {told}")
        connection = nbd_client.Connection(c.uris[1])
        for i in range(16):
            connection.write(i * MIB, bytes(MIB))
        connection.disconnect()
        c.braid("group", "scrub", "g0", "--wait")
        check("SCRUB_FOUND" not in c.braid("status").stdout, "it clears itself")


def told():
    """with checksums a wrong block is repaired, and whoever has read it shows where it stood"""
    with Cluster(controllers=1, disks=4, disk_size="256MiB", volume_size="128MiB", level="raid5") as c:
        marker = os.urandom(4096)
        connection = nbd_client.Connection(c.uris[0])
        connection.write(8 * MIB, marker)
        connection.disconnect()
        c.verify()
        check(damage(c, marker, 4), "the marker stands on some disk")
        c.braid("group", "scrub", "g0", "--wait")
        places = json.loads(c.braid("group", "show", "g0", "--json").stdout)["wrong_blocks"]
        check(places, "the place is shown")
        with open(places[-1]["disk"], "rb") as disk:
            disk.seek(places[-1]["offset"])
            check(disk.read(4096) == marker, f"the marker stands there again: {places}")
        check(f"byte {places[-1]['offset']}" in c.braid("group", "show", "g0").stdout, "for people, too")


main(outlives_all, cancelled_and_scheduled, found, told)
