"""A TCP proxy that can swallow bytes both ways, as a network does that is cut without a word."""

import contextlib
import selectors
import socket
import threading

from typing_extensions import override


class CuttingProxy(threading.Thread):
    """Forwards connections to a port of this machine until it is told to swallow.

    While cut, and for connections that lost bytes also afterwards, everything that
    arrives from either side is read and dropped: nobody is told, both ends stay open.
    """

    def __init__(self, target_port: int) -> None:
        super().__init__(daemon=True)
        self._target = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._peers: dict[socket.socket, socket.socket | None] = {}
        self._dead: set[socket.socket] = set()
        self._cut = threading.Event()
        self._over = threading.Event()
        self.swallowed_bytes = 0
        self.connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """From now on nothing gets through, on old and on new connections."""
        self._cut.set()

    def heal(self) -> None:
        """New connections get through again; those of before stay half open and dumb."""
        self._cut.clear()

    def close(self) -> None:
        self._over.set()
        self.join(10)
        for each in (self._listener, *self._peers):
            with contextlib.suppress(OSError):
                each.close()
        self._selector.close()

    @override
    def run(self) -> None:
        while not self._over.is_set():
            for key, _ in self._selector.select(0.1):
                one = key.fileobj
                if one is self._listener:
                    self._accept()
                elif isinstance(one, socket.socket):
                    self._pump(one)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        self.connections += 1
        if self._cut.is_set():
            self._watch(client, None)
            self._dead.add(client)
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._target), 5)
        except OSError:
            client.close()
            return
        self._watch(client, server)
        self._watch(server, client)

    def _watch(self, one: socket.socket, peer: socket.socket | None) -> None:
        self._peers[one] = peer
        self._selector.register(one, selectors.EVENT_READ)

    def _pump(self, one: socket.socket) -> None:
        peer = self._peers[one]
        try:
            data = one.recv(256 * 1024)
        except OSError:
            data = b""
        if self._cut.is_set():
            self._dead.update(each for each in (one, peer) if each is not None)
        if one in self._dead:
            self.swallowed_bytes += len(data)
            if not data:
                self._forget(one)
                one.close()
            return
        try:
            if data and peer is not None:
                peer.sendall(data)
                return
        except OSError:
            pass
        for each in (one, peer):
            if each is not None:
                self._forget(each)
                each.close()

    def _forget(self, one: socket.socket) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(one)
        self._peers.pop(one, None)
