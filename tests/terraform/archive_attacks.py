"""Archives that no honest program makes, as bytes, each with the reason for which it is refused."""

import gzip
import struct
import tarfile
import zlib

from tests.terraform.tar_maker import DIRECTORY, HARDLINK, SYMLINK, TarMaker, pax

Attack = tuple[bytes, str]


def _t() -> TarMaker:
    return TarMaker()


def _xhd(key: bytes, value: bytes) -> TarMaker:
    return _t().add_raw(tarfile.XHDTYPE, pax(key, value))


def _field(at: int, value: bytes, kind: bytes = b"0") -> bytes:
    """An archive of one entry with a header whose field at ``at`` is ``value``."""
    block = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT))
    block[156:157] = kind
    block[at : at + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\x00 " % sum(block)
    return gzip.compress(bytes(block) + bytes(1024), mtime=0)


def _names() -> dict[str, Attack]:
    """Where an entry would land."""
    climbing = {
        "climbs": "../evil",
        "climbs far": "../" * 40 + "etc/cron.d/evil",
        "climbs from within": "a/../../evil",
        "climbs at the end": "a/b/../..",
        "climbs behind dots": "./././../evil",
        "climbs behind slashes": "a////..////..////evil",
    }
    absolute = {
        "absolute": "/etc/cron.d/evil",
        "absolute behind slashes": "///etc/passwd",
        "absolute to a device": "/dev/sda",
        "absolute to a process": "/proc/self/mem",
    }
    windows = {
        "windows drive": "C:\\Windows\\evil.dll",
        "windows climb": "..\\..\\evil",
        "windows mixed climb": "a/..\\../evil",
        "windows share": "\\\\evil.invalid\\share\\x",
        "windows device": "\\\\.\\PhysicalDrive0",
    }
    controls = {
        "newline": "a\nb",
        "carriage return": "a\rb",
        "escape": "\x1b]0;title\x07",
        "delete": "a\x7fb",
        "bell": "\x07",
    }
    long = {
        "component too long": "n" * 300,
        "unicode too long": "ü" * 200,
        "path too long": "/".join(["n" * 200] * 30),
        "too deep": "d/" * 150 + "x",
        "very deep": "d/" * 2000 + "x",
    }
    found: dict[str, Attack] = {}
    for names, reason in (
        (climbing, r"`\.\.`"),
        (absolute, "absolute"),
        (windows, "backslash"),
        (controls, "control character"),
        (long, "too deep or too long"),
    ):
        for title, name in names.items():
            found[title] = (_t().add(name, b"x").gz(), reason)
            found[f"{title}, by pax"] = (
                _xhd(b"path", name.encode()).add("ok", b"x").gz(),
                reason,
            )
            found[f"{title}, as a directory"] = (
                _t().add(name, kind=DIRECTORY).add("x").gz(),
                reason,
            )
    return found


def _links() -> dict[str, Attack]:
    """Links out, through, and over each other."""
    found: dict[str, Attack] = {}
    for title, target, reason in (
        ("to the root", "/", "absolute"),
        ("to a file", "/etc/passwd", "absolute"),
        ("to its process", "/proc/self/environ", "absolute"),
        ("out", "../x", "outside"),
        ("far out", "../" * 30 + "etc/passwd", "outside"),
        ("out behind dots", "./.././../x", "outside"),
        ("out behind a name", "a/../../x", "behind a name"),
        ("windows", "..\\x", "backslash"),
        ("nothing", "", "empty"),
        ("controls", "a\x1b[2J", "control character"),
    ):
        maker = _t().add("f", b"1").add("l", kind=SYMLINK, target=target)
        found[f"symbolic link: {title}"] = (maker.gz(), reason)
    for title, target, reason in (
        ("to a file outside", "/etc/passwd", "absolute"),
        ("out", "../f", r"`\.\."),
        ("to itself", "l", "no file"),
        ("to nothing", "later", "no file"),
    ):
        maker = _t().add("f", b"1").add("l", kind=HARDLINK, target=target)
        found[f"hard link: {title}"] = (maker.add("later").gz(), reason)
    chain = _t().add("a", kind=SYMLINK, target=".").add("a/b", kind=SYMLINK, target=".")
    found["chain of links"] = (chain.add("a/b/evil", b"x").gz(), "lies under")
    over = _t().add("l", kind=SYMLINK, target="l").add("l", b"x")
    found["a file over a link to itself"] = (over.gz(), "twice")
    through = _t().add("l", kind=SYMLINK, target="l").add("l/x", b"x")
    found["a file through a link to itself"] = (through.gz(), "lies under")
    swapped = _t().add("d/f").add("d", kind=SYMLINK, target="e")
    found["a directory that becomes a link"] = (swapped.gz(), "twice")
    climbs = _xhd(b"linkpath", b"../../evil").add("l", kind=SYMLINK, target="ok")
    found["a link by pax"] = (climbs.gz(), "outside")
    hidden = _xhd(b"linkpath", b"/etc/passwd").add("l", kind=HARDLINK, target="f")
    found["a hard link by pax"] = (hidden.gz(), "absolute")
    return found


def _kinds() -> dict[str, Attack]:
    """What is no file, directory or link, and what would be more than one."""
    found: dict[str, Attack] = {}
    for title, kind, reason in (
        ("character device", tarfile.CHRTYPE, "device"),
        ("block device", tarfile.BLKTYPE, "device"),
        ("named pipe", tarfile.FIFOTYPE, "named pipe"),
        ("contiguous file", tarfile.CONTTYPE, "unknown kind"),
        ("sparse file", tarfile.GNUTYPE_SPARSE, "sparse"),
        ("dump of a directory", b"D", "unknown kind"),
        ("continued volume", b"M", "unknown kind"),
        ("volume label", b"V", "unknown kind"),
        ("solaris header", b"X", "unknown kind"),
        ("kind of no letter", b"\xff", "unknown kind"),
    ):
        found[title] = (_t().add("e", kind=kind).gz(), reason)
    for mode in (0o4755, 0o2755, 0o1755, 0o7777):
        found[f"mode {mode:o}"] = (_t().add("e", b"x", mode=mode).gz(), "set-user-id")
    twice = _t().add("a", b"1").add("a", b"2")
    found["a file twice"] = (twice.gz(), "twice")
    found["a file twice, otherwise written"] = (
        _t().add("d/a", b"1").add("./d//./a", b"2").gz(),
        "twice",
    )
    found["a file as a directory"] = (_t().add("a").add("a/b").gz(), "lies under")
    found["a directory as a file"] = (_t().add("a/b").add("a", b"x").gz(), "twice")
    found["a directory with bytes"] = (
        _t().add("d", b"x" * 512, kind=DIRECTORY).gz(),
        "of 512 bytes",
    )
    return found


def _sizes() -> dict[str, Attack]:
    """Sizes and headers that lie."""
    found: dict[str, Attack] = {
        "negative size": (_t().add("a", size=-1).gz(), "of -1 bytes"),
        "size beyond the end": (_t().add("a", size=2**33 - 1).gz(), "middle of"),
        "size in base 256": (_field(124, b"\x80" + b"\xff" * 11), "middle of"),
        "negative size in base 256": (_field(124, b"\xff" * 12), "of -1 bytes"),
        "size that is no number": (_field(124, b"zzzzzzzzzzz\x00"), "no intact tar"),
        "mode that is no number": (_field(100, b"zzzzzzz\x00"), "no intact tar"),
        "huge size by pax": (_xhd(b"size", b"9" * 18).add("a", b"x").gz(), "middle of"),
        "endless size by pax": (
            _xhd(b"size", b"9" * 4000).add("a", b"x").gz(),
            "cannot be read",
        ),
        "negative size by pax": (
            _xhd(b"size", b"-1").add("a", b"x").gz(),
            "cannot be read",
        ),
        "size by pax with a sign": (
            _xhd(b"size", b"+1").add("a", b"x").gz(),
            "cannot be read",
        ),
        "sparse by pax": (
            _xhd(b"GNU.sparse.realsize", b"1099511627776").add("a", b"x").gz(),
            "sparse",
        ),
        "sparse map by pax": (
            _xhd(b"GNU.sparse.map", b"0,1,1099511627776,1").add("a", b"x").gz(),
            "sparse",
        ),
        "global path": (
            _t().add_raw(tarfile.XGLTYPE, pax(b"path", b"x")).add("a").gz(),
            "global header",
        ),
        "global size": (
            _t().add_raw(tarfile.XGLTYPE, pax(b"size", b"9")).add("a").gz(),
            "global header",
        ),
        "header of a mebibyte and more": (
            _t().add_raw(tarfile.XHDTYPE, bytes(2**20 + 1)).add("a").gz(),
            "has a header of",
        ),
        "header of endless length": (
            _field(124, b"77777777777\x00", b"x"),
            "header of",
        ),
        "headers and no entry": (
            _t().add("a").add_raw(tarfile.GNUTYPE_LONGNAME, b"b\x00").gz(),
            "middle of an entry",
        ),
        "checksum that lies": (
            gzip.compress(b"a" * 148 + b"0000000\x00" + bytes(356)),
            "no intact tar",
        ),
    }
    return found


def _wrappings() -> dict[str, Attack]:
    """What is no gzip of a tar."""
    good = _t().add("main.tf", b"# x\n" * 500)
    raw = zlib.compressobj(wbits=-15)
    headed = b"\x1f\x8b\x08\x00" + bytes(6)
    return {
        "nothing": (b"", "middle of its gzip"),
        "text": (b"hello", "no intact gzip"),
        "a zip": (b"PK\x03\x04" + bytes(200), "no intact gzip"),
        "a plain tar": (good.tar(), "no intact gzip"),
        "zlib": (zlib.compress(good.tar()), "no intact gzip"),
        "raw deflate": (raw.compress(good.tar()) + raw.flush(), "no intact gzip"),
        "bzip2 by magic": (b"BZh91AY&SY" + bytes(100), "no intact gzip"),
        "a header alone": (headed, "middle of its gzip"),
        "gzip of gzip": (gzip.compress(good.gz()), "no intact tar|middle of an entry"),
        "half of it": (good.gz()[: len(good.gz()) // 2], "middle of its gzip"),
        "without its checksum": (good.gz()[:-8], "middle of its gzip"),
        "with a wrong checksum": (
            good.gz()[:-8] + struct.pack("<II", 0, len(good.tar())),
            "no intact gzip",
        ),
        "with a wrong length": (
            good.gz()[:-4] + struct.pack("<I", 2**32 - 1),
            "no intact gzip",
        ),
        "with garbage behind": (good.gz() + b"garbage", "no intact gzip"),
        "with another behind": (good.gz() + good.gz(), "behind its end"),
        "with half another behind": (good.gz() + good.gz()[:20], "middle of its gzip"),
        "bomb": (_t().add("a", bytes(50 * 2**20)).gz(), "200 times its size"),
        "bomb behind the end": (
            gzip.compress(good.tar() + bytes(50 * 2**20)),
            "200 times its size",
        ),
        "bomb in headers": (
            gzip.compress(
                _t().add_raw(tarfile.XHDTYPE, pax(b"comment", bytes(2**19))).blocks * 80
                + good.tar()
            ),
            "200 times its size",
        ),
        "no file": (_t().add("d", kind=DIRECTORY).gz(), "no file"),
        "no entry": (_t().gz(), "no file"),
    }


ATTACKS: dict[str, Attack] = {
    **_names(),
    **_links(),
    **_kinds(),
    **_sizes(),
    **_wrappings(),
}
EMPTY = frozenset({"no file", "no entry"})
"""What does no harm, and is only refused where it is uploaded."""
