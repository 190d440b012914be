"""Clients that break the protocol lose their connection, nothing else."""

import os
import random
import socket
import struct

import nbd_client
from harness import Cluster, check, main, say


def connect(uri):
    address, _ = nbd_client.address_of(uri)
    return socket.create_connection(address, timeout=10)


def is_closed(s):
    """Whether the server ends the connection; what it says before does not matter."""
    try:
        while s.recv(65536):
            pass
        return True
    except socket.timeout:
        return False
    except OSError:
        return True


def hostile():
    """Garbage, half a header, a length of 4 GiB, a thousand silent connections"""
    with Cluster(disks=4, disk_size="256MiB", volume_size="64MiB") as c:
        uri = c.uris[0]
        pids = [x["pid"] for x in c.status()["controllers"]]
        good = nbd_client.Connection(uri)
        good.write(4096, b"g" * 4096)

        rng = random.Random(1)
        for _ in range(50):  # garbage instead of a handshake
            s = connect(uri)
            try:
                s.sendall(rng.randbytes(4096))
            except OSError:
                pass
            check(is_closed(s), "garbage in the handshake ends the connection")
        say("garbage in the handshake")

        for _ in range(20):  # garbage after the handshake
            bad = nbd_client.Connection(uri, timeout=10)
            try:
                bad.socket.sendall(b"\xff" + rng.randbytes(4095))
            except OSError:
                pass
            check(is_closed(bad.socket), "garbage instead of a request ends the connection")
        say("garbage in transmission")

        for _ in range(50):  # half a header, then gone
            bad = nbd_client.Connection(uri)
            bad.socket.sendall(struct.pack(">IHHQQI", nbd_client.REQUEST, 0, nbd_client.WRITE, 1, 0, 4096)[:14])
            bad.close()
        for _ in range(50):  # a header, half its payload, then gone
            bad = nbd_client.Connection(uri)
            bad.socket.sendall(struct.pack(">IHHQQI", nbd_client.REQUEST, 0, nbd_client.WRITE, 1, 4096, 4096) + b"b" * 100)
            bad.close()
        say("half a header, half a payload")

        for command in (nbd_client.READ, nbd_client.WRITE):  # 4 GiB
            bad = nbd_client.Connection(uri, timeout=10)
            bad.socket.sendall(struct.pack(">IHHQQI", nbd_client.REQUEST, 0, command, 1, 0, 0xFFFFFFFF))
            if command == nbd_client.READ:
                _, error, _ = struct.unpack(">IIQ", bad.receive(16))
                check(error != 0, "a read of 4 GiB is refused")
            else:
                check(is_closed(bad.socket), "a write of 4 GiB ends the connection")
            bad.close()
        option = struct.pack(">I", 3) + struct.pack(">QII", nbd_client.OPTION_MAGIC, 7, 0xFFFFFFFF)
        s = connect(uri)
        s.sendall(option)
        check(is_closed(s), "an option of 4 GiB ends the connection")
        say("lengths of 4 GiB")

        silent = [connect(uri) for _ in range(300)]
        check(good.read(4096, 4096) == b"g" * 4096, "the good client goes on beside silent ones")
        for s in silent:
            s.close()
        check(nbd_client.Connection(uri).read(4096, 4096) == b"g" * 4096, "a new client is served")
        check([x["pid"] for x in c.status()["controllers"]] == pids, "no controller was lost")
        check(c.status()["health"] == "ok", "healthy")


main(hostile)
