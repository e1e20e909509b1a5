"""The headers, signature and body of a webhook by Standard Webhooks.

https://www.standardwebhooks.com; run tasks and notifications are sent so.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

WEBHOOK_ID_HEADER = "webhook-id"
WEBHOOK_TIMESTAMP_HEADER = "webhook-timestamp"
WEBHOOK_SIGNATURE_HEADER = "webhook-signature"

_WHSEC = "whsec_"


def encode_payload(payload: Mapping[str, Any]) -> bytes:
    """The body as it is sent: byte for byte what `JSON.stringify` makes of it.

    Services that parse and serialise again before they verify get the same bytes.
    """
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()


def sign_webhook(key: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `WEBHOOK_SIGNATURE_HEADER` (Standard Webhooks, `v1`); empty without a key.

    Args:
        key: what both sides know. `whsec_` with base64 behind it is a secret as the
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
