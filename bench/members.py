#!/usr/bin/env python3
"""What writes cost the members of a group, and how long hosts wait for them, where members take their time: fio through one of two
controllers whose disks wait before each command (`braid demo --disk-delay-us`). For each load and each way to write: operations per
second, the median and the 99th percentile of their latency, the ratio of the rate to that of the first way, commands at the members
for each operation, and of all stripes written those that were written as a whole. The ways take turns within each round, the figures
are medians of the rounds.

  bench/members.py [--build build/release] [--level raid5:5] [--delay-us 100] [--way NAME=FLAGS]... [--loads NAME,...]
                   [--seconds 2] [--rounds 3]
"""

import argparse
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import compare

LOADS = [
    ("4k random qd1", ["--rw=randwrite", "--bs=4k", "--iodepth=1"]),
    ("4k random qd32", ["--rw=randwrite", "--bs=4k", "--iodepth=32"]),
    ("4k random fsync", ["--rw=randwrite", "--bs=4k", "--iodepth=1", "--fsync=1"]),
    ("4k zipf qd32", ["--rw=randwrite", "--bs=4k", "--iodepth=32", "--random_distribution=zipf:1.1"]),
    ("4k sequential qd8", ["--rw=write", "--bs=4k", "--iodepth=8"]),
    ("64k sequential qd8", ["--rw=write", "--bs=64k", "--iodepth=8"]),
    ("1m sequential qd4", ["--rw=write", "--bs=1M", "--iodepth=4"]),
]
WAYS = [("write-through", "--cache write-through"), ("write-back", "--cache write-back"),
        ("through, no journal", "--cache write-through --power-loss resync"),
        ("back, no journal", "--cache write-back --power-loss resync"),
        ("through, no checksums", "--cache write-through --checksums off"),
        ("back, no checksums", "--cache write-back --checksums off")]


def get_metrics(api):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(api.removeprefix("unix:"))
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: braid\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(1 << 16), b"")).decode()


def counters(server):
    """Member commands, stripes written as a whole, stripes written: of all controllers."""
    commands = whole = stripes = 0
    for api in server.apis:
        text = get_metrics(api)
        for name, labels, value in re.findall(r"^(\w+)\{([^}]*)\} (\d+)", text, re.M):
            if name == "braid_disk_operations_total":
                commands += int(value)
            elif name == "braid_stripe_writes_total":
                stripes += int(value)
                whole += int(value) if 'path="full"' in labels else 0
    return commands, whole, stripes


def run(server, options, seconds):
    before = counters(server)
    rate, latency = compare.fio_latency(server, options, seconds)
    subprocess.run(["fio", "--name=flush", "--ioengine=nbd", f"--uri={server.uris[0]}", "--rw=write", "--bs=4k", "--size=4k",
                    "--end_fsync=1"], check=True, stdout=subprocess.DEVNULL)
    commands, whole, stripes = (b - a for a, b in zip(before, counters(server)))
    return rate, *latency, commands / max(rate * seconds, 1), whole / max(stripes, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(compare.ROOT / "build" / "release"))
    parser.add_argument("--level", default="raid5:5", help="LEVEL:DISKS")
    parser.add_argument("--delay-us", type=int, default=100)
    parser.add_argument("--loads", default=",".join(load[0] for load in LOADS), help="names, comma separated")
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", action="append", type=lambda v: v.partition("=")[::2], metavar="NAME=FLAGS")
    args = parser.parse_args()
    ways = args.way or WAYS
    loads = [load for load in LOADS if load[0] in args.loads.split(",")]
    level, disks = args.level.split(":")
    scratch = tempfile.mkdtemp(prefix="braid-members-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
    servers = []
    try:
        for name, flags in ways:
            flags += f" --disk-delay-us {args.delay_us}"
            servers.append(compare.start_braid(Path(args.build).resolve(), scratch, level, int(disks), 2, (name, flags)))
            compare.fill(servers[-1])
        print(f"{level} on {disks} disks of {args.delay_us} us, two controllers, a host at one of them")
        for load, options in loads:
            samples = [[] for _ in ways]
            for turn in range(args.rounds):
                order = range(len(ways)) if turn % 2 == 0 else reversed(range(len(ways)))
                for i in order:
                    samples[i].append(run(servers[i], options, args.seconds))
            print(f"\n{load:<24}{'per second':>12}{'ratio':>8}{'median us':>12}{'p99 us':>10}{'commands':>10}{'whole':>8}")
            medians = [[statistics.median(column) for column in zip(*rows)] for rows in samples]
            for (name, _), (rate, median, high, commands, whole) in zip(ways, medians):
                print(f"  {name:<22}{rate:>12.0f}{rate / medians[0][0]:>8.2f}{median:>12.0f}{high:>10.0f}{commands:>10.2f}{whole:>8.0%}")
            sys.stdout.flush()
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
