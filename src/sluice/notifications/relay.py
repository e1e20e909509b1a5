"""Hands mails over to the mail server that the settings name, by SMTP."""

import asyncio
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from enum import StrEnum

import aiosmtplib

from sluice.notifications.schedule import SEND_SECONDS, Outcome, Tried
from sluice.wire.texts import one_line

_FOR_GOOD = 500
_LONGEST = 300


class SmtpTls(StrEnum):
    """How the connection to the mail server is protected."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """Where the mail server is; without a ``host`` no mail is sent.

    ``context`` trusts other certificates than the machine's authorities.
    """

    host: str = ""
    port: int = 587
    user: str = ""
    password: str = field(default="", repr=False)
    tls: SmtpTls = SmtpTls.STARTTLS
    sender: str = ""
    context: ssl.SSLContext | None = None


class SmtpRelay:
    """One connection a mail, each within `SEND_SECONDS`."""

    def __init__(self, settings: SmtpSettings) -> None:
        self._settings = settings

    @property
    def sender(self) -> str:
        """The address that mails come from; empty where no mail is sent."""
        return self._settings.sender if self._settings.host else ""

    async def send(self, mail: EmailMessage, *, recipient: str) -> Tried:
        """Hand one mail over; a 5xx answer to it is final, all else is tried again."""
        settings = self._settings
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await aiosmtplib.send(
                    mail,
                    sender=settings.sender,
                    recipients=[recipient],
                    hostname=settings.host,
                    port=settings.port,
                    username=settings.user or None,
                    password=settings.password or None,
                    timeout=SEND_SECONDS,
                    use_tls=settings.tls is SmtpTls.TLS,
                    start_tls=settings.tls is SmtpTls.STARTTLS,
                    tls_context=settings.context,
                )
        except aiosmtplib.SMTPAuthenticationError as error:
            # the server's fault, not the mail's: an administrator can mend it meanwhile
            why = "the mail server does not take SLUICE_SMTP_USER and its password"
            return Tried(Outcome.FAILED, error.code, why)
        except aiosmtplib.SMTPRecipientsRefused as error:
            first = error.recipients[0]
            return _answered(first.code, first.message)
        except aiosmtplib.SMTPResponseException as error:
            return _answered(error.code, error.message)
        except TimeoutError:
            why = f"the mail server gave no answer within {SEND_SECONDS:g} seconds"
            return Tried(Outcome.FAILED, None, why)
        except (aiosmtplib.SMTPException, OSError, ssl.SSLError) as error:
            why = f"the mail server cannot be used: {one_line(str(error))[:_LONGEST]}"
            return Tried(Outcome.FAILED, None, why)
        return Tried(Outcome.SENT, 250)


def _answered(code: int, text: str) -> Tried:
    outcome = Outcome.REFUSED if code >= _FOR_GOOD else Outcome.FAILED
    said = one_line(text)[:_LONGEST]
    return Tried(outcome, code, f"the mail server answered {code}: {said}")
