"""Disks of a group are replaced while three hosts write: one that failed, one that still answers with a controller killed on the
way; one that failed is taken back; stripes get wider, and another level; every byte stays what it was."""

import json
import os
import time
from pathlib import Path

from harness import MIB, Cluster, check, main, run, say, wait_until
from writer import Writer, wrong_blocks

BLOCKS = 512  # of each writer
EXTENT = 64 * MIB // 4096
SECONDS = 6


def members(c, controller=None):
    return c.status(controller)["groups"][0]["members"]


def under_load(c, change, earlier=(None, None, None), dies=None, apart=BLOCKS):
    """Writers of known content on all controllers, so many blocks apart, while `change()` is done. Their records."""
    writers = [Writer(uri, i + 1, i * apart, BLOCKS, SECONDS, earlier=earlier[i]) for i, uri in enumerate(c.uris)]
    time.sleep(SECONDS / 3)
    change()
    records = [w.result() for w in writers]
    for name, record in zip(c.names, records):
        check(name == dies or record.error is None, f"the writer on {name} saw an error: {record.error}")
    return records


def replaced():
    """A failed disk, then one that still answers, is replaced; ctl-b is killed in the middle of the second"""
    with Cluster(disks=4, level="raid6", disk_size="256MiB", volume_size="128MiB") as c:
        c.braid("disk", "fail", "d1", "-y")
        c.new_disk("d4")
        records = under_load(c, lambda: c.braid("disk", "replace", "d1", "d4"))
        wait_until("what d1 held is on d4", lambda: "_" not in members(c) and c.status()["redundancy_remaining"] == 2, 60)
        for uri in c.uris:
            check(not wrong_blocks(uri, records), f"wrong blocks through {uri}")
        say(f"d1 is replaced: [{members(c)}]")

        c.new_disk("d5")
        plan = c.braid("disk", "replace", "d2", "d5", "--dry-run").stdout
        check("d2" in plan and "superblock" in plan, f"the plan: {plan}")

        def replace_and_kill():
            c.braid("disk", "replace", "d2", "d5", controller="ctl-b")
            c.kill("ctl-b")

        records = under_load(c, replace_and_kill, records, dies="ctl-b")
        c.restart("ctl-b")
        gone = wait_until("d2 is gone", lambda: [d for d in json.loads(c.braid("disk", "list", "--json").stdout)["disks"]
                                                 if d["name"].endswith("/d2") and d["state"] == "gone"], 60)
        check(len(gone) == 1, f"d2: {gone}")
        os.truncate(Path(f"{c.directory}/demo/disks") / "d2", 0)
        for uri in c.uris:
            check(not wrong_blocks(uri, records), f"wrong blocks through {uri}")
        c.verify()
        for disk in ("d0", "d3"):
            c.braid("disk", "fail", disk, "-y")
        for uri in c.uris:
            check(not wrong_blocks(uri, records), f"wrong blocks through {uri}, with the new disks alone")
        say("d2 is replaced, with ctl-b killed on the way; two more have failed, and all is there")


def taken_back():
    """A disk that was declared failed is taken back under load, with what was written meanwhile; then another one may fail"""
    with Cluster(disks=4, level="raid5", disk_size="256MiB", volume_size="128MiB") as c:
        records = under_load(c, lambda: c.braid("disk", "fail", "d1", "-y"))
        check("_" in members(c), f"d1 has failed: [{members(c)}]")
        plan = c.braid("disk", "add", "d1", "--dry-run").stdout
        check("back" in plan and "regions of 4 MiB" in plan, f"the plan: {plan}")
        records = under_load(c, lambda: c.braid("disk", "add", "d1"), records)
        wait_until("d1 has what it missed", lambda: c.status()["redundancy_remaining"] == 1, 60)
        check("_" not in members(c), f"d1 is back: [{members(c)}]")
        for uri in c.uris:
            check(not wrong_blocks(uri, records), f"wrong blocks through {uri}")
        c.verify()
        c.braid("disk", "fail", "d2", "-y")
        for uri in c.uris:
            check(not wrong_blocks(uri, records), f"wrong blocks through {uri}, with d1 and without d2")
        say(f"d1 was taken back: {plan.splitlines()[-1].strip()}")


def expanded():
    """A group gets two disks and is expanded under load, a controller is killed meanwhile: more room, and what there was spreads"""
    with Cluster(disks=4, level="raid5", disk_size="256MiB", volume_size="512MiB") as c:
        before = c.status()["groups"][0]["usable_bytes"]
        for name in ("d4", "d5"):
            c.new_disk(name)

        def expand_and_kill():
            c.braid("group", "expand", "g0", "--add", "d4,d5", controller="ctl-b")
            c.kill("ctl-b")

        records = under_load(c, expand_and_kill, dies="ctl-b")
        c.restart("ctl-b")
        after = c.status()["groups"][0]["usable_bytes"]
        check(after >= before * 5 // 4, f"{before} bytes before, {after} after")
        wait_until("all is spread", lambda: not c.job_runs(), 60)
        c.braid("volume", "create", "v1", "--size", "64MiB")
        for uri in c.uris:
            check(not wrong_blocks(uri, records), f"wrong blocks through {uri}")
        c.verify()
        c.braid("disk", "fail", "d4", "-y")
        for uri in c.uris:
            check(not wrong_blocks(uri, records), f"wrong blocks through {uri}, without d4")
        say(f"{before >> 20} MiB, then {after >> 20} MiB")


def wider():
    """A group gets three disks and wider stripes, then a second parity, under load; a controller is killed while it converts"""
    with Cluster(disks=4, level="raid5", disk_size="256MiB", volume_size="256MiB") as c:
        before = c.status()["groups"][0]["usable_bytes"]
        for name in ("d4", "d5", "d6"):
            c.new_disk(name)
        refused = c.braid("group", "expand", "g0", "--width", "6", expect=None)
        check(refused.returncode != 0 and "wider than there are members" in refused.stderr, refused.stderr)
        records = [None, None, None]

        def change(*words, dies=None):
            def begin():
                done = json.loads(c.braid(*words, "--json", controller="ctl-b").stdout)
                check(done.get("job"), f"the answer names the job: {done}")
                if dies:
                    c.kill(dies)

            nonlocal records
            records = under_load(c, begin, records, dies=dies, apart=EXTENT)
            if dies:
                c.restart(dies)
            wait_until("all is converted", lambda: not c.job_runs(), 120)
            for uri in c.uris:
                check(not wrong_blocks(uri, records), f"wrong blocks through {uri} after {words}")
            c.verify()

        change("group", "expand", "g0", "--add", "d4,d5,d6", "--width", "6", dies="ctl-a")
        wider = c.status()["groups"][0]
        check(wider["data"] == 5 and wider["usable_bytes"] > before * 7 // 4, f"{before} bytes before, then {wider}")
        drawn = json.loads(c.braid("group", "map", "g0", "--bands", 1000, "--json").stdout)
        cells = [cell for band in drawn["bands"] for cell in band if cell]
        places = {cell["extent"]: sum(c["extent"] == cell["extent"] for c in cells) for cell in cells}
        check(places and min(places.values()) >= 6, f"six places of each extent on the map: {places}")
        change("group", "set", "g0", "--level", "raid6", dies="ctl-c")
        double = c.status()["groups"][0]
        check(double["level"] == "raid6" and double["redundancy_remaining"] == 2, f"{double}")
        for disk in ("d0", "d5"):
            c.braid("disk", "fail", disk, "-y")
        for uri in c.uris:
            check(not wrong_blocks(uri, records), f"wrong blocks through {uri}, without d0 and d5")
        say(f"{before >> 20} MiB, then {wider['usable_bytes'] >> 20} MiB in wider stripes; with two parities {double['usable_bytes'] >> 20} MiB")


def spares():
    """A group keeps room for a disk: what a failed one held is made again there, although virtual disks have all that they can"""
    with Cluster(disks=3, level="raid5", disk_size="256MiB", volume_size="64MiB") as c:
        names = [c.new_disk(f"d1{i}", 256 * MIB) for i in range(5)]
        c.braid("group", "create", "g1", "--level", "raid5", "--disks", ",".join(names), "--spares", "1")

        def group():
            return next(g for g in c.status()["groups"] if g["name"] == "g1")

        made = group()
        check(made["data"] + made["parity"] == 4 and made["spares_left"] == 1, f"{made}")
        c.braid("volume", "create", "full", "--group", "g1", "--size", made["usable_bytes"])
        c.braid("port", "create", "full")
        done = c.braid("group", "set", "g1", "--spares", "2", expect=None)
        check(done.returncode != 0 and "--spares" in done.stderr and group()["spares"] == 1, done.stderr)
        uris = [uri.replace("/v0", "/full") for uri in c.uris]
        records = [Writer(uri, i + 1, i * EXTENT, BLOCKS, SECONDS).result() for i, uri in enumerate(uris)]
        c.braid("disk", "fail", "d11", "-y")
        wait_until("what d11 held is elsewhere", lambda: group()["redundancy_remaining"] == 1, 120)
        check(group()["spares_left"] == 0, f"{group()}")
        codes = [x["code"] for x in c.status()["conditions"] if x["object"] == "g1"]
        check("SPARE_USED" in codes, f"{codes}")
        c.braid("disk", "fail", "d12", "-y")
        for uri in uris:
            check(not wrong_blocks(uri, records), f"wrong blocks through {uri}, without d11 and d12")
        for old, new in (("d11", "d15"), ("d12", "d16")):
            c.new_disk(new, 256 * MIB)
            c.braid("disk", "replace", old, new, "--wait")
        wait_until("there is room for another one", lambda: group()["spares_left"] == 1 and group()["redundancy_remaining"] == 1, 60)
        for uri in uris:
            check(not wrong_blocks(uri, records), f"wrong blocks through {uri}")
        say(f"{made['usable_bytes'] >> 20} MiB of five disks, of which two failed")


def refused():
    """A disk that somebody needs, or that is too small, is not taken"""
    with Cluster(disks=4, level="raid6", disk_size="256MiB", volume_size="64MiB") as c:
        done = c.braid("disk", "add", "d0", expect=5)
        check("belongs to the group" in done.stderr, done.stderr)
        c.new_disk("d7", 4 * MIB)
        done = c.braid("disk", "add", "d7", expect=None)
        check(done.returncode != 0 and "too small" in done.stderr, done.stderr)
        c.braid("disk", "add", "nothing", expect=3)
        run("mkfs.ext4", "-q", "-F", str(Path(f"{c.directory}/demo/disks") / c.new_disk("d8", 256 * MIB)))
        done = c.braid("disk", "add", "d8", expect=5)
        check("ext4" in done.stderr and "--force" in done.stderr, done.stderr)
        c.braid("disk", "add", "d8", "--force")
        check(len(members(c)) == 5, members(c))
        c.verify()


main(replaced, taken_back, expanded, wider, spares, refused)
