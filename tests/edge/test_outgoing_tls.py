import asyncio
from pathlib import Path

import pytest

from sluice.edge.outgoing import Outgoing, OutgoingFailedError
from tests.edge.calls import LOOPBACK, NAME, Answers, descriptors, post, settled
from tests.edge.far_side import Authority, far_side


async def test_tls_and_host_keep_the_name_of_the_url(tmp_path: Path) -> None:
    authority = Authority.new()
    context = authority.serving(NAME, tmp_path)
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    async with (
        far_side(tls=context) as far,
        Outgoing(
            allowed_cidrs=LOOPBACK,
            tls=authority.trusting(),
            resolve=Answers(["127.0.0.1"]),
        ) as client,
    ):
        for host in (NAME, f"{NAME}."):
            assert await post(client, f"https://{host}:{far.port}/") == 200
            assert names[-1] == NAME
            assert far.header("host") == f"{host}:{far.port}"


async def test_an_authority_of_the_environment_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority.new()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file(tmp_path)))
    async with (
        far_side(tls=authority.serving("127.0.0.1", tmp_path)) as far,
        Outgoing(allowed_cidrs=LOOPBACK) as client,
    ):
        assert await post(client, f"https://127.0.0.1:{far.port}/") == 200


async def test_tls_to_an_address_needs_a_certificate_for_it(tmp_path: Path) -> None:
    authority = Authority.new()
    async with (
        far_side(tls=authority.serving("127.0.0.1", tmp_path)) as far,
        Outgoing(allowed_cidrs=LOOPBACK, tls=authority.trusting()) as client,
    ):
        assert await post(client, f"https://127.0.0.1:{far.port}/") == 200


async def test_certificates_of_strangers_and_of_other_names_are_refused(
    tmp_path: Path,
) -> None:
    authority, stranger = Authority.new(), Authority.new()
    before = descriptors()
    for server, client_tls in (
        (stranger.serving(NAME, tmp_path), authority.trusting()),
        (authority.serving("other.example.com", tmp_path), authority.trusting()),
        (authority.serving(NAME, tmp_path), None),
    ):
        async with (
            far_side(tls=server) as far,
            Outgoing(
                allowed_cidrs=LOOPBACK, tls=client_tls, resolve=Answers(["127.0.0.1"])
            ) as client,
        ):
            with pytest.raises(OutgoingFailedError, match="certificate is not trusted"):
                await post(client, f"https://{NAME}:{far.port}/")
            assert far.heads == []
    await settled(before)


async def test_tls_with_what_speaks_none_is_said_in_words() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hunter2 ESMTP\r\n")
        await writer.drain()
        writer.close()

    greeted = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with greeted, Outgoing(allowed_cidrs=LOOPBACK) as client:
        port = greeted.sockets[0].getsockname()[1]
        with pytest.raises(OutgoingFailedError, match="TLS failed") as caught:
            await post(client, f"https://127.0.0.1:{port}/")
        assert "hunter2" not in caught.value.detail
