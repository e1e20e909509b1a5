"""The headers of a call to a run task: what it is, and the signatures of its exact body."""

from sluice import __version__
from sluice.wire.run_task import (
    SIGNATURE_HEADER,
    WEBHOOK_ID_HEADER,
    WEBHOOK_SIGNATURE_HEADER,
    WEBHOOK_TIMESTAMP_HEADER,
    sign,
    sign_webhook,
)

USER_AGENT = f"IaC-Platform/1.0 (sluice {__version__})"


def headers_for(
    body: bytes, *, key: str, prefixed: bool, message_id: str, timestamp: int
) -> dict[str, str]:
    """Headers of a call with this body.

    HCP's signature is there without a key too, and empty then; the one of Standard Webhooks
    is not.

    Args:
        body: the exact bytes that are sent.
        key: the run task's key; empty where calls are not signed.
        prefixed: whether HCP's signature is sent as `sha512=<hex>`.
        message_id: names the message; a call that is made again has the same one.
        timestamp: seconds since the epoch.
    """
    headers = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        SIGNATURE_HEADER: sign(key, body, prefixed=prefixed),
        WEBHOOK_ID_HEADER: message_id,
        WEBHOOK_TIMESTAMP_HEADER: str(timestamp),
    }
    if key:
        signature = sign_webhook(key, message_id, timestamp, body)
        headers[WEBHOOK_SIGNATURE_HEADER] = signature
    return headers
