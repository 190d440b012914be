"""Hosts that write known content. Each Writer is a process with one connection and a range of blocks of its own; it
knows for every block the last write that was acknowledged and the last one that was sent, so that a reader can tell
whether what it finds is right. Gaps between acknowledgements are what a host feels of a failure."""

import multiprocessing
import random
import struct
import time

import nbd_client

BLOCK = 4096


def content(writer, block, sequence):
    stamp = struct.pack(">IIQ", writer, block, sequence)
    return stamp * (BLOCK // len(stamp))


class Record:
    """What one writer did: its block b is block `first + b * stride` of the virtual disk. A later writer of the same range goes on from the `earlier` one's record: blocks that it
    does not reach still hold what that one wrote."""

    def __init__(self, number, first, blocks, earlier=None, stride=1):
        self.number = number
        self.first = first
        self.stride = stride
        self.acknowledged = list(earlier.acknowledged) if earlier else [0] * blocks
        self.sent = list(earlier.sent) if earlier else [0] * blocks
        self.flushed = list(earlier.flushed) if earlier else [0] * blocks  # acknowledged when a flush began that was
        self.operations = 0
        self.longest_gap = 0.0
        self.gap_at = 0.0
        self.error = None


def work(uri, record, seconds, seed, pause, largest, flush_every, done):
    rng = random.Random(seed)
    try:
        connection = nbd_client.Connection(uri)
        blocks = len(record.sent)
        end = time.monotonic() + seconds
        last = time.monotonic()
        while last < end:
            run = rng.choice([1, 1, 1, largest])
            at = rng.randrange(blocks - run + 1)
            data = b""
            for b in range(at, at + run):
                record.sent[b] += 1
                data += content(record.number, b, record.sent[b])
            connection.write((record.first + at * record.stride) * BLOCK, data)
            for b in range(at, at + run):
                record.acknowledged[b] = record.sent[b]
            now = time.monotonic()
            if now - last > record.longest_gap:
                record.longest_gap, record.gap_at = now - last, last
            last = now
            record.operations += 1
            if flush_every and record.operations % flush_every == 0:
                connection.flush()
                record.flushed = list(record.acknowledged)
            if pause:
                time.sleep(pause)
                last = time.monotonic()
    except (OSError, ConnectionError) as error:
        record.error = str(error) or type(error).__name__
    done.send(record)
    done.close()


class Writer:
    """Starts at once; result() waits for the end and returns the Record. With a `stride` it writes single blocks."""

    def __init__(self, uri, number, first, blocks, seconds, pause=0.0, largest=16, earlier=None, stride=1, flush_every=0):
        self.receiver, sender = multiprocessing.Pipe(duplex=False)
        record = Record(number, first, blocks, earlier, stride)
        largest = largest if stride == 1 else 1
        self.process = multiprocessing.Process(target=work, daemon=True,
                                               args=(uri, record, seconds, number, pause, largest, flush_every, sender))
        self.process.start()
        sender.close()

    def result(self, timeout=120):
        if not self.receiver.poll(timeout):
            self.process.kill()
            raise AssertionError("a writer hangs: the cluster answers neither with success nor with an error")
        record = self.receiver.recv()
        self.process.join()
        return record


def wrong_blocks(uri, records, in_flight_may_tear=False, flushed_only=False):
    """Reads all that the writers wrote; returns a list of what is wrong. With `in_flight_may_tear` a block whose last
    write was not acknowledged may hold anything; with `flushed_only` what was acknowledged and not flushed may be gone."""
    connection = nbd_client.Connection(uri)
    wrong = []
    for record in records:
        step = 64
        for at in range(0, len(record.sent), step):
            count = min(step, len(record.sent) - at)
            span = ((count - 1) * record.stride + 1) * BLOCK
            data = connection.read((record.first + at * record.stride) * BLOCK, span)
            for i in range(count):
                block = at + i
                least, most = (record.flushed if flushed_only else record.acknowledged)[block], record.sent[block]
                if in_flight_may_tear and least != most:
                    continue
                found = data[i * record.stride * BLOCK:][:BLOCK]
                if least == 0 and found == bytes(BLOCK):
                    continue
                writer, number, sequence = struct.unpack(">IIQ", found[:16])
                whole = found == content(writer, number, sequence)
                if not whole or writer != record.number or number != block or not least <= sequence <= most:
                    wrong.append(f"block {record.first + block * record.stride}: writer {writer} block {number} sequence {sequence} "
                                 f"{'whole' if whole else 'torn'}, expected sequence {least} to {most}")
    connection.disconnect()
    return wrong


def settle(uri, record):
    """What a block holds now is what it must hold from now on, if nobody writes it."""
    connection = nbd_client.Connection(uri)
    for block in range(len(record.sent)):
        found = connection.read((record.first + block * record.stride) * BLOCK, 16)
        record.acknowledged[block] = record.flushed[block] = struct.unpack(">IIQ", found)[2]
    connection.disconnect()
