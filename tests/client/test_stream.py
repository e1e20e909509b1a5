"""A follower hands out each line exactly once, however often the connection breaks."""

import random
import threading
from collections.abc import Iterator

import pytest
from typing_extensions import override
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from sluice.base.clock import SystemClock
from sluice.base.errors import (
    ForbiddenError,
    NotFoundError,
    RateLimitedError,
    UnauthorizedError,
)
from sluice.client.api import Api
from sluice.client.carriers import BlockedError, Carrier, LostError
from sluice.client.errors import StreamBrokenError, UnreachableError
from sluice.client.stream import Follower, Link, LinkEvent, backoff
from sluice.wire.stream import (
    Batch,
    Completed,
    Connected,
    Frame,
    Output,
    StageMarker,
    StreamError,
    encode_frame,
)
from tests.client.log_standins import (
    AT,
    TASK,
    Log,
    plain_http_log,
    problem,
    refusing,
    serving,
    websocket_log,
)


def texts(frames: list[Frame]) -> list[str]:
    """The lines of frames, in order."""
    found: list[str] = []
    for frame in frames:
        if isinstance(frame, Batch):
            found += [line[3] for line in frame.lines]
        elif isinstance(frame, StageMarker):
            found.append(frame.line)
    return found


def expected(log: Log, first: int = 1) -> list[str]:
    return [log.text(number) for number in range(first, log.total + 1)]


@pytest.mark.parametrize("seed", range(6))
def test_each_line_comes_once_over_a_breaking_websocket(seed: int) -> None:
    log = Log(300, random.Random(seed), overlap=seed % 2 == 0, gaps=seed % 3 == 0)
    with websocket_log(log) as url, Api(url, "slu_x") as api:
        frames = list(api.logs.follow(TASK))
    assert texts(frames) == expected(log)
    assert isinstance(frames[-1], Completed)
    assert len(log.opened) > 3


def test_every_connection_goes_on_after_the_last_line() -> None:
    log = Log(200, random.Random(1), cuts=5)
    with websocket_log(log) as url, Api(url, "slu_x") as api:
        list(api.logs.follow(TASK, after=50))
    assert log.opened[0] == 50
    known = [after for after in log.opened if after is not None]
    assert known == sorted(known)
    assert len(log.opened) == 6


def test_without_a_position_the_server_chooses_where_to_begin() -> None:
    log = Log(30, random.Random(1), cuts=0)
    with websocket_log(log) as url, Api(url, "slu_x") as api:
        frames = list(api.logs.follow(TASK, after=None))
    assert log.opened == [None]
    assert texts(frames) == expected(log)


@pytest.mark.parametrize("seed", range(3))
def test_server_sent_events_where_websockets_are_blocked(seed: int) -> None:
    log = Log(200, random.Random(seed), cuts=8, overlap=True)
    links: list[Link] = []
    with plain_http_log(log, sse=True) as url, Api(url, "slu_x") as api:
        frames = list(api.logs.follower(TASK, 0, on_link=links.append).frames())
    assert texts(frames) == expected(log)
    assert isinstance(frames[-1], Completed)
    switched = [link for link in links if link.event is LinkEvent.SWITCHED]
    assert [link.carrier for link in switched] == ["server-sent events"]


@pytest.mark.parametrize("seed", range(3))
def test_plain_text_where_nothing_else_gets_through(seed: int) -> None:
    log = Log(100, random.Random(seed), cuts=5)
    with plain_http_log(log, sse=False) as url, Api(url, "slu_x") as api:
        frames = list(api.logs.follow(TASK))
    assert texts(frames) == expected(log)
    assert frames[-1] == Completed(AT, "success")


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (401, "unauthorized", UnauthorizedError),
        (403, "forbidden", ForbiddenError),
        (404, "not_found", NotFoundError),
        (429, "rate_limited", RateLimitedError),
    ],
)
def test_a_refusal_ends_it_with_the_servers_words(
    status: int, code: str, error: type[Exception]
) -> None:
    with (
        refusing(problem(status, code, "Because of this.")) as url,
        Api(url, "slu_x") as api,
        pytest.raises(error, match="Because of this"),
    ):
        list(api.logs.follow(TASK))


def test_a_proxy_that_upgrades_and_stays_silent_counts_as_blocked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sluice.client.carriers.FIRST_FRAME_SECONDS", 0.1)

    def silent(connection: ServerConnection) -> None:
        try:
            connection.recv()
        except ConnectionClosed:
            return

    links: list[Link] = []
    with serving(silent) as url, Api(url, "slu_x", attempts=1) as api:
        follower = api.logs.follower(TASK, 0, on_link=links.append)
        # the stand-in knows neither SSE nor text
        threading.Timer(1.0, follower.stop).start()
        assert list(follower.frames()) == []
    assert [link.carrier for link in links[:2]] == [
        "server-sent events",
        "chunked text",
    ]


class Scripted:
    """A carrier that does what its script says, one entry a connection."""

    name = "script"

    def __init__(self, *connections: list[Frame | Exception]) -> None:
        self._connections = list(connections)
        self.asked: list[int | None] = []

    def frames(self, task_id: str, after: int | None) -> Iterator[Frame]:
        self.asked.append(after)
        script = (
            self._connections.pop(0)
            if len(self._connections) > 1
            else self._connections[0]
        )
        for step in script:
            if isinstance(step, Exception):
                raise step
            yield step


class Hurried(SystemClock):
    """A clock on which every look takes a minute."""

    def __init__(self) -> None:
        self._at = 0.0

    @override
    def monotonic(self) -> float:
        self._at += 60
        return self._at


def follower(*carriers: Carrier, hurried: bool = False) -> Follower:
    clock = Hurried() if hurried else SystemClock()
    return Follower(TASK, 0, carriers=carriers, clock=clock, give_up=100)


def lines(first: int, last: int) -> Batch:
    return Batch(
        first,
        last + 1,
        [(0, "stdout", "info", f"line {number}") for number in range(first, last + 1)],
    )


CONNECTED = Connected(TASK, "c", AT)
END = Completed(AT, "success")


def test_a_gap_is_asked_for_again() -> None:
    way = Scripted(
        [CONNECTED, lines(1, 3), lines(5, 6), END], [CONNECTED, lines(4, 6), END]
    )
    frames = list(follower(way).frames())
    assert texts(frames) == [f"line {number}" for number in range(1, 7)]
    assert way.asked == [0, 3]


def test_a_gap_that_stays_ends_it() -> None:
    way = Scripted([CONNECTED, lines(1, 3), lines(5, 6), END])
    with pytest.raises(StreamBrokenError, match="Line 4"):
        list(follower(way).frames())


def test_an_end_that_is_no_completion_is_a_break() -> None:
    way = Scripted(
        [CONNECTED, lines(1, 2)],
        [CONNECTED, StreamError("idle", "nothing for 10 minutes")],
        [CONNECTED, lines(3, 3), END],
    )
    assert texts(list(follower(way).frames())) == ["line 1", "line 2", "line 3"]
    assert way.asked == [0, 2, 2]


def test_live_frames_are_counted_too() -> None:
    way = Scripted(
        [CONNECTED, Output("a", AT, 1), LostError("x")],
        [CONNECTED, Output("a", AT, 1), Output("b", AT, 2), END],
    )
    frames = [item for item in follower(way).frames() if isinstance(item, Output)]
    assert [frame.line for frame in frames] == ["a", "b"]


def test_it_gives_up_after_a_long_silence() -> None:
    way = Scripted([LostError("connection refused")])
    with pytest.raises(UnreachableError, match="goes on on the server"):
        list(follower(way, hurried=True).frames())


def test_all_ways_blocked_begins_again_with_the_first() -> None:
    first = Scripted([BlockedError("no")], [CONNECTED, lines(1, 1), END])
    second = Scripted([BlockedError("no")])
    assert texts(list(follower(first, second).frames())) == ["line 1"]
    assert (len(first.asked), len(second.asked)) == (2, 1)


def test_too_many_streams_later_on_only_delays() -> None:
    way = Scripted(
        [CONNECTED, lines(1, 1), LostError("x")],
        [RateLimitedError("30 new streams a minute")],
        [CONNECTED, lines(2, 2), END],
    )
    assert texts(list(follower(way).frames())) == ["line 1", "line 2"]


def test_backoff_grows_to_a_ceiling_and_has_jitter() -> None:
    assert backoff(1, chance=0.0) == pytest.approx(0.05)
    assert backoff(1, chance=0.999) == pytest.approx(0.1, rel=0.01)
    growing = [backoff(failures, chance=0.5) for failures in range(1, 30)]
    assert growing == sorted(growing)
    assert growing[-1] <= 15


def test_a_frame_larger_than_a_mebibyte_arrives() -> None:
    wide = "x" * 3_000_000

    def handle(connection: ServerConnection) -> None:
        connection.send(encode_frame(CONNECTED), text=True)
        batch = Batch(1, 2, [(0, "stdout", "info", wide)])
        connection.send(encode_frame(batch), text=True)
        connection.send(encode_frame(END), text=True)

    with serving(handle) as url, Api(url, "slu_x") as api:
        assert texts(list(api.logs.follow(TASK))) == [wide]
