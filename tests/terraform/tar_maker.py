"""Makes tar.gz files entry by entry, also ones that no honest program would make."""

import gzip
import io
import tarfile
from pathlib import Path

FILE = tarfile.REGTYPE
DIRECTORY = tarfile.DIRTYPE
SYMLINK = tarfile.SYMTYPE
HARDLINK = tarfile.LNKTYPE


class TarMaker:
    """Collects entries as raw blocks; nothing is checked."""

    def __init__(self) -> None:
        self.blocks = b""

    def add(
        self,
        name: str,
        data: bytes = b"",
        kind: bytes = FILE,
        target: str = "",
        mode: int = 0o644,
        size: int | None = None,
    ) -> "TarMaker":
        info = tarfile.TarInfo(name)
        info.type = kind
        info.linkname = target
        info.mode = mode
        info.size = len(data) if size is None else size
        if info.size < 0:
            self.blocks += info.tobuf(tarfile.GNU_FORMAT)
        else:
            self.blocks += info.tobuf(tarfile.PAX_FORMAT)
        self.blocks += data
        self.blocks += bytes(-len(data) % 512)
        return self

    def add_raw(self, kind: bytes, data: bytes, name: str = "meta") -> "TarMaker":
        """An extension header as it stands."""
        info = tarfile.TarInfo(name)
        info.type = kind
        info.size = len(data)
        self.blocks += info.tobuf(tarfile.USTAR_FORMAT) + data
        self.blocks += bytes(-len(data) % 512)
        return self

    def add_header(self, name: bytes, kind: bytes = FILE) -> "TarMaker":
        """An entry whose name is these very bytes."""
        block = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT))
        block[0:100] = name.ljust(100, b"\x00")
        block[156:157] = kind
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\x00 " % sum(block)
        self.blocks += bytes(block)
        return self

    def add_blocks(self, blocks: bytes) -> "TarMaker":
        """Anything at all."""
        self.blocks += blocks
        return self

    def tar(self) -> bytes:
        return self.blocks + bytes(1024)

    def gz(self) -> bytes:
        return gzip.compress(self.tar(), mtime=0)

    def save(self, directory: Path) -> Path:
        path = directory / "archive.tar.gz"
        path.write_bytes(self.gz())
        return path


def pax(key: bytes, value: bytes) -> bytes:
    """One record of a pax header, with its right length."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


def honest(directory: Path, form: int = tarfile.PAX_FORMAT) -> Path:
    """What a usual `tar czf` of a module with long names, a link and a script makes."""
    path = directory / "honest.tar.gz"
    with tarfile.open(path, "w:gz", format=form) as tar:
        for name, data, mode in (
            ("main.tf", b'resource "terraform_data" "a" {}\n', 0o644),
            ("scripts/run.sh", b"#!/bin/sh\n", 0o755),
            ("empty", b"", 0o600),
            (f"deep/{'d' * 120}/{'f' * 150}.tf", b"x" * 5000, 0o644),
            ("ünï/naïve.tf", b"", 0o644),
        ):
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            info.mode = mode
            tar.addfile(info, io.BytesIO(data))
        folder = tarfile.TarInfo("./void")
        folder.type = tarfile.DIRTYPE
        folder.mode = 0o2775
        tar.addfile(folder)
        link = tarfile.TarInfo("./scripts/main.tf")
        link.type = tarfile.SYMTYPE
        link.linkname = "../main.tf"
        tar.addfile(link)
        twin = tarfile.TarInfo("./twin.tf")
        twin.type = tarfile.LNKTYPE
        twin.linkname = "./main.tf"
        tar.addfile(twin)
    return path
