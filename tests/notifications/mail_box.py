"""Starts the mail server of the tests, with a certificate of its own."""

import ipaddress
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sluice.notifications.relay import SmtpSettings, SmtpTls
from sluice.testing.processes import free_port, listens, running

PROGRAM = Path(__file__).parent / "mail_server.py"


@dataclass(frozen=True)
class MailServer:
    """A server that runs, and where it puts what it takes."""

    port: int
    directory: Path
    certificate: Path
    tls: SmtpTls

    @property
    def mails(self) -> list[tuple[str, EmailMessage]]:
        """Recipients and mails, the first first."""
        found = []
        for path in sorted(self.directory.glob("*.eml")):
            recipient, _, content = path.read_bytes().partition(b"\n")
            mail = message_from_bytes(content, policy=default)
            assert isinstance(mail, EmailMessage)
            found.append((recipient.decode(), mail))
        return found

    def settings(self, *, trusted: bool = True) -> SmtpSettings:
        """How it is reached."""
        context = ssl.create_default_context()
        if trusted:
            context.load_verify_locations(self.certificate)
        return SmtpSettings(
            host="127.0.0.1",
            port=self.port,
            tls=self.tls,
            sender="sluice@example.com",
            context=context,
        )


@contextmanager
def mail_server(root: Path, tls: SmtpTls) -> Iterator[MailServer]:
    """A mail server while the block runs."""
    directory, port = root / "mails", free_port()
    directory.mkdir()
    certificate, key = root / "mail.pem", root / "mail.key"
    make_certificate(certificate, key)
    command = [sys.executable, str(PROGRAM), str(port), str(directory)]
    if tls is not SmtpTls.NONE:
        command += [tls.value, str(certificate), str(key)]
    with running(command, log=root / "mail.log", ready=lambda: listens(port)):
        yield MailServer(port, directory, certificate, tls)


def make_certificate(certificate: Path, key: Path) -> None:
    """A certificate for the loopback address that vouches for itself."""
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(secret, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
