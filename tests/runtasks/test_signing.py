"""The headers of a call, and how a key is kept."""

import hashlib
import hmac
from dataclasses import replace

import pytest

from sluice import __version__
from sluice.auth.keyring import KeyRing, UnsealError
from sluice.base.ids import RunTaskId
from sluice.runtasks.sealing import key_of, with_key
from sluice.runtasks.signing import headers_for
from sluice.wire.run_task import verify, verify_webhook
from tests.runtasks.definitions import make_run_task

BODY = '{"a":"✓"}'.encode()
KEYRING = KeyRing([bytes(range(32))])


def test_a_signed_call_says_who_sends_it_and_what_it_is() -> None:
    headers = headers_for(
        BODY, key="s3crét", prefixed=False, message_id="rtr-1", timestamp=1700000000
    )
    digest = hmac.new("s3crét".encode(), BODY, hashlib.sha512).hexdigest()
    assert headers == {
        "Content-Type": "application/json",
        "User-Agent": f"IaC-Platform/1.0 (sluice {__version__})",
        "X-TFC-Task-Signature": digest,
        "webhook-id": "rtr-1",
        "webhook-timestamp": "1700000000",
        "webhook-signature": headers["webhook-signature"],
    }
    assert verify("s3crét", BODY, headers["X-TFC-Task-Signature"])
    assert verify_webhook(
        "s3crét", "rtr-1", 1700000000, BODY, headers["webhook-signature"]
    )


def test_a_prefix_is_put_before_the_one_signature_that_has_none() -> None:
    plain, prefixed = (
        headers_for(BODY, key="k", prefixed=given, message_id="m", timestamp=1)
        for given in (False, True)
    )
    name = "X-TFC-Task-Signature"
    assert prefixed[name] == f"sha512={plain[name]}"
    assert prefixed["webhook-signature"] == plain["webhook-signature"]


def test_without_a_key_the_signature_of_hcp_is_there_and_empty() -> None:
    headers = headers_for(BODY, key="", prefixed=True, message_id="m", timestamp=1)
    assert headers["X-TFC-Task-Signature"] == ""
    assert headers["webhook-id"] == "m"
    assert "webhook-signature" not in headers


def test_a_key_is_sealed_for_its_run_task_alone() -> None:
    bare = make_run_task("scan")
    assert key_of(KEYRING, bare) == ""
    sealed = with_key(KEYRING, bare, "grün")
    assert sealed.sealed_key is not None
    assert "grün".encode() not in sealed.sealed_key
    assert key_of(KEYRING, sealed) == "grün"
    with pytest.raises(UnsealError, match="run-task-key:rt-other"):
        key_of(KEYRING, replace(sealed, id=RunTaskId("rt-other")))


def test_no_key_keeps_the_former_one_and_an_empty_one_takes_it_away() -> None:
    sealed = with_key(KEYRING, make_run_task("scan"), "k")
    assert with_key(KEYRING, sealed, None) == sealed
    assert with_key(KEYRING, sealed, "") == replace(sealed, sealed_key=None)
    assert key_of(KEYRING, with_key(KEYRING, sealed, "other")) == "other"
