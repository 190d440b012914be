"""A small synchronous NBD client: fixed newstyle, OPT_GO, simple replies. Enough to write with known content, to be
told errors by number, and to be rude."""

import socket
import struct

MAGIC = 0x4E42444D41474943
OPTION_MAGIC = 0x49484156454F5054
OPTION_REPLY = 0x3E889045565A9
REQUEST = 0x25609513
SIMPLE_REPLY = 0x67446698
READ, WRITE, DISCONNECT, FLUSH, TRIM = 0, 1, 2, 3, 4
ESHUTDOWN = 108
EIO = 5
ENOSPC = 28


class NbdError(OSError):
    """The server's answer to one request."""


def address_of(uri):
    """("127.0.0.1", 10809), "v0" of nbd://127.0.0.1:10809/v0."""
    place, name = uri.removeprefix("nbd://").split("/", 1)
    host, port = place.rsplit(":", 1)
    return (host, int(port)), name


class Connection:
    def __init__(self, uri, timeout=30.0):
        address, self.name = address_of(uri)
        self.socket = socket.create_connection(address, timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.handle = 0
        self._handshake()

    def close(self):
        self.socket.close()

    def receive(self, size):
        parts = bytearray()
        while len(parts) < size:
            got = self.socket.recv(size - len(parts))
            if not got:
                raise ConnectionError("the server closed the connection")
            parts += got
        return bytes(parts)

    def _handshake(self):
        magic, option, flags = struct.unpack(">QQH", self.receive(18))
        if magic != MAGIC or option != OPTION_MAGIC or not flags & 1:
            raise ConnectionError("not a fixed newstyle server")
        self.socket.sendall(struct.pack(">I", 3))  # fixed newstyle, no zeroes
        name = self.name.encode()
        payload = struct.pack(">I", len(name)) + name + struct.pack(">H", 0)
        self.socket.sendall(struct.pack(">QII", OPTION_MAGIC, 7, len(payload)) + payload)
        self.size = None
        while True:
            magic, _, kind, length = struct.unpack(">QIII", self.receive(20))
            if magic != OPTION_REPLY:
                raise ConnectionError("not an option reply")
            data = self.receive(length)
            if kind == 3 and struct.unpack(">H", data[:2])[0] == 0:
                self.size, self.flags = struct.unpack(">QH", data[2:12])
            elif kind == 1:
                return
            elif kind & 0x80000000:
                raise NbdError(kind & 0x7FFFFFFF, data.decode(errors="replace"))

    def request(self, command, offset, length, data=b"", flags=0):
        self.handle += 1
        head = struct.pack(">IHHQQI", REQUEST, flags, command, self.handle, offset, length)
        self.socket.sendall(head + data)
        magic, error, handle = struct.unpack(">IIQ", self.receive(16))
        if magic != SIMPLE_REPLY or handle != self.handle:
            raise ConnectionError("not the reply to this request")
        if error:
            raise NbdError(error, f"NBD error {error}")
        return self.receive(length) if command == READ else b""

    def read(self, offset, length):
        return self.request(READ, offset, length)

    def write(self, offset, data):
        self.request(WRITE, offset, len(data), data)

    def flush(self):
        self.request(FLUSH, 0, 0)

    def disconnect(self):
        self.socket.sendall(struct.pack(">IHHQQI", REQUEST, 0, DISCONNECT, 0, 0, 0))
        self.socket.close()
