"""Tools of others judge the virtual disk: what goes in through one controller comes out of another."""

import hashlib
import os
import tempfile

from harness import MIB, Cluster, check, main, run, say, scratch_root


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else \
            hashlib.sha256(file.read()).hexdigest()


def copies():
    """nbdcopy of 1 GiB in through controller 1 and out through 3; qcow2; ext4; parity fits afterwards"""
    with Cluster() as c, tempfile.TemporaryDirectory(dir=scratch_root()) as scratch:
        image, back = f"{scratch}/image", f"{scratch}/back"
        with open(image, "wb") as file:
            for _ in range(256):
                file.write(os.urandom(4 * MIB))
        run("nbdcopy", image, c.uris[0])
        run("nbdcopy", c.uris[2], back)
        check(digest(image) == digest(back), "what nbdcopy read through controller 3 is not what it wrote through 1")
        os.unlink(back)
        say("nbdcopy: 1 GiB through controllers 1 and 3 is identical")

        run("qemu-img", "create", "-f", "qcow2", c.uris[1], "900M")
        run("qemu-io", "-f", "qcow2", "-c", "write -P 0x5a 1M 64M", "-c", "flush", c.uris[1])
        run("qemu-img", "check", "-f", "qcow2", c.uris[0])
        run("qemu-io", "-f", "qcow2", "-r", "-c", "read -P 0x5a 1M 64M", "-c", "read -P 0 128M 16M", c.uris[2])
        say("qemu: a qcow2 image made through controller 2 checks through 1 and reads through 3")

        fs, out, tree = f"{scratch}/ext4", f"{scratch}/ext4.out", f"{scratch}/tree"
        os.makedirs(f"{tree}/deep/er")
        for i in range(50):
            with open(f"{tree}/deep/er/{i}", "wb") as file:
                file.write(os.urandom(i * 10007))
        run("mkfs.ext4", "-q", "-d", tree, fs, "512M")
        run("nbdcopy", fs, c.uris[2])
        run("nbdcopy", c.uris[0], out)
        os.truncate(out, 512 * MIB)
        run("e2fsck", "-fn", out)
        check(digest(fs) == digest(out), "the ext4 image changed on its way")
        say("ext4: the image passes e2fsck after a round trip")
        c.verify()


main(copies)
