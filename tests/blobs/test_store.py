import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from sluice.base.errors import NotFoundError, UnavailableError
from sluice.blobs.store import Blobs, S3Settings, open_local_blobs, open_s3_blobs


async def test_what_was_put_is_what_comes_back(blobs: Blobs) -> None:
    content = bytes(range(256)) * 10
    await blobs.put("states/sv-1", content)
    assert await blobs.get("states/sv-1") == content
    assert await blobs.size("states/sv-1") == len(content)
    assert await blobs.exists("states/sv-1")


async def test_an_empty_blob_is_a_blob(blobs: Blobs) -> None:
    await blobs.put("states/empty", b"")
    assert await blobs.get("states/empty") == b""
    assert await blobs.size("states/empty") == 0


async def test_putting_again_replaces(blobs: Blobs) -> None:
    await blobs.put("plans/t/plan", b"first")
    await blobs.put("plans/t/plan", b"second")
    assert await blobs.get("plans/t/plan") == b"second"


async def test_a_file_goes_up_and_streams_down_in_pieces(
    blobs: Blobs, tmp_path: Path
) -> None:
    content = os.urandom(12 * 1024 * 1024 + 17)
    path = tmp_path / "big"
    path.write_bytes(content)
    await blobs.put("configs/cv.tar.gz", path)
    pieces = [piece async for piece in blobs.stream("configs/cv.tar.gz")]
    assert len(pieces) > 1
    assert b"".join(pieces) == content


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, 3, b"012"),
        (3, 4, b"3456"),
        (8, 10, b"89"),
        (10, 5, b""),
        (50, 5, b""),
        (2, 0, b""),
    ],
)
async def test_ranges(blobs: Blobs, start: int, length: int, expected: bytes) -> None:
    await blobs.put("logs/t.slz", b"0123456789")
    assert await blobs.get_range("logs/t.slz", start, length) == expected


async def test_a_missing_blob_is_named(blobs: Blobs) -> None:
    assert not await blobs.exists("states/none")
    with pytest.raises(NotFoundError, match="states/none"):
        await blobs.get("states/none")
    with pytest.raises(NotFoundError):
        await blobs.get_range("states/none", 0, 1)
    with pytest.raises(NotFoundError):
        _ = [piece async for piece in blobs.stream("states/none")]


async def test_deleting_twice_is_fine(blobs: Blobs) -> None:
    await blobs.put("states/gone", b"x")
    await blobs.delete("states/gone")
    await blobs.delete("states/gone")
    assert not await blobs.exists("states/gone")


async def test_s3_keys_lie_under_the_prefix(s3_settings: S3Settings) -> None:
    await open_s3_blobs(s3_settings).put("states/sv-2", b"x")
    whole = open_s3_blobs(replace(s3_settings, prefix=""))
    assert await whole.get("some/where/states/sv-2") == b"x"


async def test_a_store_that_is_away_is_unavailable_and_not_missing(
    s3_settings: S3Settings,
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        away = open_s3_blobs(replace(s3_settings, endpoint=endpoint))
        with pytest.raises(UnavailableError, match="states/x"):
            await away.get("states/x")


async def test_local_blobs_are_kept_from_other_users(tmp_path: Path) -> None:
    open_local_blobs(tmp_path / "blobs")
    assert (tmp_path / "blobs").stat().st_mode & 0o077 == 0
