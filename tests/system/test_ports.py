"""Ports and virtual disks come and go at run time."""

import time

import nbd_client
from harness import MIB, Cluster, check, main, wait_until


def port_life():
    """A deleted port answers ESHUTDOWN and closes; other ports go on; it can be made again"""
    with Cluster(disks=4, disk_size="512MiB", volume_size="128MiB") as c:
        first, second = nbd_client.Connection(c.uris[0]), nbd_client.Connection(c.uris[1])
        first.write(0, b"a" * 4096)
        c.braid("port", "delete", "v0", "ctl-a")
        error = None
        end = time.monotonic() + 5
        while error is None and time.monotonic() < end:
            try:
                first.read(0, 4096)
            except nbd_client.NbdError as answer:
                error = answer.errno
            except (ConnectionError, OSError):
                break
        check(error == nbd_client.ESHUTDOWN, f"a closed port answers ESHUTDOWN, not {error}")

        def closed():
            try:
                first.read(0, 4096)
            except nbd_client.NbdError:
                return False
            except (ConnectionError, OSError):
                return True
            return False

        wait_until("its connections are closed", closed, 10)
        try:
            nbd_client.Connection(c.uris[0])
            check(False, "a deleted port can be found")
        except (nbd_client.NbdError, ConnectionError):
            pass
        check(second.read(0, 4096) == b"a" * 4096, "the other port goes on")
        c.braid("port", "delete", "v0", "ctl-a", expect=3)
        c.braid("port", "create", "v0", "ctl-a")
        check(nbd_client.Connection(c.uris[0]).read(0, 4096) == b"a" * 4096, "the new port serves")
        c.verify()


def volume_life():
    """Virtual disks are made, listed, served and deleted at run time"""
    with Cluster(disks=4, disk_size="512MiB", volume_size="128MiB") as c:
        c.braid("volume", "create", "v1", "--size", "100M", "--dry-run")
        c.braid("volume", "show", "v1", expect=3)
        c.braid("volume", "create", "v1", "--size", "100M")
        c.braid("volume", "create", "v1", "--size", "100M", expect=1)
        c.braid("volume", "create", "huge", "--size", "100G", expect=1)
        c.braid("port", "create", "v1", "ctl-b", "ctl-c")
        uri = c.uris[1].replace("/v0", "/v1")
        connection = nbd_client.Connection(uri)
        check(connection.size == 100 * MIB, f"size: {connection.size}")
        check(connection.read(50 * MIB, 4096) == bytes(4096), "a new virtual disk reads as zeros")
        connection.write(99 * MIB, b"x" * 5000)
        other = nbd_client.Connection(c.uris[2].replace("/v0", "/v1"))
        check(other.read(99 * MIB, 5000) == b"x" * 5000, "its ports show one disk")
        connection.disconnect()
        other.disconnect()
        c.braid("volume", "delete", "v1", expect=2)  # nobody can be asked
        c.braid("volume", "delete", "v1", "-y", expect=5)  # it has ports
        c.braid("volume", "delete", "v1", "-y", "--force")
        c.braid("volume", "show", "v1", expect=3)
        try:
            nbd_client.Connection(uri)
            check(False, "a deleted virtual disk can be found")
        except (nbd_client.NbdError, ConnectionError):
            pass


main(port_life, volume_life)
