"""A mirror of releases on a loopback port, signed with a key made for the test."""

import hashlib
import http.server
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pysequoia import SignatureMode, Tsk, sign
from typing_extensions import override

from sluice.terraform.products import Product

PROGRAM = '#!/bin/sh\necho \'{"terraform_version": "VERSION"}\'\n'


def new_key() -> Tsk:
    """A key pair as a maker of programs holds it."""
    return Tsk.generate("Maker <maker@example.com>")


def detached(key: Tsk, data: bytes) -> bytes:
    """A binary detached signature."""
    return sign(key.signer(), data, mode=SignatureMode.DETACHED, armor=False)


@dataclass
class Mirror:
    """Files by URL path, the requests that came, and the key that signs."""

    url: str
    key: Tsk
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)

    @property
    def public_key(self) -> bytes:
        return str(self.key.extract_certificate()).encode()

    def product(self, key: bytes | None = None) -> Product:
        return Product(
            title="Terraform",
            program="terraform-under-test",
            index_url=f"{self.url}/terraform/index.json",
            release_url=self.url + "/terraform/{version}",
            signature_suffix=".sig",
            key=key or self.public_key,
        )

    def release(self, version: str) -> None:
        """Publish a release: archive, checksums, signature, and its place in the index."""
        product = self.product()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(product.program, PROGRAM.replace("VERSION", version))
            archive.writestr("LICENSE.txt", "words")
        name = product.archive(version)
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        sums = f"{'0' * 64}  other.zip\n{digest}  {name}\n".encode()
        folder = f"/terraform/{version}/"
        self.files[folder + name] = buffer.getvalue()
        self.files[folder + product.checksums(version)] = sums
        self.files[folder + product.checksums(version) + ".sig"] = detached(
            self.key, sums
        )
        index = json.loads(self.files.get("/terraform/index.json", b'{"versions": {}}'))
        index["versions"][version] = {}
        self.files["/terraform/index.json"] = json.dumps(index).encode()


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    """An empty mirror, serving for as long as the test runs."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            made.requests.append(self.path)
            body = made.files.get(self.path)
            status = 200 if body is not None else 404
            if made.failures.get(self.path, 0) > 0:
                made.failures[self.path] -= 1
                status, body = 503, b"later"
            self.send_response(status)
            self.send_header("content-length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        @override
        def log_message(self, *args):
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Mirror(f"http://127.0.0.1:{server.server_port}", new_key())
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def bin_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that alone is the PATH (with /bin for the shell)."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder
