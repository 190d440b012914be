"""`braid demo` as a captive and in the foreground: environment, exit status, nothing left behind."""

import json
import os
import subprocess
import tempfile

from harness import BRAID, Cluster, check, leftovers, main, run, wait_until

SMALL = ["--disk-size", "256MiB", "--volume-size", "64MiB", "--disks", "4"]


def captive_environment():
    """The command sees URIs, API, directory and `braid`; its status is the demo's; nothing is left"""
    with tempfile.TemporaryDirectory() as scratch:
        env = dict(os.environ, TMPDIR=scratch, XDG_RUNTIME_DIR=scratch)
        script = ('set -e; test $(echo $BRAID_URIS | wc -w) = 3; for u in $BRAID_URIS; do nbdinfo --size $u; done; '
                  'test -e $BRAID_DIR/disks/d3; test -S "${BRAID_API#unix:}"; braid status; braid volume show v0; '
                  'sleep 7321 & exit 7')
        done = run(BRAID, "demo", *SMALL, "--run", script, expect=7, env=env)
        check(done.stdout.count("67108864") == 3, f"nbdinfo on every controller: {done.stdout}{done.stderr}")
        check("OK" in done.stdout and "raid6 2+2" in done.stdout, f"status: {done.stdout}")
        check(os.listdir(scratch) == [], f"files left behind: {os.listdir(scratch)}")
        check(not leftovers(scratch), "processes left behind")
        left = leftovers("sleep 7321")
        check(not left, f"processes of the command left behind: {left}")


def kill_of_the_demo():
    """No daemon survives a demo that is killed"""
    with tempfile.TemporaryDirectory() as scratch:
        env = dict(os.environ, TMPDIR=scratch, XDG_RUNTIME_DIR=scratch)
        demo = subprocess.Popen([BRAID, "demo", *SMALL, "--run", "echo up; exec sleep 7321"], env=env, stdout=subprocess.PIPE)
        check(demo.stdout.readline() == b"up\n", "the captive command runs")
        check(len([p for p in leftovers(scratch) if "braidd" in p]) == 3, "three daemons run")
        demo.kill()
        demo.wait()
        wait_until("the daemons are gone", lambda: not leftovers(scratch), 10)


def verbs():
    """kill, start, stop and cont work from another shell; status tells; wrong words are refused with their exit code"""
    with Cluster(disks=4, disk_size="256MiB", volume_size="64MiB") as c:
        check(c.status()["health"] == "ok", f"health: {c.status()}")
        c.braid("demo", "kill", "ctl-x", expect=3)
        c.kill("ctl-b")
        c.braid("demo", "kill", "ctl-b", expect=6)
        wait_until("ctl-b counts as down", lambda: {x["name"]: x["state"] for x in c.status()["controllers"]}["ctl-b"] != "up")
        conditions = c.status()["conditions"]
        check(any(x["object"] == "ctl-b" and x["fix"] for x in conditions), f"a condition names ctl-b: {conditions}")
        c.restart("ctl-b")
        wait_until("the condition clears itself", lambda: not c.status()["conditions"])
        c.braid("demo", "stop", "ctl-c")
        c.braid("demo", "cont", "ctl-c")
        c.braid("controller", "fence", "ctl-a", "-y", expect=2)  # not itself
        c.braid("controller", "fence", "ctl-c", expect=2)  # nobody can be asked
        c.braid("controller", "fence", "ctl-c", "-y")
        check({x["name"]: x["state"] for x in c.status()["controllers"]}["ctl-c"] == "fenced", "ctl-c is fenced")
        c.restart("ctl-c")
        samples = [line.rsplit(" ", 1)[0] for line in c.metrics().splitlines() if not line.startswith("#")]
        check(len(samples) > 20 and len(samples) == len(set(samples)), "every sample stands on the metrics page once")
        c.braid("st", "--api", "unix:/nowhere", expect=4)
        c.braid("group", "show", "none", expect=3)
        c.braid("gr", "sh", "g0")
        c.braid("group", "set", "g0", "--min-hold", 500, "--lock-order", "priority", "--prefetch", 4)
        for name in c.names:
            shown = json.loads(c.braid("--json", "group", "show", "g0", controller=name).stdout)
            check((shown["min_hold_us"], shown["lock_order"], shown["prefetch"]) == (500, "priority", 4), f"{name}: {shown}")
        refused = c.braid("group", "set", "g0", "--amfs", 2, expect=2)
        check("stays as it is" in refused.stderr, refused.stderr)
        refused = c.braid("group", "set", "g0", "--replication", "asynchronous", expect=2)
        check("needs --cache write-back" in refused.stderr, refused.stderr)
        partner = c.names[2]
        c.braid("group", "set", "g0", "--partners", f"{c.names[0]}={partner}")
        shown = json.loads(c.braid("--json", "group", "show", "g0", controller=c.names[0]).stdout)
        check((shown["partners"], shown["named_partners"]) == ([partner], {c.names[0]: [partner]}), f"{shown}")
        c.braid("group", "set", "g0", "--partners", f"{c.names[0]}=host:h9,site:x")
        shown = json.loads(c.braid("--json", "group", "show", "g0", controller=c.names[1]).stdout)
        check(shown["named_partners"] == {c.names[0]: ["host:h9", "site:x"]}, f"{shown}")
        refused = c.braid("group", "set", "g0", "--partners", f"{c.names[0]}=rack:x", expect=3)
        check("rack:x does not share group g0" in refused.stderr, refused.stderr)


main(captive_environment, kill_of_the_demo, verbs)
