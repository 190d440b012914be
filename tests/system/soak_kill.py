"""kill -9 of all controllers at once, again and again, under hosts that write, flush and remember, and under fio with flushes:
after each restart every block holds what it may hold, and parity fits. `tools/dev kill` runs it; by hand:

  python3 tests/system/soak_kill.py [--rounds 50] [--mode NAME]... [--level raid6 --disks 6] [--seed N]
"""

import argparse
import os
import random
import shlex
import signal
import subprocess
import sys
import time

from harness import Cluster, Failed, check, run, say, wait_until
from writer import Writer, settle, wrong_blocks

BLOCKS = 2048
MODES = {  # flags for `braid demo`; whether only what was flushed has to be there
    "write-through": ("", False),
    "write-back": ("--cache write-back", True),
    "write-back-resync": ("--cache write-back --power-loss resync", True),
    "asynchronous": ("--cache write-back --replication asynchronous", True),
}


def fio(cluster, *words):
    """Every block of its part holds its own place."""
    return ["fio", "--name=beside", "--ioengine=nbd", f"--uri={cluster.uris[0]}", "--bs=4k", "--iodepth=8", "--offset=64m",
            "--size=32m", "--verify=pattern", "--verify_pattern=%o", "--verify_state_save=0", *words]


def kill_all(cluster):
    pids = [c["pid"] for c in cluster.status()["controllers"]]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until("all are gone", lambda: not any(os.path.exists(f"/proc/{p}") for p in pids), 10)


def one_round(cluster, records, rng, flushed_only):
    writers = [Writer(uri, i + 1, i * BLOCKS, BLOCKS, 60, earlier=records[i], flush_every=rng.choice([1, 8, 50]))
               for i, uri in enumerate(cluster.uris)]
    beside = subprocess.Popen(fio(cluster, "--rw=randwrite", "--fsync=16", "--do_verify=0", "--time_based", "--runtime=60"),
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(rng.uniform(0.2, 2))
    kill_all(cluster)
    records = [w.result() for w in writers]
    beside.wait(60)
    check(all(r.error for r in records), "every host saw the end of its controller")
    cluster.restart(*rng.sample(cluster.names, len(cluster.names)))
    wrong = wrong_blocks(rng.choice(cluster.uris), records, flushed_only=flushed_only)
    check(not wrong, f"{len(wrong)} wrong blocks, as {wrong[:3]}")
    run(*fio(cluster, "--rw=read"), timeout=60)
    cluster.verify()
    for record in records:
        settle(cluster.uris[0], record)
    return records


def rounds_in(mode, rounds, seed, level="raid6", disks=6):
    flags, flushed_only = MODES[mode]
    rng = random.Random(seed)
    records = [None, None, None]
    with Cluster(level=level, disks=disks, disk_size="512MiB", volume_size="128MiB", flags=shlex.split(flags)) as cluster:
        run(*fio(cluster, "--rw=write", "--end_fsync=1", "--do_verify=0"), timeout=60)
        for number in range(rounds):
            records = one_round(cluster, records, rng, flushed_only)
            say(f"{mode}, round {number + 1} of {rounds}: {sum(r.operations for r in records)} writes, all as it may be")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50, help="in each mode")
    parser.add_argument("--mode", action="append", choices=MODES, help="again for one more; all of them")
    parser.add_argument("--level", default="raid6")
    parser.add_argument("--disks", type=int, default=6)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    say(f"seed {args.seed}")
    try:
        for mode in args.mode or MODES:
            rounds_in(mode, args.rounds, args.seed, args.level, args.disks)
    except Failed as failure:
        say(f"FAILED: {failure}")
        sys.exit(1)
    say(f"{args.rounds} rounds in each mode, nothing lost")


if __name__ == "__main__":
    main()
