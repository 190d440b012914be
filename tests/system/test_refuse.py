"""Nothing is destroyed without --force."""

import json
import os

from harness import MIB, Cluster, check, main, run


def foreign_disks():
    """Disks with a file system, a partition table or another group are refused (exit 5) by name and reason"""
    with Cluster(controllers=2, disks=5, disk_size="256MiB", volume_size="64MiB", level="raid5") as c:
        disks = f"{c.directory}/demo/disks"
        for i in range(5, 9):
            with open(f"{disks}/d{i}", "wb") as file:
                file.truncate(256 * MIB)
        run("mkfs.ext4", "-q", "-F", f"{disks}/d6")
        with open(f"{disks}/d8", "r+b") as file:  # a DOS partition table with one entry
            file.seek(446)
            file.write(bytes([0x80, 0, 2, 0, 0x83, 1, 1, 0]) + (2048).to_bytes(4, "little") + (4096).to_bytes(4, "little"))
            file.seek(510)
            file.write(b"\x55\xaa")

        create = ["group", "create", "g1", "--level", "raid5", "--disks"]
        before = open(f"{disks}/d6", "rb").read()
        done = c.braid(*create, "d5", "d6", "d7", expect=5)
        check("d6" in done.stderr and "ext4" in done.stderr and "--force" in done.stderr, f"the refusal: {done.stderr}")
        check(open(f"{disks}/d6", "rb").read() == before, "a refused disk is unchanged")
        done = c.braid(*create, "d5", "d8", "d7", expect=5)
        check("d8" in done.stderr and "partition table" in done.stderr, f"the refusal: {done.stderr}")
        done = c.braid(*create, "d5", "d7", "d0", expect=5)
        check("d0" in done.stderr and "g0" in done.stderr, f"the refusal: {done.stderr}")
        c.braid(*create, "d5", "d7", expect=2)
        c.braid(*create, "d5", "d6", "d7", "--dry-run", "--force")
        check(open(f"{disks}/d6", "rb").read() == before, "a dry run changes nothing")
        c.braid(*create, "d5", "d6", "d7", "--force")
        groups = json.loads(c.braid("group", "list", "--json").stdout)["groups"]
        check(sorted(g["name"] for g in groups) == ["g0", "g1"], f"groups: {groups}")
        dump = json.loads(c.braid("metadata", "dump", f"{disks}/d6").stdout)
        check(dump["superblock"]["group"] == "g1" and dump["superblock"]["member"] == 1, f"superblock: {dump['superblock']}")


main(foreign_disks)
