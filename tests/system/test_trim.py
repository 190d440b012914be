"""Trims as hosts' own tools make them: what is trimmed reads as zeros through every controller, and extents that are trimmed as a whole
give their space back, which everybody's map and `braid status` say."""

import json

from harness import MIB, Cluster, check, main, run, say

EXTENT = 64 * MIB


def qemu(uri, *commands):
    run("qemu-io", "-f", "raw", "-d", "unmap", *[word for command in commands for word in ("-c", command)], uri)


def holes(uri):
    """The extents of 64 MiB that are holes, by number."""
    out = set()
    for part in json.loads(run("nbdinfo", "--map", "--json", uri).stdout):
        if part["type"] & 1:
            out |= set(range(part["offset"] // EXTENT, (part["offset"] + part["length"]) // EXTENT))
    return out


def used(c):
    return c.status()["groups"][0]["used_bytes"]


def trims():
    """one request, several, zeros, fio's; in between a write through another controller; parity fits afterwards"""
    with Cluster(volume_size="512MiB") as c:
        check(holes(c.uris[0]) == set(range(8)), "a new virtual disk is a hole")
        qemu(c.uris[0], "write -P 0x11 0 256M")
        check(used(c) == 4 * EXTENT, f"four extents are allocated, not {used(c)} bytes")
        for uri in c.uris:
            check(holes(uri) == {4, 5, 6, 7}, f"the map of {uri} says what is allocated: {holes(uri)}")

        qemu(c.uris[1], "discard 64M 128M")
        for uri in c.uris:
            check(holes(uri) == {1, 2, 4, 5, 6, 7}, f"{uri} knows of two more holes: {holes(uri)}")
            qemu(uri, "read -P 0x11 0 64M", "read -P 0 64M 128M", "read -P 0x11 192M 64M")
        check(used(c) == 2 * EXTENT, f"their space is back: {used(c)}")
        say("two extents trimmed through controller 2 are holes everywhere")

        qemu(c.uris[2], "discard 0 40M")
        qemu(c.uris[0], "read -P 0 0 40M", "read -P 0x11 40M 24M", "write -P 0x22 1M 64k")
        qemu(c.uris[2], "discard 40M 24M")
        check(0 not in holes(c.uris[0]), "an extent that was written between two trims stays")
        qemu(c.uris[1], "read -P 0 0 1M", "read -P 0x22 1M 64k", "read -P 0 1088k 62M")
        qemu(c.uris[2], "discard 0 40M", "discard 40M 24M")
        check(0 in holes(c.uris[0]), "two trims that cover an extent release it")
        qemu(c.uris[0], "write -z -u 192M 64M")
        check(used(c) == 0 and holes(c.uris[1]) == set(range(8)), f"zeros that may leave a hole do the same: {used(c)}")
        say("trims that cover an extent together, and zeros, release it")

        run("fio", "--name=trims", "--ioengine=nbd", f"--uri={c.uris[0]}", "--rw=trimwrite", "--bs=8M", "--size=256M", "--iodepth=4",
            timeout=200)
        run("fio", "--name=trims", "--ioengine=nbd", f"--uri={c.uris[1]}", "--rw=trim", "--bs=64M", "--size=512M", "--iodepth=2",
            timeout=200)
        check(used(c) == 0, f"after fio's trims nothing is used: {used(c)}")
        qemu(c.uris[2], "read -P 0 0 512M")
        qemu(c.uris[1], "write -P 0x33 100M 3M")
        qemu(c.uris[2], "read -P 0 64M 36M", "read -P 0x33 100M 3M")
        c.verify()


def full(c):
    return [condition for condition in c.status()["conditions"] if condition["code"] == "GROUP_FULL"]


def fullness():
    """a group that gets full says so, names what to do, and stops saying so after a trim"""
    with Cluster(disk_size="288MiB", volume_size="1GiB") as c:
        zones = c.status()["groups"][0]["usable_bytes"] // EXTENT
        wanted = -(-zones * 85 // 100)
        check(wanted < 16 <= zones, f"the virtual disk of 16 extents can fill {wanted} of {zones} zones")
        qemu(c.uris[0], *[f"write -P 0x44 {i * 64}M 4k" for i in range(wanted - 1)])
        check(not full(c), "it is not full yet")
        qemu(c.uris[1], f"write -P 0x44 {(wanted - 1) * 64}M 4k")
        check([condition["severity"] for condition in full(c)] == ["warning"], f"it says so: {c.status()['conditions']}")
        check("trim" in full(c)[0]["fix"], f"and what to do: {full(c)[0]}")
        qemu(c.uris[2], "discard 0 64M")
        check(not full(c), "space was given back")
        c.verify()


main(trims, fullness)
