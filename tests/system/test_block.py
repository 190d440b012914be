"""Disks that are block devices (loop devices over files): made with the command line alone, O_DIRECT through io_uring, hosts that
verify, a controller killed under them, a device that is refused because it carries a file system."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from harness import BIN, BRAID, check, main, run, say, wait_until
from writer import Writer, wrong_blocks

BLOCKS = 1024
SECONDS = 5


class Machine:
    """Two controllers on five loop devices."""

    def __enter__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="braid-test-block-", dir="/var/tmp"))
        self.devices, self.daemons = [], {}
        try:
            for i in range(5):
                image = self.directory / f"image{i}"
                with open(image, "wb") as file:
                    file.truncate(400 << 20)
                made = run("losetup", "--find", "--show", "--direct-io=on", image)
                self.devices.append(made.stdout.strip())
            for i, name in enumerate(("ctl-a", "ctl-b")):
                scan = ", ".join(f'"{device}"' for device in self.devices)
                (self.directory / f"{name}.toml").write_text(
                    f'[controller]\nname = "{name}"\nstate = "{self.directory}/{name}"\n'
                    f'[listen]\nnbd = ["127.0.0.1:{self.port(name)}"]\napi = ["unix:{self.directory}/{name}.api"]\n'
                    f'peers = "unix:{self.directory}/{name}.peer"\n'
                    f'[cluster]\ndirectory = "{self.directory}/cluster"\nping_timeout_ms = 3000\n[disks]\nscan = [{scan}]\n')
                self.start(name)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind, error, trace):
        for name, daemon in self.daemons.items():
            daemon.terminate()
            daemon.wait(30)
            if error is not None:
                print(f"--- {name}\n" + (self.directory / f"{name}.log").read_text(errors="replace")[-3000:])
        for device in self.devices:
            run("losetup", "--detach", device, expect=None)
        shutil.rmtree(self.directory, ignore_errors=True)

    def port(self, name):
        return 23411 + os.getpid() % 2000 * 2 + (name == "ctl-b")

    def start(self, name):
        with open(self.directory / f"{name}.log", "ab") as log:
            self.daemons[name] = subprocess.Popen([str(BIN / "braidd"), "--config", self.directory / f"{name}.toml"],
                                                  stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        wait_until(f"{name} answers", lambda: self.braid("status", controller=name, expect=None).returncode in (0, 1), 30)

    def braid(self, *words, expect=0, controller="ctl-a"):
        return run(BRAID, *words, expect=expect,
                   env=dict(os.environ, BRAID_API=f"unix:{self.directory}/{controller}.api"))

    def uri(self, name):
        return f"nbd://127.0.0.1:{self.port(name)}/v"


def block_devices():
    """raid5 on five devices, two controllers, one killed while hosts write through both"""
    with Machine() as m:
        run("mkfs.ext4", "-q", m.devices[0])
        refused = m.braid("group", "create", "g", "--level", "raid5", "--disks", *m.devices, expect=5)
        check("ext4" in refused.stderr, f"the refusal says what is there: {refused.stderr}")
        m.braid("group", "create", "g", "--level", "raid5", "--force", "--yes", "--disks", *m.devices)
        m.braid("volume", "create", "v", "--group", "g", "--size", "1GiB")
        m.braid("port", "create", "v")
        for name in m.daemons:
            run("nbdinfo", m.uri(name))
        direct = [line for line in Path(f"/proc/{m.daemons['ctl-a'].pid}/fdinfo").iterdir()
                  if any(os.path.realpath(f"/proc/{m.daemons['ctl-a'].pid}/fd/{line.name}") == d for d in m.devices)]
        flags = [int(f.read_text().split("flags:")[1].split()[0], 8) for f in direct]
        check(len(flags) == 5 and all(f & os.O_DIRECT for f in flags), f"all five are open with O_DIRECT: {flags}")

        writers = [Writer(m.uri(name), i + 1, i * BLOCKS, BLOCKS, SECONDS) for i, name in enumerate(m.daemons)]
        time.sleep(SECONDS / 2)
        m.daemons["ctl-b"].kill()
        records = [w.result() for w in writers]
        m.daemons["ctl-b"].wait()
        check(records[0].error is None, f"the writer on ctl-a saw an error: {records[0].error}")
        say(f"operations {[r.operations for r in records]}, longest gap {records[0].longest_gap * 1000:.0f} ms")
        check(not (wrong := wrong_blocks(m.uri("ctl-a"), records)), f"{len(wrong)} wrong blocks, as {wrong[:3]}")
        m.start("ctl-b")
        wait_until("ctl-b serves v", lambda: run("nbdinfo", m.uri("ctl-b"), expect=None).returncode == 0, 30)
        wait_until("no job runs", lambda: '"running"' not in m.braid("status", "--json").stdout, 60)
        say(m.braid("group", "scrub", "g", "--wait").stdout.strip())
        m.braid("disk", "fail", m.devices[2], "-y")
        check(not (wrong := wrong_blocks(m.uri("ctl-b"), records)), f"degraded: {len(wrong)} wrong blocks, as {wrong[:3]}")


if os.geteuid() != 0 or run("losetup", "--find", expect=None).returncode != 0:
    say("no loop devices here: nothing is tested")
else:
    main(block_devices)
