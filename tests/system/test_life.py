"""A group's life under three hosts that verify all they write: a disk fails and is replaced, the group gets more disks, a controller
is killed in the middle of it. The whole virtual disk is compared with what it should be."""

import filecmp
import json
import os
import signal
import subprocess
import tempfile

from harness import MIB, Cluster, check, main, run, say, scratch_root, wait_until

SIZE = 512 * MIB
OWN = 32 * MIB  # of each fio, from the begin of the disk on


def start_fio(uri, number):
    return subprocess.Popen(
        ["fio", f"--name=job{number}", "--ioengine=nbd", f"--uri={uri}", "--rw=randrw", "--bsrange=4k-64k", "--iodepth=8",
         f"--offset={number * OWN}", f"--size={OWN}", "--verify=crc32c", "--verify_backlog=256", "--verify_fatal=1", "--time_based",
         "--runtime=600", "--output-format=json"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end_fio(fio, name, dies):
    """It has run until now, and what it read was right."""
    fio.send_signal(signal.SIGINT)
    output = fio.communicate(timeout=120)[0]
    check("verify:" not in output, f"fio on {name} read wrong data:\n{output[:2000]}")
    if dies:
        return
    job = json.loads(output[output.index("{"):])["jobs"][0]
    check(job["error"] == 0, f"fio on {name}: error {job['error']}\n{output[:2000]}")
    say(f"fio on {name}: {job['write']['total_ios']} writes, {job['read']['total_ios']} reads, no error")


def fails_grows_and_loses_a_controller():
    """fio verify on three controllers while d1 fails and is replaced, two disks come, ctl-b is killed; then cmp and a scrub"""
    with Cluster(disks=4, level="raid5", disk_size="512MiB", volume_size="512MiB") as c, \
            tempfile.TemporaryDirectory(dir=scratch_root()) as scratch:
        for name in ("d4", "d5", "d6"):
            c.new_disk(name)
        reference = f"{scratch}/reference"
        with open(reference, "wb") as file:
            file.truncate(3 * OWN)
            file.seek(3 * OWN)
            for _ in range((SIZE - 3 * OWN) // (4 * MIB)):
                file.write(os.urandom(4 * MIB))
        run("nbdcopy", reference, c.uris[0])
        fios = [start_fio(uri, i) for i, uri in enumerate(c.uris)]

        c.braid("disk", "fail", "d1", "-y")
        check("_" in c.status()["groups"][0]["members"], "d1 has failed")
        c.braid("disk", "replace", "d1", "d4")
        wait_until("what d1 held is on d4", lambda: c.status()["redundancy_remaining"] == 1 and not c.job_runs(), 120)
        say("d1 is rebuilt on d4")
        c.braid("group", "expand", "g0", "--add", "d5,d6", controller="ctl-c")
        wait_until("data goes to the disks that came", c.job_runs, 30)
        c.kill("ctl-b")
        c.restart("ctl-b")
        wait_until("all is spread", lambda: not c.job_runs(), 120)
        say("two disks more, with ctl-b killed on the way")

        for fio, name in zip(fios, c.names):
            end_fio(fio, name, dies=name == "ctl-b")
        copies = [f"{scratch}/{name}" for name in c.names]
        for uri, copy in zip(c.uris, copies):
            run("nbdcopy", uri, copy)
        for copy in copies[1:]:
            check(filecmp.cmp(copies[0], copy, shallow=False), f"{copy} is not what another controller reads")
        with open(copies[0], "rb") as is_there, open(reference, "r+b") as file:
            file.write(is_there.read(3 * OWN))  # what fio has verified
        run("cmp", reference, copies[0])
        c.verify()
        say("cmp of the whole virtual disk through three controllers, and a scrub, found nothing")


main(fails_grows_and_loses_a_controller)
