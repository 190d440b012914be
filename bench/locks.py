#!/usr/bin/env python3
"""What sharing costs with real processes: hosts (fio's NBD engine) on one virtual disk through one and through two
controllers, in turns within each round; figures are medians of the rounds.

  bench/locks.py [--build build/release] [--seconds 3] [--rounds 3] [--level raid5 --disks 5] [--flags '--min-hold 500']
                 [--only hosts,sharing,handover,hold] [--json FILE]
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "system"), str(ROOT / "bench")]
import compare  # noqa: E402
import nbd_client  # noqa: E402

HOT = 4 << 20
HOLDS_US = (0, 100, 200, 500, 1000, 2000, 5000)


class Cluster:
    """`braid demo` with its disks in memory."""

    def __init__(self, args, controllers, *flags):
        self.directory = tempfile.mkdtemp(prefix="braid-locks-", dir=args.scratch)
        self.build = Path(args.build).resolve()
        self.env = dict(os.environ, BRAID_DEMO_DISKS=self.directory, XDG_RUNTIME_DIR=self.directory,
                        BRAID_DIR=f"{self.directory}/demo")
        self.log = open(f"{self.directory}/log", "w")
        self.process = subprocess.Popen(
            [f"{self.build}/bin/braid", "demo", "--controllers", str(controllers), "--disks", str(args.disks), "--level",
             args.level, "--disk-size", "512MiB", "--volume-size", f"{compare.SIZE_MIB}MiB", "--dir",
             f"{self.directory}/demo", *args.flags.split(), *map(str, flags)],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, env=self.env)

    def __enter__(self):
        compare.wait_for(self._up, f"{self.directory}")
        state = json.loads(Path(f"{self.directory}/demo/demo.json").read_text())
        self.uris = [f"nbd://{c['nbd']}/v0" for c in state["controllers"]]
        self.env["BRAID_API"] = state["controllers"][0]["api"]
        return self

    def __exit__(self, *_):
        compare.end(self.process)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _up(self):
        if self.process.poll() is not None:
            sys.exit(f"locks: braid demo ended: {Path(self.log.name).read_text()}")
        return "Ctrl-C" in Path(self.log.name).read_text()

    def loads(self):
        """The load documents of all controllers."""
        words = [f"{self.build}/bin/braid", "--json", "controller", "locks"]
        return json.loads(subprocess.check_output(words, env=self.env))["controllers"]


class Totals:
    """Counters of all controllers together; the difference of two is what happened between them."""

    KEYS = ("messages", "packets", "bytes", "held", "peer", "waits", "wait_sum_s")

    def __init__(self, loads):
        sent = [link["sent"] for load in loads for link in load["links"]]
        locks = [group["locks"] for load in loads for group in load["groups"]]
        self.of = {key: sum(s[key] for s in sent) for key in ("messages", "packets", "bytes")}
        self.of |= {key: sum(lock["requests"][key] for lock in locks) for key in ("held", "peer")}
        self.of |= {key: sum(lock[key] for lock in locks) for key in ("waits", "wait_sum_s")}

    def since(self, before):
        return {key: self.of[key] - before.of[key] for key in self.KEYS}


def run_fio(uris, depth, options, seconds, each=None):
    """What fio says of one host on each URI, which has options of its own in `each`."""
    words = ["fio", "--output-format=json", "--ioengine=nbd", "--norandommap", "--randrepeat=0", f"--iodepth={depth}", *options]
    for i, uri in enumerate(uris):
        words += [f"--name=h{i}", f"--uri={uri}", *(each[i] if each else [])]
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode != 0:
        sys.exit(f"locks: fio: {done.stderr or done.stdout}")
    return json.loads(done.stdout[done.stdout.index("{"):])["jobs"]


def fio(uris, depth, options, seconds):
    """Operations per second of one host on each URI, all at the same place."""
    jobs = run_fio(uris, depth, ["--time_based", f"--runtime={seconds}", *options], seconds)
    return sum(j["read"]["iops"] + j["write"]["iops"] for j in jobs)


def fill(cluster):
    subprocess.run(["fio", "--name=fill", "--ioengine=nbd", f"--uri={cluster.uris[0]}", "--rw=write", "--bs=1M",
                    "--iodepth=4", f"--size={compare.SIZE_MIB}M"], check=True, stdout=subprocess.DEVNULL)


def random_write(size):
    return ["--rw=randwrite", "--bs=4k", f"--size={size}"]


def measured(cluster, uris, depth, options, seconds):
    before = Totals(cluster.loads())
    rate = fio(uris, depth, options, seconds)
    return rate, Totals(cluster.loads()).since(before)


# ---- one host or two

def hosts(args, result):
    whole, hot = compare.SIZE_MIB << 20, HOT
    rows = [("one host, depth 32, all", 1, 32, whole), ("two hosts, depth 16 each, all", 2, 16, whole),
            ("one host, depth 32, hot 4 MiB", 1, 32, hot), ("two hosts, depth 16 each, hot 4 MiB", 2, 16, hot),
            ("two hosts, depth 32 each, all", 2, 32, whole)]
    samples = {name: [] for name, *_ in rows}
    alone = []
    with Cluster(args, 1) as single, Cluster(args, 2) as pair:
        fill(single)
        fill(pair)
        for turn in range(args.rounds):
            alone.append(fio(single.uris, 32, random_write(whole), args.seconds))
            for name, count, depth, size in rows if turn % 2 == 0 else rows[::-1]:
                samples[name].append(measured(pair, pair.uris[:count], depth, random_write(size), args.seconds))
    base = statistics.median(alone)
    print(f"\n4 KiB random write\n{'':<38}{'ops/s':>9}{'of one':>8}{'locks waited':>14}{'mean wait':>11}{'msg/op':>8}"
          f"{'msg/packet':>12}")
    print(f"{'a cluster of one, depth 32, all':<38}{base:>9.0f}")
    one = statistics.median(rate for rate, _ in samples[rows[0][0]])
    for name, *_ in rows:
        rates = [rate for rate, _ in samples[name]]
        rate, counts = sorted(samples[name], key=lambda s: s[0])[len(rates) // 2]
        operations = rate * args.seconds
        mean = counts["wait_sum_s"] / counts["waits"] * 1e6 if counts["waits"] else 0
        gathered = counts["messages"] / max(counts["packets"], 1)
        print(f"{name:<38}{rate:>9.0f}{rate / one:>8.2f}{counts['peer'] / operations:>14.3f}{mean:>8.0f} us"
              f"{counts['messages'] / operations:>8.2f}{gathered:>12.2f}")
        result[name] = {"iops": rate, "of_one_host": rate / one, "locks_waited_per_op": counts["peer"] / operations,
                        "mean_wait_us": mean, "messages_per_op": counts["messages"] / operations,
                        "messages_per_packet": gathered}
    result["a cluster of one, depth 32, all"] = {"iops": base}
    print("goals: two hosts 1.0 of one, all; 0.7 of one in hot 4 MiB; 5 messages per packet")


# ---- ways to share, by one to three processes

STRIPE = 256 << 10  # of raid5 over 5 disks with strips of 64 KiB
STREAM = 64 << 20  # bytes of a cold stream


def ways(count):
    """Name -> fio's options, of all hosts and of each. One operation of a host at a time."""
    timed = ["--time_based", "--bs=4k"]

    def own(size, start=lambda i: 0):
        return [[f"--size={size}", f"--offset={start(i)}"] for i in range(count)]

    skip = f":{4 * (count - 1)}k" if count > 1 else ""
    return {
        "private stripes": (timed + ["--rw=randwrite"], own(4 << 20, lambda i: i * (4 << 20))),
        "reads of the same": (timed + ["--rw=randread"], own(4 << 20)),
        "writes of 1 hot stripe": (timed + ["--rw=randwrite"], own(STRIPE)),
        "writes of 10 hot stripes": (timed + ["--rw=randwrite"], own(10 * STRIPE)),
        "writes of 1000 hot stripes": (timed + ["--rw=randwrite"], own(1000 * STRIPE)),
        "false sharing: own blocks, 1 stripe": (timed + [f"--rw=write{skip}"],
                                                [[f"--size={STRIPE - 4096 * i}", f"--offset={4096 * i}"] for i in range(count)]),
    }


def sharing(args, result):
    columns = [(name, count) for count in (1, 2, 3) for name in ways(count)]
    samples = {column: [] for column in columns}
    cold = {count: [] for count in (1, 2, 3)}
    for _ in range(args.rounds):
        for count in (1, 2, 3):
            with Cluster(args, count, "--dimension", 1) as cluster:  # so that all messages are about locks
                # Nobody has a lock there yet: each host's stream has a part of the disk to itself.
                part = (compare.SIZE_MIB << 20) // count
                cold[count].append(shared(args, cluster, ["--bs=1M", "--rw=write"],
                                          [[f"--size={STREAM}", f"--offset={i * part}"] for i in range(count)]))
                fill(cluster)
                for name, (common, each) in ways(count).items():
                    shared(args, cluster, common, each, seconds=1)  # who will hold what holds it
                    samples[name, count].append(shared(args, cluster, common, each))
    print(f"\nof 1, 2, 3 processes, an operation of each host at a time{'':<4}{'us/op':>8}{'msg/op':>9}{'packets/op':>12}"
          f"{'KiB/op':>9}")
    rows = [(f"{name}, {count}", samples[name, count]) for name in ways(1) for count in (1, 2, 3)]
    rows += [(f"cold stream, per MiB, {count}", found) for count, found in cold.items()]
    for name, found in rows:
        took, messages, packets, size = (statistics.median(column) for column in zip(*found))
        print(f"{name:<57}{took:>10.1f}{messages:>9.2f}{packets:>12.2f}{size / 1024:>9.2f}")
        result[name] = {"us_per_op": took, "messages_per_op": messages, "packets_per_op": packets, "bytes_per_op": size}


def shared(args, cluster, common, each, seconds=None):
    """us, messages, packets, bytes of one operation of all hosts together."""
    if "--time_based" in common:
        common = [*common, f"--runtime={seconds or args.seconds}"]
    before = Totals(cluster.loads())
    jobs = run_fio(cluster.uris, 1, common, args.seconds, each)
    counts = Totals(cluster.loads()).since(before)
    sides = [side for job in jobs for side in (job["read"], job["write"]) if side["total_ios"]]
    operations = sum(side["total_ios"] for side in sides)
    took = sum(side["lat_ns"]["mean"] * side["total_ios"] for side in sides) / operations / 1e3
    return took, counts["messages"] / operations, counts["packets"] / operations, counts["bytes"] / operations


# ---- a lock from hand to hand

def polled_round_trip_us(args):
    """A message there and back over loopback TCP, both ends polling."""
    found = []
    for _ in range(3):
        out = subprocess.run([f"{args.build}/bench/io_loop_bench"], capture_output=True, text=True, check=True).stdout
        found += [float(us) for us in re.findall(r"tcp uring +polled +1 connections +([0-9.]+) us/exchange", out)]
    if not found:
        sys.exit(f"locks: io_loop_bench says nothing of a polled round trip:\n{out}")
    return min(found)


def handover(args, result):
    round_trip = polled_round_trip_us(args)
    with Cluster(args, 2) as pair:
        fill(pair)
        ends = [nbd_client.Connection(uri) for uri in pair.uris]
        # Hosts of their own keep both controllers awake.
        busy = subprocess.Popen(
            ["fio", "--output=/dev/null", "--ioengine=nbd", "--time_based", f"--runtime={args.seconds * 10}", "--rw=randread",
             "--bs=4k", "--iodepth=1", "--size=64m", "--rate_iops=2000"] +
            [word for i, uri in enumerate(pair.uris)
             for word in (f"--name=b{i}", f"--uri={uri}", f"--offset={64 + 64 * i}m")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)
        figures = {}
        for name, act in (("write", lambda c: c.write(0, b"x" * 4096)), ("read after write", None)):
            for _ in range(200):
                ends[0].write(0, b"a" * 4096)
                ends[1].write(0, b"b" * 4096)
            before = Totals(pair.loads())
            end = time.monotonic() + args.seconds
            while time.monotonic() < end:
                if act is not None:
                    act(ends[0])
                    act(ends[1])
                else:
                    ends[0].write(0, b"a" * 4096)
                    ends[1].read(0, 4096)
            counts = Totals(pair.loads()).since(before)
            figures[name] = counts["wait_sum_s"] / max(counts["waits"], 1) * 1e6
        busy.terminate()
        busy.wait()
        for connection in ends:
            connection.close()
    print(f"\na lock between two busy controllers, its last user done; polled round trip {round_trip:.1f} us")
    for name, mean in figures.items():
        print(f"{name:<38}{mean:>8.1f} us  {mean / round_trip:>5.1f} round trips   (goal: at most 4)")
        result[f"handover, {name}"] = {"mean_wait_us": mean, "round_trips": mean / round_trip}


# ---- minimum hold

def hold(args, result):
    samples = {(us, name): [] for us in HOLDS_US for name in ("hot", "one block")}
    for us in HOLDS_US:
        with Cluster(args, 2, "--min-hold", us) as pair:
            fill(pair)
            for _ in range(args.rounds):
                samples[us, "hot"].append(measured(pair, pair.uris, 16, random_write(HOT), args.seconds))
                samples[us, "one block"].append(measured(pair, pair.uris, 1, random_write(4096), args.seconds))
    print(f"\ntwo hosts, 4 KiB random write, by minimum hold\n{'':<10}{'hot 4 MiB, depth 16 each':>28}{'waited':>9}"
          f"{'wait':>10}{'one block, depth 1 each':>28}{'waited':>9}{'wait':>10}")
    for us in HOLDS_US:
        line = f"{us:>7} us"
        for name in ("hot", "one block"):
            rate, counts = sorted(samples[us, name], key=lambda s: s[0])[len(samples[us, name]) // 2]
            waited = counts["peer"] / (rate * args.seconds)
            mean = counts["wait_sum_s"] / max(counts["waits"], 1) * 1e6
            line += f"{rate:>26.0f}/s{waited:>9.2f}{mean:>7.0f} us"
            result[f"minimum hold {us} us, {name}"] = {"iops": rate, "locks_waited_per_op": waited, "mean_wait_us": mean}
        print(line)


PARTS = {"hosts": hosts, "sharing": sharing, "handover": handover, "hold": hold}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(ROOT / "build" / "release"))
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--level", default="raid5")
    parser.add_argument("--disks", type=int, default=5)
    parser.add_argument("--flags", default="", help="for every `braid demo`")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, comma separated")
    parser.add_argument("--json", help="write the figures there, too")
    args = parser.parse_args()
    args.scratch = tempfile.mkdtemp(prefix="braid-locks-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    result = {}
    try:
        for part in args.only.split(","):
            PARTS[part](args, result)
    finally:
        shutil.rmtree(args.scratch, ignore_errors=True)
    print(f"\nload average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    if args.json:
        document = {"schema": "braid/locks-bench", "version": 1, "cpus": os.cpu_count(), "kernel": os.uname().release,
                    "seconds": args.seconds, "rounds": args.rounds, "flags": args.flags, "figures": result}
        Path(args.json).write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
