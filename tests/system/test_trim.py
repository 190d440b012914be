"""Trims as hosts' own tools make them: what is trimmed reads as zeros through every controller, and extents that are trimmed as a whole
give their space back, which everybody's map and `braid status` say."""

import json
import time

import nbd_client
from harness import MIB, Cluster, check, main, run, say, wait_until

EXTENT = 64 * MIB


def qemu(uri, *commands):
    run("qemu-io", "-f", "raw", "-d", "unmap", *[word for command in commands for word in ("-c", command)], uri)


def parts(uri):
    """(begin, end) of the holes."""
    return [(p["offset"], p["offset"] + p["length"]) for p in json.loads(run("nbdinfo", "--map", "--json", uri).stdout) if p["type"] & 1]


def holes(uri):
    """The extents of 64 MiB that are holes, by number."""
    return {extent for begin, end in parts(uri) for extent in range(-(-begin // EXTENT), end // EXTENT)}


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
        check(used(c) == 2 * EXTENT, "an extent that was written between two trims stays")
        for uri in c.uris:
            rest = [begin for begin, end in parts(uri) if end == 192 * MIB]  # of the stripe that was written it is not known
            check(0 not in holes(uri) and MIB < rest[0] <= 2 * MIB, f"what was trimmed of it is a hole: {parts(uri)}")
        qemu(c.uris[1], "read -P 0 0 1M", "read -P 0x22 1M 64k", "read -P 0 1088k 62M")
        qemu(c.uris[2], "discard 0 40M", "discard 40M 24M")
        check(used(c) == EXTENT, "two trims that cover an extent release it")
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


def through_several():
    """parts of an extent trimmed through different controllers are holes for all, and all of it together gives the space back"""
    with Cluster(controllers=4, disks=5, volume_size="256MiB", flags=["--outside", 1]) as c:
        qemu(c.uris[0], "write -P 0x11 0 128M")
        qemu(c.uris[0], "discard 0 24M")
        qemu(c.uris[3], "discard 24M 10M")
        for uri in c.uris:
            check(parts(uri) == [(0, 34 * MIB), (128 * MIB, 256 * MIB)], f"what was trimmed, through {uri}: {parts(uri)}")
        qemu(c.uris[2], "write -P 0x22 30M 4k")
        for uri in c.uris:
            check(not any(begin <= 30 * MIB < end for begin, end in parts(uri)), f"what was written is no hole, through {uri}: {parts(uri)}")
        qemu(c.uris[1], "discard 34M 30M")
        time.sleep(2)
        check(used(c) == 2 * EXTENT, "what was written is still there")
        for uri in c.uris:
            qemu(uri, "read -P 0 0 30M", "read -P 0x22 30M 4k", "read -P 0 31M 33M", "read -P 0x11 64M 64M")
        qemu(c.uris[3], "discard 24M 10M")
        wait_until("the parts have given their space back", lambda: used(c) == EXTENT)
        qemu(c.uris[1], "discard 64M 31M")
        qemu(c.uris[2], "discard 95M 33M")
        wait_until("two halves have given their space back", lambda: used(c) == 0)
        qemu(c.uris[0], "read -P 0 0 128M")
        say("trims through several controllers add up")
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


def code_of(connection, offset, content):
    """What a write is answered: 0, or an error's number."""
    try:
        connection.write(offset, content)
        return 0
    except nbd_client.NbdError as error:
        return error.errno


def out_of_space():
    """stripes narrower than a group whose disks fail: it says so, then what finds no place fails with ENOSPC, and nothing else does"""
    with Cluster(disks=4, disk_size="256MiB", volume_size="64MiB") as c:
        disks = [c.new_disk(f"d{i}") for i in range(4, 10)]
        c.braid("group", "create", "g1", "--level", "raid5", "--width", 3, "--disks", *disks)
        group = next(g for g in c.status()["groups"] if g["name"] == "g1")
        extents = group["usable_bytes"] // EXTENT
        refused = c.braid("volume", "create", "v1", "--group", "g1", "--size", f"{(extents + 1) * 64}M", expect=1).stderr
        check(all(word in refused for word in ("v1", "g1", str(group["usable_bytes"]), "expand")), f"thing, reason, fix: {refused}")
        c.braid("volume", "create", "v1", "--group", "g1", "--size", f"{extents * 64}M")
        c.braid("port", "create", "v1", *c.names)
        check(not full(c), "all that virtual disks may need is there")
        for disk in disks[:4]:
            c.braid("disk", "fail", disk, "-y")
        check([(f["severity"], f["object"]) for f in full(c)] == [("warning", "g1")], f"it says so before it is full: {full(c)}")
        check("ENOSPC" in full(c)[0]["text"] and "replace" in full(c)[0]["fix"], f"what happens, and what to do: {full(c)}")

        hosts = [nbd_client.Connection(uri.replace("/v0", "/v1")) for uri in c.uris]
        answers = [code_of(hosts[i % 3], i * EXTENT, bytes([i + 1]) * 4096) for i in range(extents)]
        room = answers.index(nbd_client.ENOSPC)
        check(1 < room < extents and set(answers[room:]) == {nbd_client.ENOSPC} and not any(answers[:room]), f"answers: {answers}")
        check([f["severity"] for f in full(c)] == ["error"], f"it is full: {full(c)}")
        for i, host in enumerate(hosts):
            check(code_of(host, room * EXTENT + 8192, b"x" * 4096) == nbd_client.ENOSPC, "through any controller")
            check(host.read(room * EXTENT, 16384) == bytes(16384), "what was refused is nowhere")
            check(code_of(host, i * EXTENT + 4096, b"y" * 4096) == 0, "what has a place is written")
            host.flush()
        for i in range(room):
            check(hosts[(i + 1) % 3].read(i * EXTENT, 4096) == bytes([i + 1]) * 4096, f"what was written to extent {i} is there")

        hosts[0].request(nbd_client.TRIM, EXTENT, EXTENT)
        check(code_of(hosts[1], room * EXTENT, b"z" * 4096) == 0, "a trim has made room for one")
        check(code_of(hosts[2], (room + 1) * EXTENT, b"z" * 4096) == nbd_client.ENOSPC, "and no more")
        for name in ("d10", "d11", "d12", "d13"):
            c.braid("disk", "replace", disks.pop(0), c.new_disk(name))
        wait_until("there is room again, and it says so no more", lambda: not full(c), 60)
        wait_until("extents find a place", lambda: code_of(hosts[0], (extents - 1) * EXTENT, b"z" * 4096) == 0, 60)
        check(hosts[2].read(room * EXTENT, 4096) == b"z" * 4096, "all is there")
        say(f"{room} of {extents} extents found a place, then ENOSPC; with new disks all do")


main(trims, through_several, fullness, out_of_space)
