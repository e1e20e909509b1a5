"""Mails reach a real mail server, over each kind of connection, or it is said why not."""

import asyncio
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import pytest

from sluice.notifications import relay as relays
from sluice.notifications.mail import mail_of
from sluice.notifications.relay import SmtpRelay, SmtpSettings, SmtpTls
from sluice.notifications.schedule import Outcome
from sluice.testing.processes import free_port
from tests.notifications.mail_box import mail_server
from tests.notifications.rig import NOW, document

TO = "ops@example.com"


def mail(to: str = TO, name: str = "hello ü") -> EmailMessage:
    told = document()
    told["data"]["workspace"]["name"] = name
    return mail_of(
        told, message_id="msg-1", sender="sluice@example.com", recipient=to, at=NOW
    )


@pytest.mark.parametrize("tls", list(SmtpTls))
async def test_a_mail_arrives(tmp_path: Path, tls: SmtpTls) -> None:
    with mail_server(tmp_path, tls) as server:
        tried = await SmtpRelay(server.settings()).send(mail(), recipient=TO)
        assert (tried.outcome, tried.why) == (Outcome.SENT, "")
        [(recipient, taken)] = server.mails
    assert recipient == TO
    assert taken["Subject"] == "acme/hello ü: plan and apply is complete"
    assert taken["To"] == TO
    assert taken["Message-ID"] == "<msg-1@example.com>"
    assert "running → success" in taken.get_content()


async def test_what_is_refused_for_good_and_for_now(tmp_path: Path) -> None:
    with mail_server(tmp_path, SmtpTls.NONE) as server:
        relay = SmtpRelay(server.settings())
        gone = await relay.send(mail("gone@example.com"), recipient="gone@example.com")
        busy = await relay.send(mail("busy@example.com"), recipient="busy@example.com")
        assert server.mails == []
    assert (gone.outcome, gone.status_code) == (Outcome.REFUSED, 550)
    assert "no such box" in gone.why
    assert (busy.outcome, busy.status_code) == (Outcome.FAILED, 451)


async def test_no_mail_goes_to_a_server_that_is_not_trusted(tmp_path: Path) -> None:
    for tls in (SmtpTls.STARTTLS, SmtpTls.TLS):
        root = tmp_path / tls.value
        root.mkdir()
        with mail_server(root, tls) as server:
            relay = SmtpRelay(server.settings(trusted=False))
            tried = await relay.send(mail(), recipient=TO)
            assert server.mails == []
        assert tried.outcome is Outcome.FAILED
        assert "certificate" in tried.why


async def test_no_mail_goes_in_the_clear_where_starttls_is_asked_for(
    tmp_path: Path,
) -> None:
    with mail_server(tmp_path, SmtpTls.NONE) as server:
        asked = replace(server.settings(), tls=SmtpTls.STARTTLS)
        tried = await SmtpRelay(asked).send(mail(), recipient=TO)
        assert server.mails == []
    assert tried.outcome is Outcome.FAILED


async def test_a_server_that_is_away_or_silent_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = SmtpSettings(
        host="127.0.0.1", port=free_port(), tls=SmtpTls.NONE, sender="s@example.com"
    )
    away = await SmtpRelay(settings).send(mail(), recipient=TO)
    assert away.outcome is Outcome.FAILED

    hung_up = asyncio.Event()

    async def say_nothing(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.read()
        writer.close()
        hung_up.set()

    monkeypatch.setattr(relays, "SEND_SECONDS", 0.3)
    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with silent:
        tried = await SmtpRelay(replace(settings, port=port)).send(mail(), recipient=TO)
        async with asyncio.timeout(30):
            await hung_up.wait()
    assert tried.outcome is Outcome.FAILED
    assert tried.status_code is None


def test_without_a_host_there_is_no_sender() -> None:
    assert SmtpRelay(SmtpSettings(sender="s@example.com")).sender == ""
    assert "hunter2" not in repr(SmtpSettings(password="hunter2"))
