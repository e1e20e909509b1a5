"""Writes a message as an e-mail of plain text; no name can become a header of it."""

import re
from collections.abc import Mapping
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

from sluice.notifications.words import facts, headline, link

SUBJECT_LENGTH = 200
_ADDRESS = re.compile(
    r"(?P<user>[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*)"
    r"@(?P<domain>[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
    r"(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*)"
)


def is_address(text: str) -> bool:
    """Whether a text is an e-mail address as mail servers everywhere take it."""
    return len(text) <= 254 and _ADDRESS.fullmatch(text) is not None


def mail_of(
    content: Mapping[str, Any],
    *,
    message_id: str,
    sender: str,
    recipient: str,
    at: datetime,
) -> EmailMessage:
    """The mail of a message to one recipient.

    Args:
        content: what is told.
        message_id: names the message; a repetition has the same.
        sender: the address it comes from.
        recipient: whom it is for.
        at: when it is sent.
    """
    mail = EmailMessage(policy=SMTP)
    # EmailMessage decodes such words in what it is given, line ends included
    subject = headline(content).replace("=?", "= ?")
    if len(subject) > SUBJECT_LENGTH:
        subject = subject[: SUBJECT_LENGTH - 1] + "…"
    mail["From"] = Address("Sluice", addr_spec=sender)
    mail["To"] = Address(addr_spec=recipient)
    mail["Subject"] = subject
    mail["Date"] = at
    mail["Message-ID"] = f"<{message_id}@{sender.rpartition('@')[2]}>"
    # so that out-of-office answers stay away
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(_text(content, subject))
    return mail


def _text(content: Mapping[str, Any], subject: str) -> str:
    lines = [subject, ""]
    lines += [f"{name}: {value}" for name, value in facts(content)]
    address = link(content)
    lines += ["", address] if address else []
    told_by = content["data"]["notification"]
    lines += ["", "-- ", f"Sent by Sluice for the notification {told_by['id']}."]
    return "\n".join(lines) + "\n"
