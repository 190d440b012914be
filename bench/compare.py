#!/usr/bin/env python3
"""fio through one, two and three controllers, beside `qemu-nbd` and `nbdkit file` on a plain file of the same file system,
and `nbdkit memory`, in the same run. The contestants take turns within each round, the figures are medians of the rounds,
and each is also given as a ratio to `nbdkit file`, reads of what fits into a cache to `nbdkit memory`. CPU is what the
server processes used, per operation.

  bench/compare.py [--build build/release] [--levels raid5:5,raid6:6] [--jobs NAME,...] [--variant NAME=FLAGS]...
                   [--seconds 2] [--rounds 3] [--json FILE]
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIZE_MIB = 512
HOT_MIB = 32  # of each controller: fits into the default cache, [limits] cache = "64MiB"
CACHED = "4k cached read qd32"
JOBS = [  # name, fio options, bytes of an operation
    ("4k randread qd1", ["--rw=randread", "--bs=4k", "--iodepth=1"], 4096),
    ("4k randread qd32", ["--rw=randread", "--bs=4k", "--iodepth=32"], 4096),
    (CACHED, ["--rw=randread", "--bs=4k", "--iodepth=32"], 4096),
    ("4k randwrite qd1", ["--rw=randwrite", "--bs=4k", "--iodepth=1"], 4096),
    ("4k randwrite qd32", ["--rw=randwrite", "--bs=4k", "--iodepth=32"], 4096),
    ("1m seqread", ["--rw=read", "--bs=1M", "--iodepth=4"], 1 << 20),
    ("1m seqwrite", ["--rw=write", "--bs=1M", "--iodepth=4"], 1 << 20),
]
# Goals of one controller against `nbdkit file`, or what the job is compared with.
GOALS = {"4k randread qd1": 0.8, "4k randread qd32": 0.6, CACHED: 0.8, "4k randwrite qd1": 0.3, "4k randwrite qd32": 0.2,
         "1m seqwrite": 0.5}


def cpu_seconds(pids):
    """User and system time of processes, all threads."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


class Server:
    """A contestant: URIs to drive, and the processes whose CPU counts."""

    def __init__(self, name, uris, pids, stop, apis=()):
        self.name, self.uris, self.pids, self.stop, self.apis = name, uris, pids, stop, apis


def wait_for(reached, what, seconds=60):
    end = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > end:
            sys.exit(f"compare: gave up waiting for {what}")
        time.sleep(0.05)


def end(process):
    process.send_signal(signal.SIGINT)
    process.wait(60)


def start_braid(build, scratch, level, disks, controllers, variant=("", "")):
    kind, flags = variant
    name = f"braid {level} x{controllers}" + (f" {kind}" if kind else "")
    directory = Path(scratch) / name.replace(" ", "-")
    env = dict(os.environ, BRAID_DEMO_DISKS=str(scratch), XDG_RUNTIME_DIR=str(scratch))
    log = open(f"{directory}.log", "w")
    process = subprocess.Popen(
        [f"{build}/bin/braid", "demo", "--controllers", str(controllers), "--disks", str(disks), "--level", level,
         "--disk-size", "512MiB", "--volume-size", f"{SIZE_MIB}MiB", "--dir", str(directory), *flags.split()],
        stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env)

    def up():
        if process.poll() is not None:
            sys.exit(f"compare: braid demo ended: {Path(log.name).read_text()}")
        return "Ctrl-C" in Path(log.name).read_text()

    wait_for(up, name)
    state = json.loads((directory / "demo.json").read_text())
    env["BRAID_API"] = state["controllers"][0]["api"]
    status = json.loads(subprocess.check_output([f"{build}/bin/braid", "status", "--json"], env=env))
    return Server(name, [f"nbd://{c['nbd']}/v0" for c in state["controllers"]],
                  [c["pid"] for c in status["controllers"]], lambda: end(process), [c["api"] for c in state["controllers"]])


def start_peer(name, words, socket_path):
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: accepts(socket_path), name, 20)
    return Server(name, [f"nbd://127.0.0.1:{socket_path}/"], [process.pid], lambda: end(process))


def accepts(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start_peers(scratch):
    servers = []
    for name in ("nbdkit file", "qemu-nbd"):
        image = f"{scratch}/{name.replace(' ', '-')}.img"
        with open(image, "wb") as file:
            file.truncate(SIZE_MIB << 20)
        port = free_port()
        if name == "qemu-nbd":
            words = ["qemu-nbd", "-f", "raw", "-t", "-e", "8", "-b", "127.0.0.1", "-p", str(port), image]
        else:
            words = ["nbdkit", "-f", "-i", "127.0.0.1", "-p", str(port), "file", image]
        servers.append(start_peer(name, words, port))
    port = free_port()
    memory = ["nbdkit", "-f", "-i", "127.0.0.1", "-p", str(port), "memory", f"{SIZE_MIB}M"]
    servers.append(start_peer("nbdkit memory", memory, port))
    return servers


def warm(server):
    """What is read twice stays in a cache that one long scan does not wash out."""
    share = SIZE_MIB // len(server.uris)
    for i, uri in enumerate(server.uris):
        words = ["fio", "--name=warm", "--ioengine=nbd", f"--uri={uri}", "--rw=read", "--bs=64k", "--iodepth=8",
                 f"--offset={i * share}M", f"--size={HOT_MIB}M", "--loops=3"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def run_fio(server, options, seconds, area=SIZE_MIB):
    """What fio says of each URI's job, all at once."""
    share = SIZE_MIB // len(server.uris)
    words = ["fio", "--output-format=json", "--ioengine=nbd", "--time_based", f"--runtime={seconds}", "--norandommap",
             "--randrepeat=0", "--group_reporting=1", *options]
    for i, uri in enumerate(server.uris):
        words += [f"--name=c{i}", f"--uri={uri}", f"--offset={i * share}M", f"--size={min(share, area)}M"]
    # Options before the first --name are global for fio; each --name begins a job of its own.
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode != 0:
        sys.exit(f"compare: fio on {server.name}: {done.stderr or done.stdout}")
    return json.loads(done.stdout[done.stdout.index("{"):])["jobs"]


def fio(server, options, seconds, area=SIZE_MIB):
    """Operations per second over all URIs at once, and server CPU seconds per operation."""
    before = cpu_seconds(server.pids)
    jobs = run_fio(server, options, seconds, area)
    used = cpu_seconds(server.pids) - before
    operations = sum(j["read"]["total_ios"] + j["write"]["total_ios"] for j in jobs)
    rate = sum(j["read"]["iops"] + j["write"]["iops"] for j in jobs)
    return rate, used / max(operations, 1)


def fio_latency(server, options, seconds):
    """Writes per second through the first URI; median and 99th percentile in microseconds, with the fsync if there is one for each."""
    alone = Server(server.name, server.uris[:1], server.pids, server.stop)
    [job] = run_fio(alone, options, seconds)
    part = job["sync"]["lat_ns"] if "--fsync=1" in options else job["write"]["clat_ns"]
    percentiles = part.get("percentile", {})
    return job["write"]["iops"], [percentiles.get(p, 0) / 1000 for p in ("50.000000", "99.000000")]


def fill(server):
    """Every block is written once, so that nobody reads holes."""
    words = ["fio", "--name=fill", "--ioengine=nbd", f"--uri={server.uris[0]}", "--rw=write", "--bs=1M", "--iodepth=4",
             f"--size={SIZE_MIB}M"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def measure(servers, jobs, seconds, rounds):
    figures = {}
    for server in servers:
        fill(server)
    for name, options, size in jobs:
        samples = {s.name: [] for s in servers}
        if name == CACHED:
            for server in servers:
                warm(server)
        for turn in range(rounds):
            order = servers if turn % 2 == 0 else servers[::-1]
            for server in order:
                samples[server.name].append(fio(server, options, seconds, HOT_MIB if name == CACHED else SIZE_MIB))
        for server in servers:
            rates = [rate for rate, _ in samples[server.name]]
            figures.setdefault(server.name, {})[name] = {
                "iops": statistics.median(rates), "least": min(rates), "most": max(rates),
                "bytes_per_s": statistics.median(rates) * size,
                "cpu_us_per_op": statistics.median(cpu for _, cpu in samples[server.name]) * 1e6}
        print(f"  {name}: done", file=sys.stderr, flush=True)
    return figures


def print_table(figures, jobs):
    print(f"\n{'':<18}" + "".join(f"{name:>26}" for name in figures))
    for job, _, size in jobs:
        base = figures["nbdkit memory" if job == CACHED else "nbdkit file"]
        cells = []
        for name in figures:
            f = figures[name][job]
            amount = f"{f['iops'] / 1000:.1f}k" if size == 4096 else f"{f['bytes_per_s'] / (1 << 20):.0f} MiB/s"
            ratio = f["iops"] / base[job]["iops"]
            mark = " "
            if name.startswith("braid") and " x1" in name and job in GOALS:
                mark = "+" if ratio >= GOALS[job] else "-"
            cells.append(f"{amount} {ratio:4.2f}{mark} {f['cpu_us_per_op']:6.1f}us")
        print(f"{job:<18}" + "".join(f"{c:>26}" for c in cells))
    print("\nrate, ratio to `nbdkit file` (cached: to `nbdkit memory`), server CPU per operation; + and -: the goal of one controller is met or missed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(ROOT / "build" / "release"))
    parser.add_argument("--levels", default="raid5:5,raid6:6", help="LEVEL:DISKS, comma separated")
    parser.add_argument("--controllers", default="1,2,3")
    parser.add_argument("--jobs", default=",".join(job[0] for job in JOBS), help="names, comma separated")
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variant", action="append", type=lambda v: v.partition("=")[::2], metavar="NAME=FLAGS",
                        help="flags for `braid demo`, e.g. 'resync=--power-loss resync'; again for one more, beside it")
    parser.add_argument("--json", help="write the figures there, too")
    args = parser.parse_args()
    jobs = [job for job in JOBS if job[0] in args.jobs.split(",")]
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None
    scratch = tempfile.mkdtemp(prefix="braid-compare-", dir=place)
    everything = {}
    try:
        for part in args.levels.split(","):
            level, disks = part.split(":")
            servers = start_peers(scratch)
            try:
                for controllers in map(int, args.controllers.split(",")):
                    for variant in args.variant or [("", "")]:
                        servers.append(start_braid(Path(args.build).resolve(), scratch, level, int(disks), controllers, variant))
                print(f"{level} on {disks} disks in {scratch}", file=sys.stderr, flush=True)
                figures = measure(servers, jobs, args.seconds, args.rounds)
            finally:
                for server in servers:
                    server.stop()
            everything[level] = figures
            print_table(figures, jobs)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if args.json:
        document = {"schema": "braid/compare", "version": 1, "cpus": os.cpu_count(), "kernel": os.uname().release,
                    "seconds": args.seconds, "rounds": args.rounds, "figures": everything}
        Path(args.json).write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
