"""A panel of another host with the viewer in its pages, and a real browser to look at them."""

import asyncio
import contextlib
import html
import http.server
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from playwright.async_api import Browser, Page, async_playwright
from typing_extensions import override

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
MISSING = "no chromium on PATH (Debian: apt-get install chromium)"


@dataclass
class Panel:
    """Pages under an origin of its own, with a strict policy for what they may load."""

    port: int
    pages: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def page(self, body: str, *, server: str, script: str = "") -> str:
        """Publish a page that loads the viewer; its address."""
        path = f"/{len(self.pages)}"
        socket = server.replace("http", "ws", 1)
        policy = (
            f"default-src 'none'; script-src {server} 'nonce-n';"
            f" connect-src {server} {socket}; frame-ancestors 'none'"
        )
        text = (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Panel</title>'
            f'<script src="{server}/embed.js"></script>{body}'
            f'<script nonce="n">{script}</script>'
        )
        self.pages[path] = (text, policy)
        return self.origin + path

    def viewer(self, *, server: str, task_id: str, token: str, more: str = "") -> str:
        """Publish a page with one `<sluice-log>`."""
        given = f'task-id="{html.escape(task_id)}" token="{html.escape(token)}"'
        body = f'<sluice-log {given} server="{server}" {more}></sluice-log>'
        return self.page(body, server=server)


@contextmanager
def panel() -> Iterator[Panel]:
    """A panel on a free port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text, policy = shown.pages.get(self.path, ("", ""))
            self.send_response(200 if text else 404)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.send_header("content-security-policy", policy)
            self.end_headers()
            self.wfile.write(text.encode())

        @override
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    shown = Panel(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield shown
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """A real Chromium without a window."""
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=FLAGS, timeout=120_000
        )
        try:
            yield opened
        finally:
            await opened.close()


@dataclass
class Seen:
    """A page and what it complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)


@asynccontextmanager
async def opened(
    shown_by: Browser, address: str, *, dark: bool = False, width: int = 900
) -> AsyncIterator[Seen]:
    """Open an address in a fresh profile."""
    context = await shown_by.new_context(
        color_scheme="dark" if dark else "light",
        viewport={"width": width, "height": 560},
    )
    try:
        context.set_default_timeout(60_000)
        page = await context.new_page()
        seen = Seen(page)
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.on(
            "console",
            lambda said: (
                seen.complaints.append(said.text)
                if said.type in {"error", "warning"}
                else None
            ),
        )
        await page.goto(address)
        yield seen
    finally:
        await context.close()


_STATE = """() => {
  const root = document.querySelector("sluice-log")?.shadowRoot;
  if (!root) return null;
  const shown = (text) => [...text.childNodes]
    .filter((node) => !node.classList?.contains("hidden"))
    .map((node) => node.textContent).join("");
  const lines = [...root.querySelectorAll(".line")];
  const bar = root.querySelector("[role=progressbar]");
  return {
    numbers: lines.map((line) => Number(line.querySelector(".number").textContent)),
    lines: lines.map((line) => shown(line.querySelector(".text"))),
    state: root.querySelector(".state").textContent.trim(),
    step: root.querySelector(".step").textContent,
    connection: root.querySelector(".connection").textContent,
    progress: bar.getAttribute("aria-valuenow"),
    notice: root.querySelector(".notice").hidden
      ? "" : root.querySelector(".notice").textContent,
    newer: root.querySelector(".newer").hidden
      ? "" : root.querySelector(".newer").textContent,
    spoken: root.querySelector("[role=status]").textContent,
  };
}"""


@dataclass(frozen=True)
class Shown:
    """What the viewer in a page shows."""

    numbers: list[int]
    lines: list[str]
    state: str
    step: str
    connection: str
    progress: str | None
    notice: str
    newer: str
    spoken: str


async def shown_in(page: Page) -> Shown | None:
    """The viewer as it stands; None where the page has none."""
    found = await page.evaluate(_STATE)
    return None if found is None else Shown(**found)


async def until(page: Page, wanted: Callable[[Shown], bool]) -> Shown:
    """The viewer once it shows what is wanted."""
    last: Shown | None = None
    try:
        async with asyncio.timeout(60):
            while True:
                last = await shown_in(page)
                if last is not None and wanted(last):
                    return last
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"the viewer shows only {last}") from None


class Cable:
    """A connection to a port of this machine that can be pulled and put back in.

    Args:
        port: where it leads.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: set[asyncio.StreamWriter] = set()
        self._pulled = False
        self.taken = 0
        self.url = ""

    @asynccontextmanager
    async def plugged(self) -> AsyncIterator["Cable"]:
        """Forward while the block runs."""
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            try:
                yield self
            finally:
                self.pull()

    def pull(self) -> None:
        """Cut all connections and refuse new ones."""
        self._pulled = True
        for writer in self._open:
            writer.transport.abort()

    def plug(self) -> None:
        """Forward new connections again."""
        self._pulled = False

    async def _take(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self._pulled:
            writer.transport.abort()
            return
        self.taken += 1
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._open |= {writer, back}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_forward(reader, back))
                group.create_task(_forward(there, writer))
        finally:
            self._open -= {writer, back}
            writer.transport.abort()
            back.transport.abort()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(64 * 1024):
            writer.write(data)
            await writer.drain()
    writer.close()
