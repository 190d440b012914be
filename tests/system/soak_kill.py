"""kill -9 of all controllers at once, again and again, under hosts that write, flush and remember, and under fio with flushes:
after each restart every block holds what it may hold, and parity fits. `tools/dev kill` runs it; by hand:

  python3 tests/system/soak_kill.py [--rounds 50] [--level raid6 --disks 6] [--seed N] [--flags '--cache write-back'] [--flushed-only]
"""

import argparse
import os
import random
import shlex
import signal
import subprocess
import sys
import time

from harness import Cluster, Failed, check, say, wait_until
from writer import Writer, settle, wrong_blocks

BLOCKS = 2048


def kill_all(cluster):
    pids = [c["pid"] for c in cluster.status()["controllers"]]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until("all are gone", lambda: not any(os.path.exists(f"/proc/{p}") for p in pids), 10)


def one_round(cluster, records, rng, flushed_only):
    writers = [Writer(uri, i + 1, i * BLOCKS, BLOCKS, 60, earlier=records[i], flush_every=rng.choice([1, 8, 50]))
               for i, uri in enumerate(cluster.uris)]
    beside = subprocess.Popen(["fio", "--name=beside", "--ioengine=nbd", f"--uri={cluster.uris[0]}", "--rw=randwrite", "--bs=4k",
                               "--iodepth=8", "--fsync=16", "--offset=64m", "--size=32m", "--time_based", "--runtime=60"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(rng.uniform(0.2, 2))
    kill_all(cluster)
    records = [w.result() for w in writers]
    beside.wait(60)
    check(all(r.error for r in records), "every host saw the end of its controller")
    cluster.restart(*rng.sample(cluster.names, len(cluster.names)))
    wrong = wrong_blocks(rng.choice(cluster.uris), records, flushed_only=flushed_only)
    check(not wrong, f"{len(wrong)} wrong blocks, as {wrong[:3]}")
    cluster.verify()
    for record in records:
        settle(cluster.uris[0], record)
    return records


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--level", default="raid6")
    parser.add_argument("--disks", type=int, default=6)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--flags", default="", help="for `braid demo`")
    parser.add_argument("--flushed-only", action="store_true", help="what was not flushed may be lost")
    args = parser.parse_args()
    say(f"seed {args.seed}")
    rng = random.Random(args.seed)
    records = [None, None, None]
    try:
        with Cluster(level=args.level, disks=args.disks, disk_size="512MiB", volume_size="128MiB",
                     flags=shlex.split(args.flags)) as cluster:
            for number in range(args.rounds):
                records = one_round(cluster, records, rng, args.flushed_only)
                say(f"round {number + 1} of {args.rounds}: {sum(r.operations for r in records)} writes, all as it may be")
    except Failed as failure:
        say(f"FAILED: {failure}")
        sys.exit(1)
    say(f"{args.rounds} rounds, nothing lost")


if __name__ == "__main__":
    main()
