"""The verbs for disks, groups and jobs as an operator has them: what is refused changes nothing and says why and what to do, what takes
longer names its job and can be waited for, and a job can be hurried, or ended."""

import json
import os

import nbd_client
from harness import MIB, Cluster, check, main, say, wait_until


def fill(c, mib):
    connection = nbd_client.Connection(c.uris[0])
    for i in range(mib // 16):
        connection.write(i * 16 * MIB, os.urandom(MIB) * 16)
    connection.disconnect()


def job(c, number):
    return json.loads(c.braid("job", "show", number, "--json").stdout)


def members(c):
    return [g["members"] for g in c.status()["groups"]][0]


def disks(c):
    return {d["name"].rsplit("/", 1)[-1]: d["state"] for d in json.loads(c.braid("disk", "list", "--json").stdout)["disks"]}


def refused(c, *words, code, says):
    """Also as a plan; the group stays as it was."""
    before = json.loads(c.braid("group", "show", "g0", "--json").stdout)
    for more in ((), ("--dry-run",)):
        done = c.braid(*words, *more, expect=None)
        check(done.returncode == code, f"{words} {more}: exit {done.returncode}: {done.stdout}{done.stderr}")
        for word in says:
            check(word in done.stderr, f"{words} {more}: '{word}' is not in: {done.stderr}")
    after = json.loads(c.braid("group", "show", "g0", "--json").stdout)
    for key in ("members", "disks", "level", "data", "parity", "prefetch", "scrub_every_s", "usable_bytes"):
        check(before[key] == after[key], f"{words} was refused, and {key} was {before[key]}, is {after[key]}")


def refusals():
    """what is refused has changed nothing, and the message names the thing, the reason and the fix"""
    with Cluster(controllers=2, disks=4, disk_size="256MiB", volume_size="512MiB", level="raid5") as c:
        c.new_disk("d4")
        c.new_disk("d5", 96 << 20)
        refused(c, "group", "set", "g0", "--prefetch", "3", "--scrub-every", "7d", "--level", "raid6", code=2,
                says=["group g0", "wider", "braid group expand g0 --add"])
        refused(c, "group", "expand", "g0", "--add", "d4", "--width", "8", code=2, says=["stripes of 8 disks", "--add DISK,... first"])
        refused(c, "group", "expand", "g0", "--add", "d4,d4", code=5, says=["d4 is named twice", "braid disk list"])
        refused(c, "disk", "remove", "d1", code=5, says=["d1 (g0/1)", "stripes of 4 disks", "braid disk replace OLD NEW"])
        refused(c, "disk", "replace", "d1", "d5", code=5, says=["d1 (g0/1)", "with disk", "no room", "larger disk"])
        c.braid("disk", "fail", "d0", "-y")
        refused(c, "disk", "fail", "d1", "-y", code=5, says=["g0 would go offline", "1 of its disks are gone", "braid disk replace"])
        refused(c, "group", "expand", "g0", "--add", "d0", code=5, says=["d0 is member 0 of group g0", "braid disk add"])
        say(f"all were refused: [{members(c)}]")
        refused(c, "group", "set", "g0", "--coherency", "broadcast", code=2, says=["coherency"])


def waits():
    """disk replace, remove and add, and group expand, with --wait end when their job has; without, they name it"""
    with Cluster(controllers=2, disks=4, disk_size="256MiB", volume_size="384MiB", level="raid5") as c:
        fill(c, 384)
        for name in ("d4", "d5"):
            c.new_disk(name)
        done = c.braid("disk", "replace", "d1", "d4", "--wait")
        check("rebuild g0" in done.stdout and "100.0 %" in done.stdout, f"the job, at its end: {done.stdout}")
        wait_until("d1 is gone", lambda: disks(c)["d1"] == "gone", 20)
        named = c.braid("group", "expand", "g0", "--add", "d5").stdout
        number = int(named.split("job ")[1].split(":")[0])
        check(f"braid job wait {number}" in named, f"the job is named: {named}")
        c.braid("job", "wait", number)
        check(job(c, number)["state"] == "done", f"{job(c, number)}")
        c.braid("disk", "fail", "d0", "-y")
        done = c.braid("disk", "add", "d0", "--wait")
        check("rebuild g0" in done.stdout, f"taken back: {done.stdout}")
        check(c.status()["redundancy_remaining"] == 1, f"whole: [{members(c)}]")
        c.verify()


def hurried_and_ended():
    """a job gets another priority through any controller; a removal is cancelled, and its disk stays"""
    with Cluster(controllers=2, disks=6, disk_size="256MiB", volume_size="384MiB", level="raid5", flags=["--disk-delay-us", 300]) as c:
        fill(c, 384)
        number = json.loads(c.braid("group", "scrub", "g0", "--priority", "1", "--json").stdout)["job"]
        c.braid("job", "set", number, "--priority", "9", controller="ctl-b")
        check(job(c, number)["priority"] == 9, f"{job(c, number)}")
        c.braid("job", "set", number, "--priority", "10", expect=2)
        c.braid("job", "cancel", number)
        late = c.braid("job", "set", number, "--priority", "5", expect=None)
        check(late.returncode != 0 and "cancelled already" in late.stderr, late.stderr)
        c.new_disk("d6")
        number = json.loads(c.braid("disk", "replace", "d1", "d6", "--json").stdout)["job"]
        check(disks(c)["d1"] == "leaving", f"{disks(c)}")
        said = c.braid("job", "cancel", number, controller="ctl-b").stdout
        check("stay" in said, said)
        check(disks(c)["d1"] == "member", f"{disks(c)}")
        c.braid("disk", "fail", "d2", "-y")
        number = json.loads(c.braid("disk", "remove", "d2", "--json").stdout)["job"]
        kept = c.braid("job", "cancel", number, expect=2)
        check("lose fewer disks" in kept.stderr and f"braid job pause {number}" in kept.stderr, kept.stderr)
        c.braid("job", "wait", number)
        c.verify()


if __name__ == "__main__":
    main(refusals, waits, hurried_and_ended)
