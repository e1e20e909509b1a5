import contextlib
import gzip
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.terraform.archive import (
    ArchiveError,
    ArchiveLimits,
    ArchiveSummary,
    check_archive,
    extract_archive,
)
from tests.terraform.tar_maker import (
    DIRECTORY,
    HARDLINK,
    SYMLINK,
    TarMaker,
    honest,
    pax,
)

LIMITS = ArchiveLimits()
SMALL = ArchiveLimits(max_entries=10, max_bytes=9 * 1024 * 1024, max_ratio=100)


def t() -> TarMaker:
    return TarMaker()


ATTACKS: dict[str, tuple[TarMaker, str]] = {
    "absolute name": (t().add("/etc/passwd"), "absolute"),
    "double slash": (t().add("//etc/passwd"), "absolute"),
    "climbing name": (t().add("../evil"), r"`\.\.`"),
    "climbing inside": (t().add("a/b/../../../evil"), r"`\.\."),
    "climbing directory": (t().add("..", kind=DIRECTORY), r"`\.\."),
    "empty name": (t().add(""), "empty"),
    "a file called dot": (t().add("./"), "no name for a file"),
    "nul in a long name": (
        t().add_raw(tarfile.GNUTYPE_LONGNAME, b"ok\x00/../evil\x00").add("x"),
        "control character",
    ),
    "nul in a pax name": (
        t().add_raw(tarfile.XHDTYPE, pax(b"path", b"ok\x00evil")).add("x"),
        "control character",
    ),
    "newline in a name": (t().add("a\nb"), "control character"),
    "escape in a name": (t().add("a\x1b[2J"), "control character"),
    "backslash in a name": (t().add("a\\..\\b"), "backslash"),
    "not utf-8": (t().add_header(b"\xff\xfe"), "UTF-8"),
    "pax not utf-8": (
        t().add_raw(tarfile.XHDTYPE, pax(b"path", b"\xff\xfe")).add("x"),
        "UTF-8",
    ),
    "component too long": (t().add("a" * 256), "too long"),
    "path too long": (t().add("/".join(["a" * 99] * 41)), "too long"),
    "path too deep": (t().add("a/" * 101 + "b"), "too deep"),
    "link to absolute": (t().add("l", kind=SYMLINK, target="/etc"), "absolute"),
    "link out": (t().add("l", kind=SYMLINK, target="../x"), "outside"),
    "link out of a subdirectory": (
        t().add("a/l", kind=SYMLINK, target="../../x"),
        "outside",
    ),
    "link to the parent": (t().add("l", kind=SYMLINK, target=".."), "outside"),
    "link without target": (t().add("l", kind=SYMLINK), "empty"),
    "link with nul": (
        t().add_raw(tarfile.GNUTYPE_LONGLINK, b"a\x00b").add("l", kind=SYMLINK),
        "control character",
    ),
    "link that is lexically inside": (
        t()
        .add("p/q/r", kind=SYMLINK, target="../..")
        .add("s", kind=SYMLINK, target="p/q/r/../x"),
        "behind a name",
    ),
    "file through a link": (
        t().add("l", kind=SYMLINK, target="d").add("l/evil", b"x"),
        "lies under 'l'",
    ),
    "file under a file": (t().add("f").add("f/evil"), "lies under 'f'"),
    "file over a link": (
        t().add("d/a").add("l", kind=SYMLINK, target="d/a").add("l", b"x"),
        "twice",
    ),
    "link over a file": (t().add("a").add("a", kind=SYMLINK, target="b"), "twice"),
    "link over a directory": (
        t().add("d", kind=DIRECTORY).add("d", kind=SYMLINK, target="e"),
        "twice",
    ),
    "link over an implied directory": (
        t().add("d/a").add("d", kind=SYMLINK, target="e"),
        "twice",
    ),
    "directory over a link": (
        t().add("d", kind=SYMLINK, target="e").add("d", kind=DIRECTORY),
        "twice",
    ),
    "file twice": (t().add("a", b"1").add("./a", b"2"), "twice"),
    "hard link out": (t().add("l", kind=HARDLINK, target="../../etc/passwd"), r"`\.\."),
    "hard link to absolute": (
        t().add("l", kind=HARDLINK, target="/etc/passwd"),
        "absolute",
    ),
    "hard link to nothing": (t().add("l", kind=HARDLINK, target="x"), "no file"),
    "hard link to a link": (
        t().add("s", kind=SYMLINK, target="x").add("l", kind=HARDLINK, target="s"),
        "no file",
    ),
    "hard link through a link": (
        t().add("d", kind=SYMLINK, target="e").add("l", kind=HARDLINK, target="d/x"),
        "no file",
    ),
    "character device": (t().add("dev", kind=tarfile.CHRTYPE), "device"),
    "block device": (t().add("dev", kind=tarfile.BLKTYPE), "device"),
    "named pipe": (t().add("pipe", kind=tarfile.FIFOTYPE), "named pipe"),
    "sparse file": (t().add_header(b"s", tarfile.GNUTYPE_SPARSE), "sparse"),
    "pax sparse file": (
        t().add_raw(tarfile.XHDTYPE, pax(b"GNU.sparse.major", b"1")).add("x"),
        "sparse",
    ),
    "contiguous file": (t().add("c", kind=tarfile.CONTTYPE), "unknown kind"),
    "socket or so": (t().add("c", kind=b"Z"), "unknown kind"),
    "set-user-id": (t().add("su", mode=0o4755), "set-user-id"),
    "set-group-id": (t().add("sg", mode=0o2755), "set-user-id"),
    "link with bytes": (
        t().add("l", b"x" * 512, kind=SYMLINK, target="a"),
        "of 512 bytes",
    ),
    "directory with bytes": (t().add("d", b"x" * 512, kind=DIRECTORY), "of 512 bytes"),
    "negative size": (t().add("a", size=-512), "of -512 bytes"),
    "global name": (
        t().add_raw(tarfile.XGLTYPE, pax(b"path", b"../evil")).add("x"),
        "global header",
    ),
    "pax name climbs": (
        t().add_raw(tarfile.XHDTYPE, pax(b"path", b"../evil")).add("x"),
        r"`\.\.`",
    ),
    "pax link climbs": (
        t()
        .add_raw(tarfile.XHDTYPE, pax(b"linkpath", b"../evil"))
        .add("x", kind=SYMLINK, target="ok"),
        "outside",
    ),
    "pax length lies": (
        t().add_raw(tarfile.XHDTYPE, b"99 path=x\n").add("x"),
        "cannot be read",
    ),
    "pax length zero": (
        t().add_raw(tarfile.XHDTYPE, b"0 path=x\n").add("x"),
        "cannot be read",
    ),
    "pax length negative": (
        t().add_raw(tarfile.XHDTYPE, b"-9 path=x\n").add("x"),
        "cannot be read",
    ),
    "pax size is a word": (
        t().add_raw(tarfile.XHDTYPE, pax(b"size", b"abc")).add("x"),
        "cannot be read",
    ),
    "pax header at the end": (
        t().add("x").add_raw(tarfile.XHDTYPE, pax(b"path", b"x")),
        "middle of an entry",
    ),
    "huge extension header": (
        t().add_raw(tarfile.XHDTYPE, bytes(2 * 1024 * 1024)).add("x"),
        "header of 2097152",
    ),
    "no tar at all": (t().add_blocks(b"A" * 512), "no intact tar"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    maker, reason = ATTACKS[name]
    path = maker.save(tmp_path)
    with pytest.raises(ArchiveError, match=reason) as refused:
        check_archive(path, LIMITS)
    assert refused.value.status == 422
    assert refused.value.detail.isprintable()
    with pytest.raises(ArchiveError, match=reason):
        extract_archive(path, tmp_path / "deep" / "dest", LIMITS)
    outside = {"archive.tar.gz", "deep"}
    assert {item.name for item in tmp_path.iterdir()} == outside
    assert [item.name for item in (tmp_path / "deep").iterdir()] == ["dest"]


@pytest.mark.parametrize(
    "form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"]
)
def test_an_honest_archive_is_unpacked(form: int, tmp_path: Path) -> None:
    path = honest(tmp_path, form)
    summary = check_archive(path, LIMITS)
    assert (summary.files, summary.file_bytes) == (5, 5043)
    dest = tmp_path / "dest"
    old = os.umask(0)
    try:
        extract_archive(path, dest, LIMITS)
    finally:
        os.umask(old)
    assert (dest / "main.tf").read_bytes() == b'resource "terraform_data" "a" {}\n'
    assert (dest / "scripts/main.tf").readlink() == Path("../main.tf")
    assert (dest / "twin.tf").read_bytes() == (dest / "main.tf").read_bytes()
    assert (dest / "ünï/naïve.tf").read_bytes() == b""
    assert (dest / f"deep/{'d' * 120}/{'f' * 150}.tf").stat().st_size == 5000
    modes = {
        str(item.relative_to(dest))[:12]: stat.S_IMODE(item.lstat().st_mode)
        for item in dest.rglob("*")
        if not item.is_symlink()
    }
    assert modes["main.tf"] == 0o600
    assert modes["scripts/run."] == 0o700
    assert modes["void"] == 0o700
    assert set(modes.values()) == {0o600, 0o700}


def test_what_gnu_tar_makes_is_taken(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "modules" / "net").mkdir(parents=True)
    (source / "main.tf").write_text("# main\n")
    (source / "modules" / "net" / ("long" * 40 + ".tf")).write_text("# net\n")
    (source / "link.tf").symlink_to("modules/net")
    os.link(source / "main.tf", source / "twin.tf")
    path = tmp_path / "gnu.tar.gz"
    subprocess.run(["tar", "czf", path, "-C", source, "."], check=True)
    dest = tmp_path / "dest"
    extract_archive(path, dest, LIMITS)
    subprocess.run(["diff", "-r", source, dest], check=True)


def test_a_comment_of_git_archive_is_fine(tmp_path: Path) -> None:
    comment = pax(b"comment", b"0123456789" * 4)
    path = TarMaker().add_raw(tarfile.XGLTYPE, comment).add("a", b"1").save(tmp_path)
    assert check_archive(path, LIMITS) == ArchiveSummary(1, 1, 1)


def test_links_that_stay_inside_are_taken(tmp_path: Path) -> None:
    maker = (
        TarMaker()
        .add("a/b/c/up", kind=SYMLINK, target="../../../f")
        .add("a/self", kind=SYMLINK, target=".")
        .add("a/root", kind=SYMLINK, target="..")
        .add("dangling", kind=SYMLINK, target="later/or/never")
        .add("f", b"1")
    )
    extract_archive(maker.save(tmp_path), tmp_path / "dest", LIMITS)
    assert (tmp_path / "dest" / "a/b/c/up").read_bytes() == b"1"


def test_a_directory_may_be_named_again(tmp_path: Path) -> None:
    maker = (
        TarMaker()
        .add("d/a", b"1")
        .add("d", kind=DIRECTORY)
        .add("d/", kind=DIRECTORY)
        .add("./", kind=DIRECTORY)
    )
    extract_archive(maker.save(tmp_path), tmp_path / "dest", LIMITS)
    assert (tmp_path / "dest" / "d" / "a").read_bytes() == b"1"


def test_an_archive_without_a_file_is_refused(tmp_path: Path) -> None:
    for maker in (TarMaker(), TarMaker().add("d", kind=DIRECTORY)):
        with pytest.raises(ArchiveError, match="no file"):
            check_archive(maker.save(tmp_path), LIMITS)


def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    maker = TarMaker()
    for number in range(11):
        maker.add(f"f{number}")
    with pytest.raises(ArchiveError, match="more than 10 entries"):
        check_archive(maker.save(tmp_path), SMALL)


def test_implied_directories_count_as_entries(tmp_path: Path) -> None:
    path = TarMaker().add("a/b/c/d/e/f/g/h/i/j/k").save(tmp_path)
    with pytest.raises(ArchiveError, match="more than 10 entries"):
        check_archive(path, SMALL)


def test_too_many_bytes_are_refused_before_they_are_written(tmp_path: Path) -> None:
    path = TarMaker().add("big", os.urandom(10 * 1024 * 1024)).save(tmp_path)
    with pytest.raises(ArchiveError, match="more than 9437184 bytes"):
        extract_archive(path, tmp_path / "dest", SMALL)
    assert (tmp_path / "dest" / "big").stat().st_size <= SMALL.max_bytes


def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path) -> None:
    path = TarMaker().add("zeros", bytes(100 * 1024 * 1024)).save(tmp_path)
    assert path.stat().st_size < 200_000
    with pytest.raises(ArchiveError, match="200 times its size"):
        check_archive(path, LIMITS)


def test_a_bomb_behind_the_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(gzip.compress(TarMaker().add("a").tar() + bytes(2**26), mtime=0))
    with pytest.raises(ArchiveError, match="200 times its size"):
        check_archive(path, LIMITS)


def test_a_claimed_size_without_its_bytes_is_refused(tmp_path: Path) -> None:
    path = TarMaker().add("a", size=2**40).save(tmp_path)
    with pytest.raises(ArchiveError, match="middle of an entry"):
        check_archive(path, LIMITS)


def test_zeros_at_the_end_are_padding(tmp_path: Path) -> None:
    path = tmp_path / "padded.tar.gz"
    padded = TarMaker().add("a", b"1").tar() + bytes(10240)
    path.write_bytes(gzip.compress(padded) + bytes(512))
    assert check_archive(path, LIMITS).files == 1


def test_members_of_gzip_are_joined(tmp_path: Path) -> None:
    whole = TarMaker().add("a", b"1" * 3000).add("b", b"2").tar()
    path = tmp_path / "members.tar.gz"
    path.write_bytes(gzip.compress(whole[:700]) + gzip.compress(whole[700:]))
    assert check_archive(path, LIMITS) == ArchiveSummary(2, 2, 3001)


def test_archives_joined_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "joined.tar.gz"
    path.write_bytes(TarMaker().add("a").gz() + TarMaker().add("b").gz())
    with pytest.raises(ArchiveError, match="behind its end"):
        check_archive(path, LIMITS)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data: b"", "middle of its gzip"),
        (lambda data: b"hello, I am no archive", "no intact gzip"),
        (gzip.decompress, "no intact gzip"),
        (lambda data: data[:-9], "middle of its gzip"),
        (lambda data: data[:-4], "middle of its gzip"),
        (lambda data: data[:-8] + bytes(8), "no intact gzip"),
        (lambda data: data + b"garbage", "no intact gzip"),
        (lambda data: gzip.compress(b"x" * 100), "middle of an entry"),
        (lambda data: gzip.compress(b"x" * 1024), "no intact tar"),
    ],
    ids=[
        "empty",
        "text",
        "plain tar",
        "no trailer",
        "half a trailer",
        "bad checksum",
        "garbage behind",
        "short text",
        "long text",
    ],
)
def test_a_broken_file_is_refused(
    spoil: Callable[[bytes], bytes], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "broken.tar.gz"
    path.write_bytes(spoil(TarMaker().add("a", b"1" * 2000).gz()))
    with pytest.raises(ArchiveError, match=reason):
        check_archive(path, LIMITS)


def test_only_an_empty_directory_is_unpacked_into(tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    (dest / "a").symlink_to("/etc/passwd")
    with pytest.raises(ArchiveError, match="not empty"):
        extract_archive(TarMaker().add("a").save(tmp_path), dest, LIMITS)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"0", b"5", b"2", b"1"]),
            st.lists(st.sampled_from(["a", "b", "..", "."]), min_size=1, max_size=4),
            st.lists(st.sampled_from(["a", "b", "..", "."]), min_size=1, max_size=4),
        ),
        max_size=12,
    )
)
def test_whatever_is_taken_stays_inside(
    tmp_path_factory: pytest.TempPathFactory,
    entries: list[tuple[bytes, list[str], list[str]]],
) -> None:
    base = tmp_path_factory.mktemp("links")
    maker = TarMaker()
    for number, (kind, name, target) in enumerate(entries):
        data = b"%d" % number if kind == b"0" else b""
        maker.add("/".join(name), data, kind, "/".join(target) if kind in b"12" else "")
    dest = base / "in" / "dest"
    with contextlib.suppress(ArchiveError):
        extract_archive(maker.save(base), dest, LIMITS)
    assert sorted(item.name for item in base.iterdir()) in (
        ["archive.tar.gz"],
        ["archive.tar.gz", "in"],
    )
    assert [item.name for item in (base / "in").iterdir()] == ["dest"]
    for item in dest.rglob("*"):
        assert os.path.realpath(item).startswith(str(dest.resolve()))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_check_and_the_extraction_agree_on_damaged_bytes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(
        TarMaker()
        .add("d/a", b"1" * 600)
        .add("l", kind=SYMLINK, target="d/a")
        .add_raw(tarfile.XHDTYPE, pax(b"path", b"x"))
        .add("y", b"2")
        .tar()
    )
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    base = tmp_path_factory.mktemp("damaged")
    path = base / "a.tar.gz"
    path.write_bytes(gzip.compress(bytes(whole), 1))
    assert _verdict(lambda: check_archive(path, LIMITS)) in {
        _verdict(lambda: extract_archive(path, base / "dest", LIMITS)),
        "The archive holds no file.",
    }


def _verdict(action: Callable[[], object]) -> str:
    try:
        action()
    except ArchiveError as error:
        return error.detail
    return "taken"
