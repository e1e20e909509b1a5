"""The spool between a job and the uplink: nothing lost, nothing twice, gaps told of."""

import contextlib
import hashlib
import os
import random
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.base.clock import SystemClock
from sluice.runner.phase_dir import PhaseDir
from sluice.runner.spool import SpoolError, SpoolLimits, SpoolReader, SpoolWriter
from sluice.wire.agent import LogPosition
from sluice.wire.chunk import (
    MAX_CATCH_UP,
    Chunk,
    Kind,
    Source,
    decode_chunks,
    encode_chunk,
)
from sluice.wire.events import Gap, Note

BASE = LogPosition(epoch=3, offset=1000, next_line=41)
KIB = 1024


def output(data: bytes, *, source: Source = Source.STDOUT, at: int = 0) -> Chunk:
    return Chunk(0, 1, source, Kind.OUTPUT, at, data)


def writer_on(directory: Path, **limits: int) -> SpoolWriter:
    return SpoolWriter(directory, clock=SystemClock(), limits=SpoolLimits(**limits))


def drain(reader: SpoolReader, max_bytes: int = 256 * KIB) -> list[Chunk]:
    """All there is to read now."""
    chunks: list[Chunk] = []
    while True:
        reader.refresh()
        more = reader.read(max_bytes, merge_to=64 * KIB)
        if not more:
            return chunks
        chunks += more


def assert_consecutive(chunks: list[Chunk], offset: int, line: int) -> None:
    for chunk in chunks:
        assert chunk.offset == offset
        assert chunk.first_line == line
        offset, line = chunk.end, chunk.next_line


def bytes_of(chunks: list[Chunk]) -> bytes:
    return b"".join(chunk.data for chunk in chunks)


@contextlib.contextmanager
def full_disk(writer: SpoolWriter) -> Iterator[None]:
    """The kernel answers writes to the open segment with ENOSPC; new files still work.

    Unrealistic where a test needs the space to run out in the middle of a record: see
    `file_size_limit`.
    """
    segment = writer._descriptor
    saved = os.dup(segment)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, segment)
    try:
        yield
    finally:
        os.dup2(saved, segment)
        os.close(saved)
        os.close(full)


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Files of this process end at ``size``: writes come short, then fail (EFBIG).

    Unrealistic for a test that lets other threads write files meanwhile.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_records_are_placed_after_the_base_with_line_numbers(tmp_path: Path) -> None:
    writer = writer_on(tmp_path)
    writer.append([output(b"one\ntwo"), output(b"half\n", source=Source.STDERR)])
    writer.event(Note(), b"said\n")
    chunks = drain(SpoolReader(tmp_path, BASE))
    assert_consecutive(chunks, 1000, 41)
    assert [c.data for c in chunks] == [b"one\ntwo", b"half\n", b"said\n"]
    assert [c.first_line for c in chunks] == [41, 42, 43]
    assert chunks[2].event == Note()


def test_an_event_begins_a_line_of_its_own(tmp_path: Path) -> None:
    writer = writer_on(tmp_path)
    writer.append([output(b"no newline")])
    writer.event(Note(), b"said\n")
    writer.event(Note(), b"again\n")
    assert bytes_of(drain(SpoolReader(tmp_path, BASE))) == b"no newline\nsaid\nagain\n"


def test_output_of_one_moment_is_joined_and_later_output_is_not(tmp_path: Path) -> None:
    writer = writer_on(tmp_path)
    writer.append([output(b"a\n", at=0), output(b"b\n", at=50_000)])
    writer.append([output(b"c\n", at=500_000)])
    writer.append([output(b"d\n", at=500_000, source=Source.STDERR)])
    chunks = drain(SpoolReader(tmp_path, BASE))
    assert [c.data for c in chunks] == [b"a\nb\n", b"c\n", b"d\n"]
    assert [c.captured_us for c in chunks] == [0, 500_000, 500_000]


def test_a_torn_record_is_left_until_it_is_whole(tmp_path: Path) -> None:
    writer = writer_on(tmp_path)
    writer.append([output(b"whole\n")])
    reader = SpoolReader(tmp_path, BASE)
    record = encode_chunk(output(b"torn at every byte\n"))
    segment = tmp_path / "seg-000000"
    intact = segment.read_bytes()
    for cut in range(len(record)):
        segment.write_bytes(intact + record[:cut])
        assert reader.refresh() == 1006
    segment.write_bytes(intact + record)
    assert bytes_of(drain(reader)) == b"whole\ntorn at every byte\n"
    assert not reader.damaged


def test_a_torn_tail_of_a_dead_job_is_passed_over_by_a_note_after_it(
    tmp_path: Path,
) -> None:
    writer_on(tmp_path).append([output(b"kept\n"), output(b"partial")])
    with (tmp_path / "seg-000000").open("ab") as file:
        file.write(encode_chunk(output(b"torn"))[:-1])
    writer_on(tmp_path).event(Note(error=True), b"the phase process was killed\n")
    chunks = drain(SpoolReader(tmp_path, BASE))
    assert bytes_of(chunks) == b"kept\npartial\nthe phase process was killed\n"


def test_a_damaged_record_ends_what_can_be_read(tmp_path: Path) -> None:
    writer_on(tmp_path).append([output(b"good\n"), output(b"to be damaged\n")])
    segment = tmp_path / "seg-000000"
    content = bytearray(segment.read_bytes())
    content[-3] ^= 0xFF
    segment.write_bytes(content)
    reader = SpoolReader(tmp_path, BASE)
    assert bytes_of(drain(reader)) == b"good\n"
    assert "checksum" in reader.damaged
    assert reader.digest() is None
    # Once something follows, the damage becomes a gap and the rest is readable.
    writer_on(tmp_path).append([output(b"more\n")])
    gap, more = drain(reader)
    assert isinstance(gap.event, Gap)
    assert gap.event.missing_bytes > len(b"to be damaged\n")
    assert more.data == b"more\n"


def test_events_are_never_cut_and_output_is_cut_to_fit(tmp_path: Path) -> None:
    writer = writer_on(tmp_path)
    writer.append([output(b"0123456789")])
    writer.event(Note(), b"an event\n")
    reader = SpoolReader(tmp_path, BASE)
    reader.refresh()
    assert bytes_of(reader.read(4)) == b"0123"
    assert bytes_of(reader.read(8)) == b"456789"
    assert bytes_of(reader.read(3)) == b"\nan event\n"
    assert reader.read(3) == []


@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(st.binary(min_size=1, max_size=400), min_size=1, max_size=60),
    segment=st.integers(300, 3000),
    seed=st.integers(0, 2**32),
)
def test_any_seek_at_or_after_what_was_released_goes_on_there(
    tmp_path_factory: pytest.TempPathFactory,
    pieces: list[bytes],
    segment: int,
    seed: int,
) -> None:
    """Reads, restarts of the agent, releases and seeks back in any order."""
    directory = tmp_path_factory.mktemp("spool")
    rng = random.Random(seed)
    writer = writer_on(directory, segment_bytes=segment)
    whole = b""
    acked = BASE.offset
    reader = SpoolReader(directory, BASE)
    for piece in pieces:
        writer.append([output(piece)])
        whole += piece
        match rng.randrange(5):
            case 0:
                reader.refresh()
                for chunk in reader.read(rng.randrange(1, 900)):
                    start = chunk.offset - BASE.offset
                    assert whole[start:].startswith(chunk.data)
                    lines = whole[:start].count(b"\n")
                    assert chunk.first_line == BASE.next_line + lines
            case 1:
                acked = rng.randint(acked, reader.position)
                reader.release(acked)
            case 2:
                reader.seek(rng.randint(acked, BASE.offset + len(whole)))
            case 3:
                reader.close()
                reader = SpoolReader(directory, BASE)
                reader.seek(acked)
            case _:
                pass
    reader.seek(acked)
    assert bytes_of(drain(reader)) == whole[acked - BASE.offset :]
    end = reader.log_end()
    assert end.offset == BASE.offset + len(whole)
    assert end.next_line == BASE.next_line + whole.count(b"\n")
    assert end.sha256 == hashlib.sha256(whole).hexdigest()
    reader.close()
    writer.close()


def test_seeks_that_cannot_be_served_say_why(tmp_path: Path) -> None:
    writer = writer_on(tmp_path, segment_bytes=300)
    for _ in range(10):
        writer.append([output(b"x" * 200)])
    writer.event(Note(), b"an event\n")
    reader = SpoolReader(tmp_path, BASE)
    with pytest.raises(SpoolError, match="the agent's spool ends at byte 3010"):
        reader.seek(4000)
    with pytest.raises(SpoolError, match="inside the event at byte 3000"):
        reader.seek(3003)
    reader.release(2500)
    with pytest.raises(SpoolError, match="begins at byte 2400"):
        reader.seek(1000)


def test_reader_and_writer_at_the_same_time(tmp_path: Path) -> None:
    """Two threads as fast as they can; the reader sees every byte once."""
    phase = PhaseDir(tmp_path)
    phase.spool.mkdir()
    os.mkfifo(phase.wake)
    wake = phase.open_wake()
    rng = random.Random(9)
    pieces = [rng.randbytes(rng.randrange(1, 4000)) for _ in range(3000)]

    def write() -> None:
        limits = SpoolLimits(segment_bytes=100_000)
        writer = SpoolWriter(phase.spool, clock=SystemClock(), limits=limits, wake=wake)
        for at in range(0, len(pieces), 3):
            writer.append([output(piece) for piece in pieces[at : at + 3]])
        writer.close()

    thread = threading.Thread(target=write)
    reader = SpoolReader(phase.spool, BASE)
    thread.start()
    whole = b"".join(pieces)
    got: list[Chunk] = []
    while sum(len(chunk.data) for chunk in got) < len(whole):
        got += drain(reader)
        if got:
            reader.release(got[-1].offset)
    thread.join()
    assert bytes_of(got) == whole
    assert_consecutive(got, 1000, 41)
    assert os.read(wake, 10) == bytes(10)
    os.close(wake)


def test_at_the_quota_head_and_newest_tail_stay_and_a_gap_tells_the_rest(
    tmp_path: Path,
) -> None:
    lines = [b"line %06d\n" % number for number in range(20_000)]
    writer = writer_on(tmp_path, spool_bytes=160 * KIB, segment_bytes=16 * KIB)
    for line in lines:
        writer.append([output(line)])
    writer.close()
    used = sum(entry.stat().st_size for entry in tmp_path.iterdir())
    assert used <= 160 * KIB
    reader = SpoolReader(tmp_path, BASE)
    chunks = drain(reader)
    assert_consecutive(chunks, 1000, 41)
    gaps = [chunk for chunk in chunks if chunk.kind is Kind.EVENT]
    assert len(gaps) == 1
    gap = gaps[0].event
    assert isinstance(gap, Gap)
    at = chunks.index(gaps[0])
    head, tail = bytes_of(chunks[:at]), bytes_of(chunks[at + 1 :])
    whole = b"".join(lines)
    assert whole.startswith(head)
    assert whole.endswith(tail)
    assert len(head) + gap.missing_bytes + len(tail) == len(whole)
    missing = whole[len(head) : len(whole) - len(tail)]
    assert gap.missing_lines == missing.count(b"\n")
    assert len(head) > 0
    assert len(tail) > 2 * len(head)
    assert b"%d bytes" % gap.missing_bytes in gaps[0].data
    assert reader.digest() is None


def test_at_the_quota_uploaded_segments_go_first_and_nothing_is_missing(
    tmp_path: Path,
) -> None:
    writer = writer_on(tmp_path, spool_bytes=160 * KIB, segment_bytes=16 * KIB)
    reader = SpoolReader(tmp_path, BASE)
    whole, got = b"", b""
    for number in range(20_000):
        line = b"line %06d\n" % number
        whole += line
        writer.append([output(line)])
        if number % 500 == 0:
            chunks = drain(reader)
            got += bytes_of(chunks)
            reader.release(BASE.offset + len(got))
    got += bytes_of(drain(reader))
    assert got == whole
    used = sum(entry.stat().st_size for entry in tmp_path.iterdir())
    assert used <= 420 * KIB  # the reserve included


@pytest.mark.parametrize("seed", range(8))
def test_a_reader_beside_a_writer_at_its_quota_accounts_for_every_byte(
    tmp_path: Path, seed: int
) -> None:
    """The reader stalls, restarts and seeks back while segments vanish before it."""
    rng = random.Random(seed)
    writer = writer_on(tmp_path, spool_bytes=40 * KIB, segment_bytes=4 * KIB)
    reader = SpoolReader(tmp_path, BASE)
    log: dict[int, bytes] = {}
    total = missing = 0
    acked = BASE.offset
    events: set[int] = set()

    def take(chunks: list[Chunk]) -> None:
        nonlocal missing
        for chunk in chunks:
            for at, byte in enumerate(chunk.data):
                known = log.setdefault(chunk.offset + at, bytes([byte]))
                assert known == bytes([byte])
            if isinstance(chunk.event, Gap) and chunk.offset not in events:
                events.add(chunk.offset)
                missing += chunk.event.missing_bytes - len(chunk.data)

    for _ in range(3000):
        data = rng.randbytes(rng.randrange(1, 300)) + b"\n"
        writer.append([output(data)])
        total += len(data)
        roll = rng.random()
        if roll < 0.04:
            reader.refresh()
            take(reader.read(rng.randrange(1, 9000)))
        elif roll < 0.06:
            acked = rng.randint(acked, reader.position)
            reader.release(acked)
        elif roll < 0.065:
            reader.seek(acked)
        elif roll < 0.07:
            reader.close()
            reader = SpoolReader(tmp_path, BASE)
            reader.seek(acked)
    reader.seek(acked)
    take(drain(reader))
    assert missing > 0
    assert sorted(log) == list(range(BASE.offset, reader.end))
    assert len(log) + missing == total


def test_a_full_disk_loses_output_but_tells_how_much(tmp_path: Path) -> None:
    writer = writer_on(tmp_path)
    writer.append([output(b"before\nhalf")])
    with full_disk(writer):
        writer.append([output(b"lost 1\nlost 2\n")])
        writer.event(Note(), b"lost too\n")
    writer.append([output(b"after\n")])
    before, gap, after = drain(SpoolReader(tmp_path, BASE))
    assert before.data == b"before\nhalf"
    event = gap.event
    assert isinstance(event, Gap)
    # The note needed no newline before it: the gap's line ends with one.
    assert (event.missing_bytes, event.missing_lines) == (14 + 9, 3)
    assert event.reason == "the agent's disk was full"
    assert gap.data.startswith(b"\n")
    assert after.data == b"after\n"


def test_a_disk_that_stays_full_still_gets_the_last_word(tmp_path: Path) -> None:
    writer = writer_on(tmp_path)
    with full_disk(writer):
        writer.append([output(b"lost\n")])
    writer.close()
    (gap,) = drain(SpoolReader(tmp_path, BASE))
    assert isinstance(gap.event, Gap)
    assert not (tmp_path / "reserve").exists()


@pytest.mark.parametrize("room", [0, 1, 60, 150, 300])
def test_a_write_cut_short_keeps_whole_records_only(tmp_path: Path, room: int) -> None:
    writer = writer_on(tmp_path)
    writer.append([output(b"first\n")])
    size = (tmp_path / "seg-000000").stat().st_size
    batch = [output(b"%d" % number * 60 + b"\n") for number in range(4)]
    with file_size_limit(size + room):
        writer.append(batch)
    writer.append([output(b"after\n")])
    chunks = drain(SpoolReader(tmp_path, BASE))
    whole = [chunk for chunk in batch if chunk.data in bytes_of(chunks)]
    record = len(encode_chunk(batch[0]))
    assert len(whole) == room // record
    (gap,) = [chunk.event for chunk in chunks if isinstance(chunk.event, Gap)]
    assert gap.missing_bytes == sum(len(chunk.data) for chunk in batch[len(whole) :])
    assert chunks[-1].data == b"after\n"


def test_the_spool_of_a_phase_stays_readable_by_its_owner_only(tmp_path: Path) -> None:
    writer = writer_on(tmp_path)
    writer.append([output(b"x")])
    SpoolReader(tmp_path, BASE)
    modes = {entry.name: entry.stat().st_mode & 0o077 for entry in tmp_path.iterdir()}
    assert set(modes.values()) == {0}


def test_what_is_read_is_what_the_wire_takes(tmp_path: Path) -> None:
    writer = writer_on(tmp_path)
    writer.append([output(b"\x00\xff\r" * 50_000)])
    chunks = SpoolReader(tmp_path, BASE)
    chunks.refresh()
    placed = chunks.read(MAX_CATCH_UP, merge_to=MAX_CATCH_UP)
    sent = b"".join(map(encode_chunk, placed))
    assert list(decode_chunks(sent)) == placed
