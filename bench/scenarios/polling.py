"""Scenario 8: one growing log, polled whole each second, and followed, by bytes on the wire."""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Iterator

import httpx2
import msgspec
from typing_extensions import override
from websockets.sync.client import connect

from bench.house import House

LINES = 10_000
SECONDS = 100.0
POLL_SECONDS = 1.0


class Meter(threading.Thread):
    """Forwards connections to a port of this machine and counts their bytes, both ways."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._peers: dict[socket.socket, socket.socket] = {}
        self._over = threading.Event()
        self.bytes = 0

    @property
    def address(self) -> str:
        """Host and port to connect to instead."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @override
    def run(self) -> None:
        """Forward until `close`."""
        while not self._over.is_set():
            for key, _ in self._selector.select(0.1):
                if isinstance(key.data, socket.socket):
                    self._forward(key.data)
                else:
                    self._accept()

    def close(self) -> None:
        """Forward no more."""
        self._over.set()
        self.join(10)
        for each in (self._listener, *self._peers):
            each.close()
        self._selector.close()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._target))
        for one, other in ((client, server), (server, client)):
            self._peers[one] = other
            self._selector.register(one, selectors.EVENT_READ, one)

    def _forward(self, one: socket.socket) -> None:
        other = self._peers.get(one)
        if other is None:
            return
        with contextlib.suppress(OSError):
            data = one.recv(256 * 1024)
            if data:
                self.bytes += len(data)
                other.sendall(data)
                return
        for each in (one, other):
            self._selector.unregister(each)
            self._peers.pop(each)
            each.close()


@contextlib.contextmanager
def meter(port: int) -> Iterator[Meter]:
    """A meter before a port while the block runs."""
    opened = Meter(port)
    opened.start()
    try:
        yield opened
    finally:
        opened.close()


class Poller(threading.Thread):
    """An old page: asks for the whole log each second."""

    def __init__(self, home: House, task_id: str, through: Meter) -> None:
        super().__init__(daemon=True)
        self._client = httpx2.Client(
            base_url=f"http://{through.address}",
            headers=home.stack.headers,
            trust_env=False,
        )
        self._task_id = task_id
        self._over = threading.Event()
        self.polls = 0
        self.text = ""

    @override
    def run(self) -> None:
        """Poll until told, and once more."""
        while True:
            last = self._over.is_set()
            answer = self._client.get(f"/v1/soft/getlog?fn={self._task_id}.log")
            answer.raise_for_status()
            self.polls += 1
            self.text = answer.text
            if last:
                self._client.close()
                return
            self._over.wait(POLL_SECONDS)

    def stop(self) -> None:
        """The log has ended."""
        self._over.set()
        self.join()


def compare(home: House) -> dict[str, float]:
    """One log of about 1 MB that grows over 100 s, seen by both at the same time."""
    task_id = home.start(LINES, LINES / SECONDS, delay=1.0)
    port = home.stack.port
    with meter(port) as polled, meter(port) as followed:
        poller = Poller(home, task_id, polled)
        poller.start()
        address = f"ws://{followed.address}/v1/log/ws?task_id={task_id}"
        with connect(
            address, additional_headers=home.stack.headers, compression=None, proxy=None
        ) as stream:
            home.go()
            begun = time.monotonic()
            said = [msgspec.json.decode(message) for message in stream]
        took = time.monotonic() - begun
        poller.stop()
        lines = [one["message"] for one in said if "type" not in one]
        same = "\n".join(lines) + "\n" == poller.text
        return {
            "polled_mb": polled.bytes / 1e6,
            "followed_mb": followed.bytes / 1e6,
            "fewer": 1 - followed.bytes / polled.bytes,
            "polls": poller.polls,
            "seconds": took,
            "log_mb": len(poller.text.encode()) / 1e6,
            "differ": 0.0 if same and said[-1]["type"] == "completed" else 1.0,
        }
