"""A cluster of real processes for one test: `braid demo` started with a directory of its own, spoken to by the command
line and by NBD clients, and checked at the end for leftovers."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(os.environ.get("BRAID_BIN", ROOT / "build" / "release" / "bin"))
BRAID = str(BIN / "braid")
MIB = 1 << 20


class Failed(AssertionError):
    pass


def check(condition, text):
    if not condition:
        raise Failed(text)


def say(text):
    print(f"{time.monotonic() - STARTED:7.2f}  {text}", flush=True)


STARTED = time.monotonic()


def scratch_root():
    """Where disks go: memory if there is enough, so that tests measure us and not the machine's disk."""
    shm = "/dev/shm"
    if os.path.isdir(shm) and shutil.disk_usage(shm).free > 6 << 30:
        return shm
    return tempfile.gettempdir()


def run(*words, expect=0, timeout=120, **more):
    """Runs a tool; its output is shown when the exit code is not the expected one (None: any)."""
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=timeout, **more)
    if expect is not None and done.returncode != expect:
        raise Failed(f"{' '.join(map(str, words))}: exit {done.returncode}, expected {expect}\n{done.stdout}{done.stderr}")
    return done


def wait_until(what, reached, timeout=30.0, every=0.02):
    end = time.monotonic() + timeout
    while True:
        value = reached()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"gave up after {timeout} s: {what}")
        time.sleep(every)


class Cluster:
    """with Cluster(level="raid6") as c: c.uris, c.braid("status"), c.kill("ctl-b") ..."""

    def __init__(self, *, controllers=3, disks=6, disk_size="1GiB", volume_size="1GiB", level="raid6", ping_timeout_ms=3000,
                 flags=()):
        # Three seconds of silence before a controller counts as hung: a loaded machine may stall for one.
        self.directory = tempfile.mkdtemp(prefix="braid-test-")
        self.disks = tempfile.mkdtemp(prefix="braid-test-disks-", dir=scratch_root())
        self.words = ["--controllers", controllers, "--disks", disks, "--disk-size", disk_size, "--volume-size",
                      volume_size, "--level", level, "--dir", f"{self.directory}/demo",
                      "--ping-timeout-ms", ping_timeout_ms, *flags]
        self.process = None
        self.names = [f"ctl-{chr(ord('a') + i)}" for i in range(controllers)]

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, error, trace):
        try:
            if error is not None:
                self.show_logs()
            self.stop()
        finally:
            shutil.rmtree(self.disks, ignore_errors=True)
            shutil.rmtree(self.directory, ignore_errors=True)

    def start(self):
        self.output = open(f"{self.directory}/demo.out", "w+b")
        env = dict(os.environ, BRAID_DEMO_DISKS=self.disks, XDG_RUNTIME_DIR=self.directory)
        self.process = subprocess.Popen([BRAID, "demo", *map(str, self.words)], stdout=self.output,
                                        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env)
        wait_until("the demo says what to try", self._introduced, 60)
        state = json.loads(Path(f"{self.directory}/demo/demo.json").read_text())
        self.controllers = {c["name"]: c for c in state["controllers"]}
        self.uris = [f"nbd://{self.controllers[n]['nbd']}/v0" for n in self.names]
        say(f"cluster is up: {' '.join(map(str, self.words[:8]))}")

    def _introduced(self):
        if self.process.poll() is not None:
            raise Failed(f"braid demo ended: {Path(self.output.name).read_text()}")
        return "Ctrl-C stops everything" in Path(self.output.name).read_text()

    def stop(self):
        """Ends the demo as Ctrl-C does and checks that nothing is left."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(60)
        self.output.close()
        self.process = None
        check(code == 0, f"the demo ended with {code}")
        left = leftovers(self.directory)
        check(not left, f"processes left behind: {left}")
        check("--keep" in self.words or not os.listdir(self.disks), "disks left behind")

    def show_logs(self):
        print(Path(self.output.name).read_text()[-2000:])
        for name in self.names:
            log = Path(f"{self.directory}/demo/{name}/log")
            if log.exists():
                print(f"--- {name}: the end of its log")
                print("\n".join(log.read_text(errors="replace").splitlines()[-40:]), flush=True)

    def environment(self, controller=None):
        api = self.controllers[controller or self.names[0]]["api"]
        return dict(os.environ, BRAID_API=api, BRAID_DIR=f"{self.directory}/demo", XDG_RUNTIME_DIR=self.directory)

    def braid(self, *words, expect=0, controller=None, timeout=120):
        return run(BRAID, *words, expect=expect, timeout=timeout, env=self.environment(controller))

    def status(self, controller=None):
        return json.loads(self.braid("status", "--json", controller=controller).stdout)

    def metrics(self, controller=None):
        """The metrics page of a controller, the first one if none is named."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.controllers[controller or self.names[0]]["api"].removeprefix("unix:"))
            s.sendall(b"GET /metrics HTTP/1.0\r\nHost: braid\r\n\r\n")
            answer = b"".join(iter(lambda: s.recv(65536), b"")).decode()
        check(answer.split(" ")[1] == "200", f"metrics: {answer[:200]}")
        return answer.split("\r\n\r\n", 1)[1]

    def pid(self, name):
        return next(c["pid"] for c in self.status()["controllers"] if c["name"] == name)

    def kill(self, name):
        self.braid("demo", "kill", name)

    def restart(self, *names):
        for name in names:
            self.braid("demo", "start", name)
        wait_until(f"{names} serve v0 again", lambda: all(self.serves(n) for n in names), 60)

    def serves(self, name):
        done = self.braid("port", "list", "--json", controller=name, expect=None)
        if done.returncode != 0:
            return False
        return any(p["controller"] == name and p["state"] == "open" for p in json.loads(done.stdout)["ports"])

    def new_disk(self, name, size=None):
        """A disk that the controllers find, as large as the others unless `size` says so. Its name."""
        disks = Path(f"{self.directory}/demo/disks")
        with open(disks / name, "wb") as disk:
            disk.truncate(size or os.stat(disks / "d0").st_size)
        return name

    def job_runs(self):
        return any(j["state"] == "running" for j in self.status()["jobs"])

    def verify(self):
        """Every block is what was written, and parity fits."""
        wait_until("no job runs", lambda: not self.job_runs(), 60)
        done = self.braid("group", "scrub", "g0", "--wait", timeout=180)
        say(f"verified: {done.stdout.strip()}")


def leftovers(marker):
    """Processes whose command line holds `marker`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if marker in line:
            found.append(f"{entry.name}: {line}")
    return found


def main(*tests):
    """Runs the tests that the command line names, or all; a test is a function."""
    wanted = sys.argv[1:]
    for test in tests:
        if wanted and test.__name__ not in wanted:
            continue
        say(f"{test.__name__}: {test.__doc__}")
        try:
            test()
        except Failed as failure:
            say(f"FAILED {test.__name__}: {failure}")
            sys.exit(1)
    say("passed")
