"""A mail server, run as a process: keeps mails as files, and refuses some recipients.

Its arguments are the port, a directory, and with TLS `starttls` or `tls`, a certificate
and its key. `gone@…` is refused for good, `busy@…` for now; each mail lies in a file whose
first line is its recipient.
"""

import asyncio
import ssl
import sys
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session


class Box:
    """What becomes of mails."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0

    async def handle_RCPT(  # noqa: N802 - the library's name
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        if address.startswith("gone@"):
            return "550 5.1.1 no such box"
        if address.startswith("busy@"):
            return "451 4.2.0 come again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - the library's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        self._count += 1
        name = f"{self._count:04}"
        recipients = ",".join(envelope.rcpt_tos).encode()
        part = self._directory / f"{name}.part"
        part.write_bytes(recipients + b"\n" + content)
        part.rename(self._directory / f"{name}.eml")
        return "250 kept"


async def serve(port: int, directory: Path, tls: list[str]) -> None:
    """Until the process is ended."""
    context = None
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tls[1], tls[2])
    options: dict[str, Any] = {"hostname": "mail.test"}
    if tls and tls[0] == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    loop, box = asyncio.get_running_loop(), Box(directory)
    server = await loop.create_server(
        lambda: SMTP(box, **options),
        "127.0.0.1",
        port,
        ssl=context if tls and tls[0] == "tls" else None,
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
