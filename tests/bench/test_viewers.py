"""The measuring viewers: what comes whole passes, and any change of any line is noticed."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator

import msgspec
import pytest

from bench import viewers
from bench.lines import SIZE, Lines, account
from bench.measure import is_whole
from bench.viewers import Crowd, Spec
from sluice.logs.dialects import DIALECTS, DialectName
from sluice.logs.lines import Assembler
from sluice.logs.model import Position
from sluice.wire.chunk import Chunk, Kind, Source, event_chunk, placed
from sluice.wire.events import Note
from sluice.wire.stream import Completed, Connected

NOW_US = 1_763_700_000_123_000
AT = "2026-11-21T10:00:00.000Z"
BATCH = DIALECTS[DialectName.BATCH].of("task-x")
LINES = 6500

Output = list[bytes]
Change = Callable[[Output], object]


def generated() -> tuple[Output, dict[str, int]]:
    """Lines as generators write them, at full speed and at a rate, and the account."""
    lines = Lines()
    text = b"".join(lines.block() for _ in range(5))
    while lines.number < LINES:
        text += lines.take(min(7, LINES - lines.number))
    return [text[at : at + SIZE] for at in range(0, len(text), SIZE)], account(lines)


def chunks_of(output: Output) -> Iterator[Chunk]:
    """A note, and the output in chunks that end in the middle of lines too."""
    note = event_chunk(
        Note(), b"ready\n", source=Source.AGENT, captured_us=NOW_US - 5000
    )
    at, line = 0, 1
    data = b"".join(output)
    sizes = (64_000, 100, 131_072, 37, 9_999, 200_000)
    pieces = [note]
    done = 0
    while done < len(data):
        size = sizes[len(pieces) % len(sizes)]
        when = NOW_US + 1500 * len(pieces)
        piece = data[done : done + size]
        pieces.append(Chunk(0, 1, Source.STDOUT, Kind.OUTPUT, when, piece))
        done += size
    for one in pieces:
        here = placed(one, offset=at, first_line=line)
        yield here
        at, line = here.end, here.next_line


def frames_of(output: Output) -> list[bytes]:
    """All frames of a stream, as the server sends them."""
    assembler = Assembler(Position(0, 1))
    runs = [assembler.feed(chunk) for chunk in chunks_of(output)]
    frames = [BATCH.wrap(BATCH.segments(some)) for some in runs if some]
    hello = BATCH.message(Connected("task-x", "client-x", AT))
    return [hello, *frames, BATCH.message(Completed(AT, "success"))]


@contextlib.contextmanager
def serving(*streams: list[bytes]) -> Iterator[int]:
    """A server whose n-th connection gets the n-th stream; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for stream in streams:
                connection, _ = server.accept()
                with connection, contextlib.suppress(OSError):
                    while b"\r\n\r\n" not in connection.recv(65536):
                        pass
                    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
                    senders.append(
                        threading.Thread(target=send, args=(connection.dup(), stream))
                    )
                    senders[-1].start()

        def send(connection: socket.socket, stream: list[bytes]) -> None:
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"".join(stream))
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)

        senders: list[threading.Thread] = []
        acceptor = threading.Thread(target=serve)
        acceptor.start()
        yield server.getsockname()[1]
        acceptor.join(30)
        for sender in senders:
            sender.join(30)


def watched(*streams: list[bytes]) -> dict:
    """What as many viewers in one process say of these streams."""
    with serving(*streams) as port:
        crowd = Crowd(
            Spec("127.0.0.1", port, "/", len(streams), seconds=60, first_line=1)
        )
        crowd.connect()
        crowd.watch()
        for viewer in crowd.viewers:
            viewer.sock.close()
        found: dict = msgspec.to_builtins(crowd.result())
        return found


def changed(output: Output, change: Change) -> Output:
    copy = list(output)
    change(copy)
    return copy


def one_byte(output: Output, line: int, place: int) -> None:
    text = bytearray(output[line])
    text[place] ^= 1
    output[line] = bytes(text)


def another_stamp(output: Output, line: int) -> None:
    """The stamp of the line before: as a digit wrongly copied, hardest to notice."""
    output[line] = output[line][:12] + output[line - 1][12:31] + output[line][31:]


def other_numbers(output: Output) -> None:
    """A thousand lines that would be right elsewhere."""
    for line in range(2000, 3000):
        output[line] = b"L0000009" + output[line][8:]


CHANGES: dict[str, Change] = {
    "a thousand lines have other numbers": other_numbers,
    "a line is lost": lambda output: output.pop(3210),
    "the first line is lost": lambda output: output.pop(0),
    "the last line is lost": lambda output: output.pop(),
    "a thousand lines are lost": lambda output: output.__delitem__(slice(1000, 2000)),
    "a line comes twice": lambda output: output.insert(3210, output[3210]),
    "two lines change places": lambda output: output.insert(44, output.pop(45)),
    "two far lines change places": lambda output: output.insert(44, output.pop(4500)),
    "a byte of a number": lambda output: one_byte(output, 2222, 9),
    "a byte of a high digit": lambda output: one_byte(output, 2222, 2),
    "a byte of a stamp": lambda output: one_byte(output, 2222, 30),
    "a byte of the filler": lambda output: one_byte(output, 2222, 60),
    "a byte of the last filler": lambda output: one_byte(output, LINES - 1, 98),
    "the first byte of a line": lambda output: one_byte(output, 5555, 0),
    "another line's stamp": lambda output: another_stamp(output, 3000),
    "a longer line": lambda output: output.__setitem__(77, b"x" + output[77]),
    "a foreign line": lambda output: output.insert(77, b"hello\n"),
    "an empty line": lambda output: output.insert(77, b"\n"),
}


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "two"])
def test_what_comes_whole_passes(alone: bool) -> None:
    output, written = generated()
    stream = frames_of(output)
    streams = [stream] if alone else [stream, stream]
    found = watched(*streams)
    assert found["errors"] == []
    assert is_whole(written, len(streams), [found])
    assert found["lines"] == (LINES + 1) * len(streams)


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_line_is_noticed(name: str) -> None:
    output, written = generated()
    found = watched(frames_of(changed(output, CHANGES[name])))
    assert not is_whole(written, 1, [found])


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_for_the_second_of_two_is_noticed(name: str) -> None:
    output, written = generated()
    found = watched(frames_of(output), frames_of(changed(output, CHANGES[name])))
    assert not is_whole(written, 2, [found])


FRAME_CHANGES: dict[str, Change] = {
    "a frame is lost": lambda frames: frames.pop(5),
    "a frame comes twice": lambda frames: frames.insert(5, frames[5]),
    "two frames change places": lambda frames: frames.insert(5, frames.pop(6)),
    "the last lines do not come": lambda frames: frames.pop(-2),
    "the end does not come": lambda frames: frames.pop(),
    "another source": lambda frames: frames.__setitem__(
        5, frames[5].replace(b'"stdout"', b'"stderr"', 1)
    ),
    "another first line": lambda frames: frames.__setitem__(
        5, _renumbered(frames[5], "first_line")
    ),
    "another next line": lambda frames: frames.__setitem__(
        5, _renumbered(frames[5], "next_line")
    ),
}


def _renumbered(frame: bytes, name: str) -> bytes:
    begin = frame.index(b"{")
    number = json.loads(frame[begin:])[name]
    old, new = (b'"%b":%d,' % (name.encode(), one) for one in (number, number + 1))
    assert len(old) == len(new)
    return frame.replace(old, new, 1)


@pytest.mark.parametrize("name", FRAME_CHANGES)
def test_a_changed_stream_is_noticed(name: str) -> None:
    output, written = generated()
    frames = changed(frames_of(output), FRAME_CHANGES[name])
    assert not is_whole(written, 1, [watched(frames)])


def test_small_reads_and_frames_cut_anywhere_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(viewers, "RECEIVE", 777)
    output, written = generated()
    assert is_whole(written, 1, [watched(frames_of(output))])
