"""The agent's extraction and the server's check refuse every archive of the attack set."""

import gzip
import os
import tarfile
from pathlib import Path

import pytest

from sluice.terraform.archive import (
    ArchiveError,
    ArchiveLimits,
    check_archive,
    extract_archive,
)
from tests.terraform.archive_attacks import ATTACKS, EMPTY
from tests.terraform.tar_maker import TarMaker, pax

LIMITS = ArchiveLimits()


def test_there_are_many() -> None:
    assert len(ATTACKS) > 100


@pytest.mark.parametrize("name", ATTACKS)
def test_it_is_refused_and_nothing_lands_outside(name: str, tmp_path: Path) -> None:
    data, reason = ATTACKS[name]
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match=reason) as refused:
        check_archive(path, LIMITS)
    assert refused.value.detail.isprintable()
    assert len(refused.value.detail) < 1000
    dest = tmp_path / "in" / "dest"
    if name in EMPTY:
        extract_archive(path, dest, LIMITS)
    else:
        with pytest.raises(ArchiveError, match=reason):
            extract_archive(path, dest, LIMITS)
    assert {item.name for item in tmp_path.iterdir()} == {"archive.tar.gz", "in"}
    assert [item.name for item in (tmp_path / "in").iterdir()] == ["dest"]
    written = [item.lstat() for item in dest.rglob("*") if item.is_file()]
    assert sum(item.st_size for item in written) < 64 * 2**20
    for item in dest.rglob("*"):
        assert os.path.realpath(item).startswith(str(dest.resolve()))


def test_a_header_of_very_many_records_is_read_once(tmp_path: Path) -> None:
    """200,000 records in one header: reading is linear, so this ends."""
    records = pax(b"a", b"") * 200_000
    path = tmp_path / "archive.tar.gz"
    maker = TarMaker().add_raw(tarfile.XHDTYPE, records[: 2**20 - 2**20 % 5])
    path.write_bytes(gzip.compress(maker.add("a", os.urandom(40_000)).tar()))
    assert check_archive(path, LIMITS).files == 1


def test_very_many_empty_members_are_read(tmp_path: Path) -> None:
    path = tmp_path / "archive.tar.gz"
    empty = gzip.compress(b"", mtime=0)
    path.write_bytes(empty * 20_000 + TarMaker().add("a", b"1").gz() + empty * 20_000)
    assert check_archive(path, LIMITS).files == 1


def test_many_files_are_too_many(tmp_path: Path) -> None:
    path = tmp_path / "archive.tar.gz"
    maker = TarMaker()
    for number in range(300):
        maker.add(f"{number}/{number}")
    path.write_bytes(maker.gz())
    few = ArchiveLimits(max_entries=500)
    with pytest.raises(ArchiveError, match="more than 500 entries"):
        check_archive(path, few)
    dest = tmp_path / "dest"
    with pytest.raises(ArchiveError, match="more than 500 entries"):
        extract_archive(path, dest, few)
    assert len(list(dest.rglob("*"))) <= 500


@pytest.mark.parametrize(
    "name",
    [
        "C:evil",
        "a:b",
        "NUL",
        "..evil",
        "...",
        "\uff0e\uff0e/evil",
        "\u2024\u2024/evil",
        "a\u202egnp.tf",
        "%2e%2e/evil",
        "~root/x",
        "$HOME/x",
        "-rf",
        "\uff45tc",
        " ",
    ],
)
def test_a_name_that_only_looks_odd_lands_inside(name: str, tmp_path: Path) -> None:
    path = TarMaker().add(name, b"1").save(tmp_path)
    dest = tmp_path / "in" / "dest"
    extract_archive(path, dest, LIMITS)
    [found] = [item for item in dest.rglob("*") if item.is_file()]
    assert found.read_bytes() == b"1"
    assert [item.name for item in (tmp_path / "in").iterdir()] == ["dest"]
