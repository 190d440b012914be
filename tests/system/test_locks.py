"""Two hosts write the same block through two controllers: everybody concerned says so, names the range, and stops saying it
when they stop. What the command line and the metrics page tell of locks meanwhile."""

import json
import threading
import time

import nbd_client
from harness import Cluster, check, main, say, wait_until

OFFSET = 3 << 20


class Hammer(threading.Thread):
    """Writes one block over and over."""

    def __init__(self, uri, offset):
        super().__init__(daemon=True)
        self.uri, self.offset, self.stopped, self.operations = uri, offset, False, 0
        self.start()

    def run(self):
        connection = nbd_client.Connection(self.uri)
        while not self.stopped:
            connection.write(self.offset, b"x" * 4096)
            self.operations += 1
        connection.disconnect()

    def stop(self):
        self.stopped = True
        self.join(30)


def ping_pong(c, controller):
    """The condition that this controller tells, or None."""
    return next((x for x in c.status(controller)["conditions"] if x["code"] == "LOCK_PING_PONG"), None)


def traded():
    """ctl-a and ctl-b trade a stripe; both say so, with its bytes, until it ends"""
    with Cluster() as c:
        hammers = [Hammer(uri, OFFSET + i * 4096) for i, uri in enumerate(c.uris[:2])]
        for name in c.names[:2]:
            told = wait_until(f"{name} tells of the ping-pong", lambda n=name: ping_pong(c, n), 20)
            check(told["object"] == "g0: ctl-a, ctl-b", f"{name} names {told['object']}")
            check(f"v0 bytes {OFFSET} to {OFFSET + (256 << 10) - 1}" in told["text"], f"{name} says {told['text']}")
            check("braid group set g0 --min-hold" in told["fix"], told["fix"])
        say(f"{told['object']} {told['text']}")

        top = json.loads(c.braid("top", "--json").stdout)
        groups = {x["controller"]: x["groups"][0] for x in top["controllers"]}
        check(set(groups) == set(c.names), f"top knows {set(groups)}")
        for name in c.names[:2]:
            check(groups[name]["writes_per_s"] > 50, f"{name}: {groups[name]}")
            check(groups[name]["lock_requests"]["peer_per_s"] > 20, f"{name}: {groups[name]['lock_requests']}")
        hot = top["hot"][0]
        check(hot["volume"] == "v0" and hot["volume_offset"] == OFFSET and hot["ping_pong"], f"hot is {hot}")
        check("ping-pong" in c.braid("top", "--once").stdout, "top's text")

        locks = json.loads(c.braid("--json", "controller", "locks", "ctl-b", "--hot", 1).stdout)["controllers"]
        check([x["controller"] for x in locks] == ["ctl-b"] and len(locks[0]["hot"]) == 1, f"locks: {locks}")
        check(c.braid("controller", "locks", "ctl-z", expect=3), "an unknown controller")

        page = c.metrics()
        for line in ('braid_lock_requests_total{group="g0",amf="0",result="peer"} ', "# TYPE braid_lock_wait_seconds histogram",
                     'braid_lock_wait_seconds_bucket{group="g0",amf="0",le="+Inf"} ', 'braid_lock_messages_total{group="g0",amf="0",type="lock_'):
            check(line in page, f"no {line} in the metrics")

        for hammer in hammers:
            hammer.stop()
        wait_until("nobody tells of it any more", lambda: not any(ping_pong(c, n) for n in c.names), 20)
        check(all(h.operations > 100 for h in hammers), f"{[h.operations for h in hammers]} writes")


def apart():
    """Hosts that keep to themselves are told of to nobody"""
    with Cluster() as c:
        hammers = [Hammer(uri, i * OFFSET) for i, uri in enumerate(c.uris)]
        time.sleep(6)
        for name in c.names:
            check(ping_pong(c, name) is None, f"{name} tells of a ping-pong")
        for hammer in hammers:
            hammer.stop()


main(traded, apart)
