"""A far side on loopback that counts who connects and says what a test wants."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Say = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class FarSide:
    """What came in: connections (at this address of ours), heads of requests, and bodies."""

    port: int = 0
    connections: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    open: int = 0
    most: int = 0

    def header(self, name: str) -> str | None:
        """A header of the last request."""
        for line in self.heads[-1].split("\r\n"):
            key, _, value = line.partition(": ")
            if key.lower() == name:
                return value
        return None


def saying(answer: bytes) -> Say:
    """Answer these bytes."""

    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return say


@asynccontextmanager
async def far_side(
    say: Say | bytes | None = OK,
    *,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[FarSide]:
    """A server that reads requests and answers each with ``say``; None for silence."""
    far = FarSide()
    answer = saying(say) if isinstance(say, bytes) else say
    going: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far.connections.append(writer.get_extra_info("sockname")[0])
        far.open += 1
        far.most = max(far.most, far.open)
        going.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                far.heads.append(head)
                size = int(far.header("content-length") or 0)
                far.bodies.append(await reader.readexactly(size))
                if answer is None:
                    await reader.read()  # until the other side is gone
                    return
                await answer(writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            far.open -= 1
            going.discard(writer)
            writer.transport.abort()

    async with AsyncExitStack() as stack:
        server = await asyncio.start_server(serve, host, 0, ssl=tls, backlog=2048)
        await stack.enter_async_context(_stopped(server, going))
        far.port = server.sockets[0].getsockname()[1]
        if host == "0.0.0.0":
            with suppress(OSError):  # where there is no IPv6
                beside = await asyncio.start_server(serve, "::1", far.port)
                await stack.enter_async_context(_stopped(beside, going))
        yield far


@asynccontextmanager
async def _stopped(
    server: asyncio.Server, going: set[asyncio.StreamWriter]
) -> AsyncIterator[None]:
    try:
        yield
    finally:
        server.close()
        for writer in list(going):
            writer.transport.abort()
        await asyncio.sleep(0)


# --- certificates -------------------------------------------------------------


@dataclass(frozen=True)
class Authority:
    """A certificate authority of a test."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def new(cls) -> "Authority":
        """One that nobody trusts yet."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        made = _certificate(name, name, key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        return cls(made.sign(key, hashes.SHA256()), key)

    def file(self, folder: Path) -> Path:
        """Its certificate as PEM."""
        file = folder / "authority.pem"
        file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return file

    def trusting(self) -> ssl.SSLContext:
        """A client's context that trusts this authority alone."""
        pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()
        return ssl.create_default_context(cadata=pem)

    def serving(self, host: str, folder: Path) -> ssl.SSLContext:
        """A server's context with a certificate for ``host``."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        try:
            subject: x509.GeneralName = x509.IPAddress(ip_address(host))
        except ValueError:
            subject = x509.DNSName(host)
        made = _certificate(name, self.certificate.subject, key).add_extension(
            x509.SubjectAlternativeName([subject]), critical=False
        )
        file = folder / f"{x509.random_serial_number()}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + made.sign(self.key, hashes.SHA256()).public_bytes(
                serialization.Encoding.PEM
            )
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(file)
        return context


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
