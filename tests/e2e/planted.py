"""Planted secrets: how each may be written, and everything that is searched for them."""

import base64
import json
import re
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

from typing_extensions import override

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"
_MOST = 64 * 1024 * 1024


def forms_of(secret: str) -> set[bytes]:
    """Every way in which a program may have written a secret."""
    forms = set()
    # each line of a secret of several lines is one
    for text in {secret, *(line for line in secret.splitlines() if len(line) > 12)}:
        raw = text.encode()
        once = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
        once |= {_go(form) for form in once}
        twice = {json.dumps(form)[1:-1] for form in once}
        forms |= {form.encode() for form in once | twice}
        forms |= {raw, raw.hex().encode(), raw.hex().upper().encode()}
        forms |= {quote(raw, safe=safe).encode() for safe in ("", "/", "!'()*")}
        forms.add(quote_plus(raw).encode())
        for before in range(3):
            skipped = -(-before * 8 // 6)
            whole = (before + len(raw)) * 8 // 6
            encoded = base64.b64encode(bytes(before) + raw)[skipped:whole]
            forms |= {encoded, encoded.translate(bytes.maketrans(b"+/", b"-_"))}
    return forms


def _go(text: str) -> str:
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def opened(data: bytes) -> Iterator[bytes]:
    """Some bytes, and what is packed in them: members of gzip, frames of zstd."""
    yield data
    for found in re.finditer(re.escape(_GZIP), data):
        try:
            plain = zlib.decompressobj(31).decompress(data[found.start() :], _MOST)
        except zlib.error:
            continue
        if plain:
            yield plain
    for found in re.finditer(re.escape(_ZSTD), data):
        try:
            plain = zstd.ZstdDecompressor().decompress(data[found.start() :], _MOST)
        except zstd.ZstdError:
            continue
        if plain:
            yield plain


class Hunt:
    """Secrets by name, and where they were found."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.found: list[str] = []
        self.looked_at = 0

    def plant(self, name: str, secret: str) -> str:
        """Look for this one, too."""
        assert len(secret) >= 12, name
        self.secrets[name] = secret
        return secret

    def look(self, where: str, data: bytes, *, allowed: Iterable[str] = ()) -> None:
        """Note every secret in some bytes; those ``allowed`` may be there."""
        self.looked_at += 1
        names = self.secrets.keys() - set(allowed)
        for piece in opened(data):
            for name in names:
                for form in forms_of(self.secrets[name]):
                    if form in piece:
                        at = piece.index(form)
                        around = piece[max(0, at - 60) : at + len(form) + 20]
                        self.found.append(f"{name} in {where}: {around!r}")
                        break

    def look_through(self, top: Path, *, without: Iterable[str] = ()) -> None:
        """Every file under a directory."""
        names = set(without)
        for path in sorted(top.rglob("*")):
            if path.is_file() and path.name not in names:
                self.look(str(path), path.read_bytes())


class Watch(threading.Thread):
    """Takes down, again and again, command lines of all processes and some files."""

    def __init__(self, top: Path, patterns: Iterable[str]) -> None:
        super().__init__(daemon=True)
        self._top = top
        self._patterns = list(patterns)
        self._over = threading.Event()
        self.commands: set[bytes] = set()
        self.files: dict[tuple[str, bytes], None] = {}

    @override
    def run(self) -> None:
        while not self._over.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                self._take(path, self.commands)
            for pattern in self._patterns:
                for path in self._top.glob(pattern):
                    seen: set[bytes] = set()
                    self._take(path, seen)
                    for data in seen:
                        self.files[path.name, data] = None

    def _take(self, path: Path, into: set[bytes]) -> None:
        try:
            if path.is_file():
                into.add(path.read_bytes())
        except OSError:
            return

    def stop(self) -> None:
        """Take down no more."""
        self._over.set()
        self.join(30)
