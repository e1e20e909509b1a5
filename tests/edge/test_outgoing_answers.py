import asyncio
import gzip
import socket
from collections.abc import Sequence

import pytest

from sluice.edge import outgoing, outgoing_network
from sluice.edge.outgoing import MAX_BODY, Outgoing, OutgoingFailedError
from tests.edge.calls import NAME, Answers, gone, opened, post
from tests.edge.far_side import far_side


async def test_a_long_body_is_left_and_its_connection_closed() -> None:
    sent = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * MAX_BODY)
            sent += MAX_BODY
            await writer.drain()

    async with far_side(endless) as far, opened() as client:
        assert await post(client, f"http://127.0.0.1:{far.port}/") == 200
        await gone(far)
        assert sent < 1_000_000_000


@pytest.mark.parametrize(("size", "connections"), [(MAX_BODY, 1), (MAX_BODY + 1, 2)])
async def test_a_connection_is_kept_only_if_the_body_is_short(
    size: int, connections: int
) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
    async with far_side(answer) as far, opened() as client:
        for _ in range(2):
            assert await post(client, f"http://127.0.0.1:{far.port}/") == 200
        assert len(far.connections) == connections


@pytest.mark.parametrize(("drain", "timeout"), [(0.2, 30.0), (3600.0, 4.0)])
async def test_a_body_that_drips_does_not_hold_the_call(
    drain: float, timeout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    monkeypatch.setattr(outgoing, "DRAIN_SECONDS", drain)
    # less than the first one's time, far more than either needs
    async with far_side(drip) as far, opened() as client, asyncio.timeout(25):
        url = f"http://127.0.0.1:{far.port}/"
        assert await post(client, url, timeout=timeout) == 202
        await gone(far)


async def test_headers_that_drip_are_cut_by_the_time_of_the_call() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(100_000):
            writer.write(b"X-%d: y\r\n" % number)
            await writer.drain()
            await asyncio.sleep(0.05)

    async with far_side(drip) as far, opened() as client, asyncio.timeout(60):
        with pytest.raises(OutgoingFailedError, match="within 1 seconds"):
            await post(client, f"http://127.0.0.1:{far.port}/", timeout=1.0)
        await gone(far)


async def test_silence_is_cut_by_the_time_of_the_call() -> None:
    async with far_side(None) as far, opened() as client, asyncio.timeout(60):
        with pytest.raises(OutgoingFailedError, match=r"within 0\.5 seconds"):
            await post(client, f"http://127.0.0.1:{far.port}/", timeout=0.5)
        await gone(far)


async def _flood(writer: asyncio.StreamWriter, start: bytes, part: bytes) -> None:
    writer.write(start)
    while True:
        writer.write(part * 1000)
        await writer.drain()


async def test_endless_headers_end_the_call() -> None:
    async def headers(writer: asyncio.StreamWriter) -> None:
        await _flood(writer, b"HTTP/1.1 200 OK\r\n", b"X-Filler: hunter2\r\n")

    async with far_side(headers) as far, opened() as client:
        with pytest.raises(OutgoingFailedError) as caught:
            await post(client, f"http://127.0.0.1:{far.port}/")
        assert "hunter2" not in caught.value.detail
        assert "within" not in caught.value.detail
        await gone(far)


async def test_endless_interim_answers_end_the_call() -> None:
    async def interim(writer: asyncio.StreamWriter) -> None:
        await _flood(writer, b"", b"HTTP/1.1 100 Continue\r\n\r\n")

    async with far_side(interim) as far, opened() as client:
        with pytest.raises(OutgoingFailedError, match="more than an answer needs"):
            await post(client, f"http://127.0.0.1:{far.port}/")
        await gone(far)


async def test_a_packed_body_is_not_unpacked() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    async with far_side(head % len(bomb) + bomb) as far, opened() as client:
        assert await post(client, f"http://127.0.0.1:{far.port}/") == 200
        assert far.header("accept-encoding") == "identity"


@pytest.mark.parametrize(
    "answer",
    [
        b"hunter2 is no HTTP\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9 hunter2\r\n",
        b"HTTP/1.1 hunter2 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nhunter2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: hunter2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: hunter2\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: hunter2\r\n\r\n",
        b"",
    ],
)
async def test_nonsense_is_no_answer_and_is_not_shown(answer: bytes) -> None:
    async def once(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with far_side(once) as far, opened() as client:
        with pytest.raises(OutgoingFailedError) as caught:
            await post(client, f"http://127.0.0.1:{far.port}/")
        assert "hunter2" not in caught.value.detail
        assert f"http://127.0.0.1:{far.port} gave no answer" in caught.value.detail
        assert "\n" not in caught.value.detail


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_a_broken_body_does_not_undo_the_status(answer: bytes) -> None:
    async def once(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with far_side(once) as far, opened() as client:
        assert await post(client, f"http://127.0.0.1:{far.port}/") == 200


async def test_a_closed_port_is_said_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    async with opened() as client:
        with pytest.raises(OutgoingFailedError, match="refused"):
            await post(client, f"http://127.0.0.1:{port}/hidden-path?key=hunter2")


async def test_the_path_of_a_url_is_not_shown() -> None:
    async with far_side(b"nonsense\r\n\r\n") as far, opened() as client:
        with pytest.raises(OutgoingFailedError) as caught:
            await post(client, f"http://127.0.0.1:{far.port}/hook/hunter2")
        assert "hunter2" not in caught.value.detail


async def test_a_name_without_an_address_is_said_in_words() -> None:
    async def nothing(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    for resolve, words in ((nothing, "Name or service"), (Answers([]), "no address")):
        async with Outgoing(resolve=resolve) as client:
            with pytest.raises(OutgoingFailedError, match=words):
                await post(client, f"https://{NAME}/")


async def test_a_slow_resolver_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(3600)
        return []

    async with Outgoing(resolve=never) as client, asyncio.timeout(60):
        with pytest.raises(OutgoingFailedError, match=r"within 0\.2 seconds"):
            await post(client, f"https://{NAME}/", timeout=0.2)
        monkeypatch.setattr(outgoing_network, "RESOLVE_SECONDS", 0.1)
        with pytest.raises(OutgoingFailedError, match="address was not found within"):
            await post(client, f"https://{NAME}/")
