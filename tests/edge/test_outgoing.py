import os
import socket
from collections.abc import Sequence

import pytest

from sluice.base.errors import InvalidInputError
from sluice.edge.outgoing import Outgoing, OutgoingFailedError, OutgoingRefusedError
from tests.edge.calls import LOOPBACK, NAME, Answers, opened, post
from tests.edge.far_side import OK, far_side


@pytest.fixture
def second_loopback() -> None:
    """Skips where 127.0.0.2 does not lead to this machine, as it does on Linux."""
    try:
        socket.create_server(("127.0.0.2", 0)).close()
    except OSError:
        pytest.skip("127.0.0.2 is no address of this machine")


# --- where calls may go -------------------------------------------------------


def _loopback_hosts() -> list[str]:
    return [
        "127.0.0.1",
        "127.0.0.2",
        "127.1",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "0.0.0.0",
        "0",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "0x7f000001",
        "0x7f.0x0.0x0.0x1",
        "127。0。0。1",
        "\uff11\uff12\uff17.0.0.1",
        "%31%32%37.0.0.1",
        "user@127.0.0.1",
        "8.8.8.8@127.0.0.1",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::]",
        "[::1%lo]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:0:127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b:1::127.0.0.1]",
        "[2002:7f00:1::1]",
        "[2001:0:7f00:1::80ff:fffe]",
    ]


@pytest.mark.parametrize("host", _loopback_hosts())
async def test_no_way_of_writing_loopback_gets_a_connection(host: str) -> None:
    async with far_side(host="0.0.0.0") as far, Outgoing(allow_http=True) as client:
        with pytest.raises((OutgoingRefusedError, OutgoingFailedError)) as caught:
            await post(client, f"http://{host}:{far.port}/")
        # `localhost.` has no address on some machines; all else is refused
        if host != "localhost.":
            assert isinstance(caught.value, OutgoingRefusedError)
        assert far.connections == []


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.8",
        "192.168.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[64:ff9b::169.254.169.254]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[ff02::1]",
    ],
)
async def test_other_refused_addresses_are_named(host: str) -> None:
    async with Outgoing(allow_http=True) as client:
        with pytest.raises(OutgoingRefusedError, match="is not called, and"):
            await post(client, f"http://{host}/")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127。0。0。1", "[::1]"])
async def test_what_is_opened_is_called(host: str) -> None:
    async with far_side(host="0.0.0.0") as far, opened() as client:
        try:
            status = await post(client, f"http://{host}:{far.port}/hook?a=b")
        except OutgoingFailedError:
            if host != "[::1]":
                raise
            pytest.skip("no IPv6 on this machine")
        assert status == 200
        assert far.heads[0].startswith("POST /hook?a=b HTTP/1.1\r\n")
        assert far.bodies == [b"{}"]


async def test_metadata_stays_closed_whatever_is_opened() -> None:
    async with Outgoing(
        allowed_cidrs=["0.0.0.0/0", "::/0", "169.254.169.254/32"], allow_http=True
    ) as client:
        for host in ("169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]"):
            with pytest.raises(OutgoingRefusedError, match="no setting opens it"):
                await post(client, f"http://{host}/latest/meta-data/")


async def test_plain_http_is_refused_unless_it_is_allowed() -> None:
    async with far_side() as far, Outgoing(allowed_cidrs=LOOPBACK) as client:
        with pytest.raises(OutgoingRefusedError, match="SLUICE_OUTGOING_ALLOW_HTTP"):
            await post(client, f"http://127.0.0.1:{far.port}/")
        assert far.connections == []


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with far_side() as canary:
        to = f"http://127.0.0.1:{canary.port}/"
        moved = f"HTTP/1.1 307 Moved\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
        async with far_side(moved.encode()) as far, opened() as client:
            assert await post(client, f"http://127.0.0.1:{far.port}/") == 307
        # the client may call the canary, so nothing but the redirect's refusal kept it away
        assert canary.connections == []


async def test_a_name_with_one_refused_address_is_refused_whole() -> None:
    answers = Answers(["127.0.0.2", "127.0.0.1"])
    async with (
        far_side(host="0.0.0.0") as far,
        Outgoing(
            allowed_cidrs=["127.0.0.2/32"], allow_http=True, resolve=answers
        ) as client,
    ):
        with pytest.raises(OutgoingRefusedError, match=r"leads to 127\.0\.0\.1 \(loop"):
            await post(client, f"http://{NAME}:{far.port}/")
        assert far.connections == []


@pytest.mark.usefixtures("second_loopback")
async def test_a_second_answer_of_dns_counts_for_nothing() -> None:
    """The first answer is the one that is judged and the one that is connected to."""
    answers = Answers(["127.0.0.2"], ["127.0.0.1"])
    async with (
        far_side(host="0.0.0.0") as far,
        Outgoing(
            allowed_cidrs=["127.0.0.2/32"], allow_http=True, resolve=answers
        ) as client,
    ):
        url = f"http://{NAME}:{far.port}/"
        assert await post(client, url) == 200
        assert answers.asked == [NAME]
        assert far.connections == ["127.0.0.2"]
        # a kept connection leads where it led
        assert await post(client, url) == 200
        assert far.connections == ["127.0.0.2"]


@pytest.mark.usefixtures("second_loopback")
async def test_each_new_connection_is_judged_anew() -> None:
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    answers = Answers(["127.0.0.2"], ["127.0.0.1"])
    async with (
        far_side(closing, host="0.0.0.0") as far,
        Outgoing(
            allowed_cidrs=["127.0.0.2/32"], allow_http=True, resolve=answers
        ) as client,
    ):
        url = f"http://{NAME}:{far.port}/"
        assert await post(client, url) == 200
        with pytest.raises(OutgoingRefusedError):
            await post(client, url)
        assert far.connections == ["127.0.0.2"]


@pytest.mark.usefixtures("second_loopback")
async def test_a_kept_connection_of_one_name_is_not_used_for_another() -> None:
    asked: list[str] = []

    async def by_name(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.2"] if host == NAME else ["127.0.0.1"]

    async with (
        far_side(host="0.0.0.0") as far,
        Outgoing(
            allowed_cidrs=["127.0.0.2/32"], allow_http=True, resolve=by_name
        ) as client,
    ):
        assert await post(client, f"http://{NAME}:{far.port}/") == 200
        with pytest.raises(
            OutgoingRefusedError, match=r"^inner\.example\.com leads to"
        ):
            await post(client, f"http://inner.example.com:{far.port}/")
        assert asked == [NAME, "inner.example.com"]


async def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    answers = Answers(["127.0.0.3", "127.0.0.1"])
    async with far_side() as far, opened(answers) as client:
        assert await post(client, f"http://{NAME}:{far.port}/") == 200
        assert far.connections == ["127.0.0.1"]


async def test_proxies_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with far_side() as proxy, far_side() as far:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy.port}")
        async with opened() as client:
            assert await post(client, f"http://127.0.0.1:{far.port}/") == 200
        assert proxy.connections == []
        assert len(far.connections) == 1


def test_a_bad_range_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="is no range of addresses"):
        Outgoing(allowed_cidrs=["10.0.0.1/8"])


async def test_a_url_is_judged_before_it_is_saved() -> None:
    async with Outgoing() as client:
        client.check_url("https://scan.example.com/hook")
        with pytest.raises(InvalidInputError, match="endpoint_url"):
            client.check_url("http://scan.example.com/hook")
        with pytest.raises(OutgoingRefusedError, match="OUTGOING_ALLOWED_CIDRS"):
            client.check_url("https://10.0.0.1/hook")
    async with opened() as client:
        client.check_url("http://127.0.0.1/hook")


# --- what is sent -------------------------------------------------------------


async def test_body_and_headers_are_sent_as_given() -> None:
    body = os.urandom(300_000)
    async with far_side() as far, opened() as client:
        status = await client.post(
            f"http://127.0.0.1:{far.port}/",
            body=body,
            headers={
                "Content-Type": "application/json",
                "User-Agent": "sluice",
                "Host": "elsewhere.example.com",
                "Content-Length": "1",
            },
        )
        assert status == 200
        assert far.bodies == [body]
        assert far.header("content-type") == "application/json"
        assert far.header("user-agent") == "sluice"
        assert far.header("host") == f"127.0.0.1:{far.port}"
        assert far.heads[0].lower().count("\r\nhost:") == 1


async def test_cookies_are_not_kept() -> None:
    baking = OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n")
    async with far_side(baking) as far, opened() as client:
        for _ in range(2):
            assert await post(client, f"http://127.0.0.1:{far.port}/") == 200
        assert far.header("cookie") is None


async def test_a_header_with_a_line_break_is_refused_and_not_shown() -> None:
    async with far_side() as far, opened() as client:
        with pytest.raises(OutgoingFailedError) as caught:
            await client.post(
                f"http://127.0.0.1:{far.port}/",
                body=b"",
                headers={"X-Secret": "hunter2\r\nX-More: 1"},
            )
        assert "hunter2" not in caught.value.detail
        assert far.heads == []


@pytest.mark.parametrize("status", [201, 204, 302, 404, 410, 429, 500, 599])
async def test_every_status_comes_back(status: int) -> None:
    answer = b"HTTP/1.1 %d What\r\nContent-Length: 0\r\n\r\n" % status
    if status == 204:
        answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    async with far_side(answer) as far, opened() as client:
        assert await post(client, f"http://127.0.0.1:{far.port}/") == status
