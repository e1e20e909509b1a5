"""What travels between Sluice and the services that answer at gates (run tasks).

The wire format is HCP Terraform's run task integration
(https://developer.hashicorp.com/terraform/cloud-docs/api-docs/run-tasks/run-tasks-integration),
with fields of our own beside it, and the headers of Standard Webhooks
(https://www.standardwebhooks.com) beside HCP's signature.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

SIGNATURE_HEADER = "X-TFC-Task-Signature"
WEBHOOK_ID_HEADER = "webhook-id"
WEBHOOK_TIMESTAMP_HEADER = "webhook-timestamp"
WEBHOOK_SIGNATURE_HEADER = "webhook-signature"
TEST_TOKEN = "test-token"  # noqa: S105 - the word that the protocol has for it
"""The access token of a verification call; it opens nothing."""

_WHSEC = "whsec_"
PREFIXED = "sha512="
"""What stands before the signature for services that expect that form."""


class RunTaskStage(StrEnum):
    """When a service is asked."""

    PRE_PLAN = "pre_plan"
    POST_PLAN = "post_plan"
    PRE_APPLY = "pre_apply"
    POST_APPLY = "post_apply"


class EnforcementLevel(StrEnum):
    """What a failure does: warn, or stop the task."""

    ADVISORY = "advisory"
    MANDATORY = "mandatory"


class ResultStatus(StrEnum):
    """Where a result stands."""

    PENDING = "pending"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    TIMEOUT = "timeout"
    SKIPPED = "skipped"
    CANCELED = "canceled"


FINAL = frozenset(ResultStatus) - {ResultStatus.PENDING, ResultStatus.RUNNING}
"""Statuses after which a result does not change any more."""


class TagLevel(StrEnum):
    """How a tag is coloured."""

    NONE = "none"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def encode_payload(payload: Mapping[str, Any]) -> bytes:
    """The body as it is sent: byte for byte what `JSON.stringify` makes of it.

    Services that parse and serialise again before they verify get the same bytes.
    """
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()


def instant(at: datetime) -> str:
    """An instant as HCP writes it: UTC with milliseconds and `Z`."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def sign(key: str, body: bytes, *, prefixed: bool = False) -> str:
    """The value of `SIGNATURE_HEADER`: hex HMAC-SHA512 of the exact body; empty without a key."""
    if not key:
        return ""
    digest = hmac.new(key.encode(), body, hashlib.sha512).hexdigest()
    return PREFIXED + digest if prefixed else digest


def verify(key: str, body: bytes, signature: str) -> bool:
    """Whether ``signature`` (with or without `PREFIXED`) is the body's under ``key``."""
    wanted = sign(key, body).encode()
    given = signature.removeprefix(PREFIXED).lower().encode()
    return bool(wanted) and hmac.compare_digest(wanted, given)


def sign_webhook(key: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `WEBHOOK_SIGNATURE_HEADER` (Standard Webhooks, `v1`); empty without a key.

    Args:
        key: the run task's key. `whsec_` with base64 behind it is a secret as the
            libraries of Standard Webhooks take it; of another key the UTF-8 bytes are.
        message_id: the value of `WEBHOOK_ID_HEADER`.
        timestamp: seconds since the epoch, the value of `WEBHOOK_TIMESTAMP_HEADER`.
        body: the exact body.
    """
    if not key:
        return ""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(_webhook_secret(key), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def _webhook_secret(key: str) -> bytes:
    if key.startswith(_WHSEC):
        try:
            return base64.b64decode(key.removeprefix(_WHSEC), validate=True)
        except ValueError:
            pass
    return key.encode()


def verify_webhook(
    key: str, message_id: str, timestamp: int, body: bytes, signatures: str
) -> bool:
    """Whether one of the blank-separated ``signatures`` is the message's under ``key``."""
    wanted = sign_webhook(key, message_id, timestamp, body).encode()
    return bool(wanted) and any(
        hmac.compare_digest(wanted, given.encode()) for given in signatures.split()
    )
