"""What travels between Sluice and the services that answer at gates (run tasks).

The wire format is HCP Terraform's run task integration
(https://developer.hashicorp.com/terraform/cloud-docs/api-docs/run-tasks/run-tasks-integration),
with fields of our own beside it, and the headers of Standard Webhooks
(https://www.standardwebhooks.com) beside HCP's signature.
"""

import hashlib
import hmac
from datetime import datetime
from enum import StrEnum

from sluice.wire.webhooks import WEBHOOK_ID_HEADER as WEBHOOK_ID_HEADER
from sluice.wire.webhooks import WEBHOOK_SIGNATURE_HEADER as WEBHOOK_SIGNATURE_HEADER
from sluice.wire.webhooks import WEBHOOK_TIMESTAMP_HEADER as WEBHOOK_TIMESTAMP_HEADER
from sluice.wire.webhooks import encode_payload as encode_payload
from sluice.wire.webhooks import sign_webhook as sign_webhook
from sluice.wire.webhooks import verify_webhook as verify_webhook

SIGNATURE_HEADER = "X-TFC-Task-Signature"
TEST_TOKEN = "test-token"  # noqa: S105 - the word that the protocol has for it
"""The access token of a verification call; it opens nothing."""

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
