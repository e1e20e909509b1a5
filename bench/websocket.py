"""The client's side of WebSocket on a plain socket: handshake, frame heads, short replies."""

import base64
import os
import socket
from urllib.parse import urlsplit

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_ZERO_MASK = b"\0\0\0\0"


class HandshakeError(ConnectionError):
    """The server did not upgrade; the message is its answer's head."""


def connect(
    url: str, *, token: str = "", timeout: float = 30.0
) -> tuple[socket.socket, bytes]:
    """An upgraded, non-blocking socket and the bytes that came after the head."""
    parts = urlsplit(url)
    port = parts.port or 80
    host = parts.hostname or "127.0.0.1"
    sock = socket.create_connection((host, port), timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
    ]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = sock.recv(65536)
        if not piece:
            break
        answer += piece
    head, _, rest = answer.partition(b"\r\n\r\n")
    if b" 101 " not in head.split(b"\r\n", 1)[0]:
        sock.close()
        raise HandshakeError((head + b"\n" + rest[:300]).decode(errors="replace"))
    sock.setblocking(False)
    return sock, rest


def frame_head(
    buffer: bytearray | bytes, at: int, end: int
) -> tuple[int, int, int] | None:
    """Opcode, begin and end of the payload of the frame at ``at``; None if cut short.

    Frames from a server are not masked; fragments do not occur in what is measured here.
    """
    if end - at < 2:
        return None
    first, length = buffer[at], buffer[at + 1]
    begin = at + 2
    if length == 126:
        if end - at < 4:
            return None
        length = int.from_bytes(buffer[at + 2 : at + 4], "big")
        begin = at + 4
    elif length == 127:
        if end - at < 10:
            return None
        length = int.from_bytes(buffer[at + 2 : at + 10], "big")
        begin = at + 10
    if not first & 0x80:
        raise ValueError("fragmented frame")
    return first & 0x0F, begin, begin + length


def client_frame(opcode: int, payload: bytes) -> bytes:
    """A frame to a server; the mask is zero, which is a mask all the same."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
    return head + _ZERO_MASK + payload
