"""A controller that does not share the group serves its virtual disk: its hosts see nothing of it when the controller that
does the work is killed, and everybody reads the same."""

import json
import os
import time

from harness import Cluster, check, main, run, say, wait_until
from writer import Writer, wrong_blocks

OUT = "ctl-c"
BLOCKS = 1024
SECONDS = 6


def ports(c, controller=None):
    listed = json.loads(c.braid("port", "list", "--json", controller=controller).stdout)["ports"]
    return {p["controller"]: p for p in listed if p["volume"] == "v0"}


def through_a_kill():
    """The sharer that serves it is killed in the middle of writes, and comes back"""
    with Cluster(flags=("--outside", "1")) as c:
        writers = [Writer(uri, i + 1, i * BLOCKS, BLOCKS, SECONDS) for i, uri in enumerate(c.uris)]
        time.sleep(SECONDS / 3)
        port = ports(c)[OUT]
        check(port["forwarded"] and port["state"] == "open", f"the port: {port}")
        victim = port["through"]
        check(victim in ("ctl-a", "ctl-b"), f"through {victim}")
        c.kill(victim)
        records = [w.result() for w in writers]
        out, other = 2, {"ctl-a": 1, "ctl-b": 0}[victim]
        for i in (out, other):
            check(records[i].error is None, f"the writer on {c.names[i]} saw an error: {records[i].error}")
            check(records[i].operations > 50, f"the writer on {c.names[i]} did {records[i].operations} operations only")
        say(f"{victim} killed; operations {[r.operations for r in records]}, longest gap outside "
            f"{records[out].longest_gap * 1000:.0f} ms")
        for i in (out, other):
            wrong = wrong_blocks(c.uris[i], records)
            check(not wrong, f"through {c.names[i]}: {len(wrong)} wrong blocks, as {wrong[:3]}")
        c.braid("demo", "start", victim)
        wait_until("all serve", lambda: all(c.serves(n) for n in c.names), 60)
        for i in range(3):
            wrong = wrong_blocks(c.uris[i], records)
            check(not wrong, f"through {c.names[i]}: {len(wrong)} wrong blocks, as {wrong[:3]}")
        c.verify()


def judged():
    """What fio writes and verifies, nbdcopy brings back; nbdinfo reads the export, and the same map everywhere"""
    with Cluster(flags=("--outside", "1")) as c:
        uri = c.uris[2]
        size = int(run("nbdinfo", "--size", uri).stdout)
        check(size == int(run("nbdinfo", "--size", c.uris[0]).stdout), "it has another size outside")
        run("fio", "--name=f", "--ioengine=nbd", f"--uri={uri}", "--rw=randrw", "--bsrange=4k-256k", "--size=64m",
            "--iodepth=16", "--verify=crc32c", "--verify_fatal=1", "--do_verify=1", "--time_based=0", timeout=180,
            cwd=c.directory)
        maps = [run("nbdinfo", "--map", one).stdout for one in (uri, c.uris[0])]
        check(maps[0] == maps[1] and "hole" in maps[0] and "data" in maps[0], f"the map outside: {maps[0]}")
        first, second = f"{c.directory}/first", f"{c.directory}/second"
        run("nbdcopy", uri, first, timeout=180)
        run("nbdcopy", c.uris[0], second, timeout=180)
        run("cmp", first, second)
        os.unlink(first)
        os.unlink(second)
        served = sum(float(line.rsplit(" ", 1)[1]) for line in c.metrics(ports(c)[OUT]["through"]).splitlines()
                     if line.startswith("braid_forward_served_total{"))
        check(served > 100, f"{served} operations were served for it")
        check("braid_forward_operations_total{" in c.metrics(OUT), "no metrics of the forwarder")


def operators():
    """Ports there are made and deleted like others; a virtual disk with one is not deleted; nobody there is a condition"""
    with Cluster(flags=("--outside", "1")) as c:
        text = c.braid("port", "list").stdout
        check("forwarded to ctl-" in text, text)
        refused = c.braid("volume", "delete", "v0", "--yes", expect=5)
        check("has ports" in refused.stderr, refused.stderr)
        for name in ("ctl-a", "ctl-b"):
            c.braid("port", "delete", "v0", name)
        c.braid("volume", "delete", "v0", "--yes", expect=5)
        writer = Writer(c.uris[2], 1, 0, 64, 1)
        record = writer.result()
        check(record.error is None, f"without any other port: {record.error}")
        c.braid("port", "delete", "v0", OUT)
        wait_until("the port is gone there", lambda: OUT not in ports(c, OUT), 10)
        again = c.braid("port", "create", "v0", OUT).stdout
        check("forwarded" in again, again)
        c.braid("port", "create", "v0", OUT, expect=1)
        c.braid("port", "create", "v0", "ctl-x", expect=3)
        wait_until("the port is back", lambda: c.serves(OUT), 10)
        wrong = wrong_blocks(c.uris[2], [record])
        check(not wrong, f"{len(wrong)} wrong blocks, as {wrong[:3]}")
        for name in ("ctl-a", "ctl-b"):
            c.kill(name)
        wait_until("the condition", lambda: any(x["code"] == "FORWARD_NO_SHARER" for x in c.status(OUT)["conditions"]), 20)
        check(ports(c, OUT)[OUT]["state"] == "absent", "the port of nobody is not absent")
        for name in ("ctl-a", "ctl-b"):
            c.braid("demo", "start", name, controller=OUT)
        wait_until("the port serves again", lambda: c.serves(OUT), 60)
        wrong = wrong_blocks(c.uris[2], [record])
        check(not wrong, f"after all: {len(wrong)} wrong blocks, as {wrong[:3]}")
        c.kill(OUT)
        c.braid("port", "delete", "v0", OUT)
        c.braid("volume", "delete", "v0", "--yes")


main(through_a_kill, judged, operators)
