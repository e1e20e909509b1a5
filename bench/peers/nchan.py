"""nginx with nchan: one line a message, from one publisher's WebSocket to all subscribers."""

import contextlib
import os
import select
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.lines import SIZE, Lines
from bench.websocket import TEXT, client_frame, connect, frame_head
from sluice.testing.processes import HOST, free_port, listens, running

_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_TICK = 0.002
WINDOW = 200
GIVE_UP_SECONDS = 3.0
_CONF = """
load_module {module};
daemon off; worker_processes 1;
pid {root}/pid; error_log {root}/error.log;
{user}
worker_rlimit_nofile 65536;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_temp_path {root}/b; proxy_temp_path {root}/p;
  fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
  nchan_shared_memory_size 512M;
  server {{
    listen {host}:{port};
    root {root};
    location = /sub {{
      nchan_subscriber websocket;
      nchan_channel_id one;
      nchan_subscriber_first_message newest;
    }}
    location = /pub {{
      nchan_publisher websocket;
      nchan_channel_id one;
      nchan_message_buffer_length 1000000;
      nchan_message_timeout 2m;
    }}
    location /files/ {{ sendfile on; }}
  }}
}}
"""


def _program() -> str | None:
    return shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin")


def available() -> str:
    """Why there is no nchan on this machine; empty where there is."""
    if _program() is None or not _MODULE.exists():
        return "apt-get install nginx libnginx-mod-nchan"
    return ""


@dataclass(frozen=True, slots=True)
class Nchan:
    """A running nginx; ``pid`` is the master's, whose child does the work."""

    port: int
    pid: int
    path: str = "/sub"

    def cpu(self) -> float:
        """CPU seconds of nginx so far."""
        master = psutil.Process(self.pid)
        times = [one.cpu_times() for one in (master, *master.children())]
        return float(sum(one.user + one.system for one in times))

    def publish(self, count: int, rate: float = 0.0) -> None:
        """Send ``count`` lines, one a message; returns when nchan took the last.

        At a rate that nchan does not keep up with it gives up 3 s after the last line was
        due, before the viewers leave: nchan's CPU is then spent on lines that count.

        A tick's lines go out in one write, so the publisher costs the peer little. A line
        carries the time at which it was due, so waiting for nchan counts as its latency.
        """
        publisher = Publisher(f"ws://{HOST}:{self.port}/pub")
        lines = Lines()
        begin = time.monotonic()
        over = begin + count / rate + GIVE_UP_SECONDS if rate else float("inf")
        while lines.number < count and time.monotonic() < over:
            due = count
            stamp = None
            if rate:
                due = min(count, int((time.monotonic() - begin) * rate) + 1)
                stamp = int((begin + lines.number / rate) * 1e9)
            if due > lines.number:
                some = min(due - lines.number, WINDOW // 2)
                publisher.send(lines.take(some, stamp_ns=stamp))
            elif rate:
                wait = begin + lines.number / rate - time.monotonic()
                time.sleep(max(wait, _TICK))
        publisher.finish()


class Publisher:
    """One WebSocket that publishes; nchan answers every message.

    Without a limit to what is unanswered, a burst at the start leaves nchan behind by
    the same time for ever, which would be unfair to it.
    """

    def __init__(self, url: str) -> None:
        self._sock, self._answers = connect(url)
        self._sock.setblocking(True)
        self._sent = 0
        self._answered = 0

    def send(self, text: bytes) -> None:
        """Each line of ``text`` as a message, all in one write."""
        while self._sent - self._answered > WINDOW:
            self._take_answers()
        self._sock.sendall(
            b"".join(
                client_frame(TEXT, text[at : at + SIZE - 1])
                for at in range(0, len(text), SIZE)
            )
        )
        self._sent += len(text) // SIZE
        while select.select([self._sock], [], [], 0)[0]:
            self._take_answers()

    def finish(self) -> None:
        """Wait until every message is answered, so none is lost by closing."""
        self._sock.settimeout(120.0)
        while self._answered < self._sent:
            self._take_answers()
        self._sock.close()

    def _take_answers(self) -> None:
        piece = self._sock.recv(1 << 20)
        if not piece:
            raise ConnectionError("nginx closed the publisher's connection")
        data = self._answers + piece
        at = 0
        while (head := frame_head(data, at, len(data))) and head[2] <= len(data):
            self._answered += head[0] == TEXT
            at = head[2]
        self._answers = data[at:]


@contextlib.contextmanager
def nchan(root: Path) -> Iterator[Nchan]:
    """Run nginx with nchan, its files in ``root``, while the block runs.

    Raises:
        RuntimeError: there is none on this machine.
    """
    program = _program()
    if program is None or available():
        raise RuntimeError(f"no nginx with nchan: {available()}")
    port = free_port()
    conf = root / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    conf.write_text(
        _CONF.format(module=_MODULE, root=root, host=HOST, port=port, user=user)
    )
    command = [program, "-c", str(conf), "-p", str(root)]
    with running(command, log=root / "out", ready=lambda: listens(port)) as pid:
        yield Nchan(port, pid)
