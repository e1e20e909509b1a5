"""Reads a call: is it the platform's, is it fresh, and what does it ask?"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import msgspec
from typing_extensions import override

from sluice.base.errors import ForbiddenError, InvalidInputError, UnauthorizedError
from sluice.wire.run_task import (
    SIGNATURE_HEADER,
    TEST_TOKEN,
    WEBHOOK_ID_HEADER,
    WEBHOOK_SIGNATURE_HEADER,
    WEBHOOK_TIMESTAMP_HEADER,
    verify,
    verify_webhook,
)

REPLAY_WINDOW_SECONDS = 300
"""A call that names its time may be this old, or this far ahead of our clock."""

_PORTS = {"http": 80, "https": 443}
_LONGEST_ID = 200
_TOKEN = re.compile(r"[!-~]{1,8192}")
"""What a header can carry; an HTTP client would name anything else in its error."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What the platform asks; fields that a service does not need are left out."""

    access_token: str
    stage: str
    task_result_id: str
    task_result_callback_url: str
    task_result_enforcement_level: str | None = None
    plan_json_api_url: str | None = None
    organization_name: str | None = None
    workspace_id: str | None = None
    workspace_name: str | None = None
    run_id: str | None = None
    run_app_url: str | None = None
    run_message: str | None = None
    run_created_by: str | None = None
    is_speculative: bool | None = None

    @property
    def verifies(self) -> bool:
        """Whether it only asks if somebody is there."""
        return self.access_token == TEST_TOKEN

    @override
    def __repr__(self) -> str:
        """Without the token."""
        return f"Call(stage={self.stage!r})"


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose calls are taken.

    Attributes:
        key: the run task's key; empty where calls are not signed.
        server: where callbacks and plans must be; empty for anywhere.
    """

    key: str
    server: str = ""


_decoder: msgspec.json.Decoder[Call] = msgspec.json.Decoder(Call)


def read_call(body: bytes) -> Call:
    """The call in a request's body.

    Raises:
        InvalidInputError: it is none; the detail names the field.
    """
    try:
        call = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInputError(f"This is no run task call: {error}.") from None
    if not 0 < len(call.task_result_id) <= _LONGEST_ID:
        raise InvalidInputError("This is no run task call: task_result_id is missing.")
    if not _TOKEN.fullmatch(call.access_token):
        raise InvalidInputError("This is no run task call: access_token is no token.")
    return call


def check_host(trust: Trust, host: str) -> None:
    """Whether a call that nothing else proves was sent to this machine by this machine.

    A page of another site can have its own name lead here, and then a browser sends calls
    under that name; under an address or `localhost` it asks first, and gets no answer.

    Raises:
        ForbiddenError: there is no key, and the call was sent to some other name.
    """
    if not trust.key and not is_loopback(_host_of(host)):
        raise ForbiddenError(
            f"The call was sent to {host[:80]!r}, and without a key only calls to 127.0.0.1"
            " or localhost are taken; start the service with --hmac-key-env or"
            " --hmac-key-file."
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address or name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _host_of(authority: str) -> str:
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


def check_signature(
    trust: Trust, headers: Mapping[str, str], body: bytes, now: datetime
) -> None:
    """Whether whoever holds the key sent exactly these bytes, and lately.

    ``headers`` must not mind the case of names.

    Raises:
        UnauthorizedError: it is not signed, or not with our key, or too old.
        InvalidInputError: it is signed, and we have no key to check that with.
    """
    signature = headers.get(SIGNATURE_HEADER, "")
    if not trust.key:
        if signature:
            raise InvalidInputError(
                "The call is signed, and this service has no key to check that with; start"
                " it with --hmac-key-env or --hmac-key-file."
            )
        return
    if not signature:
        raise UnauthorizedError(
            f"The call is not signed ({SIGNATURE_HEADER} is empty); give the run task the"
            " key of this service."
        )
    if not verify(trust.key, body, signature):
        raise UnauthorizedError(
            f"{SIGNATURE_HEADER} does not fit; the run task and this service must have the"
            " same key."
        )
    if headers.get(WEBHOOK_SIGNATURE_HEADER, ""):
        _check_webhook(trust.key, headers, body, now)


def _check_webhook(
    key: str, headers: Mapping[str, str], body: bytes, now: datetime
) -> None:
    sent = headers.get(WEBHOOK_TIMESTAMP_HEADER, "")
    at = int(sent) if sent.isascii() and sent.isdigit() and len(sent) < 16 else -1
    if abs(now.timestamp() - at) > REPLAY_WINDOW_SECONDS:
        raise UnauthorizedError(
            f"{WEBHOOK_TIMESTAMP_HEADER} is not within {REPLAY_WINDOW_SECONDS} s of this"
            " machine's clock: the call is old, or one of the clocks is wrong."
        )
    message_id = headers.get(WEBHOOK_ID_HEADER, "")
    signatures = headers.get(WEBHOOK_SIGNATURE_HEADER, "")
    if not verify_webhook(key, message_id, at, body, signatures):
        raise UnauthorizedError(f"{WEBHOOK_SIGNATURE_HEADER} does not fit.")


def check_addresses(trust: Trust, call: Call) -> None:
    """Whether the call sends its token only where it may go.

    Raises:
        InvalidInputError: an address is none.
        ForbiddenError: it lies elsewhere than the server that was named at the start.
    """
    wanted = origin(trust.server) if trust.server else ""
    addresses = {
        "task_result_callback_url": call.task_result_callback_url,
        "plan_json_api_url": call.plan_json_api_url,
    }
    for field, address in addresses.items():
        if address is None:
            continue
        found = origin(address)
        if not found:
            raise InvalidInputError(f"{field} is no http or https address.")
        if wanted and found != wanted:
            raise ForbiddenError(
                f"{field} is at {found}, and this service only talks to {wanted}."
            )


def origin(address: str) -> str:
    """Scheme, host and port of an address; empty where it is none for HTTP.

    None either where it holds a user name: no platform sends one, and readers of addresses
    differ in where it ends.
    """
    try:
        parts = urlsplit(address)
        port = parts.port or _PORTS.get(parts.scheme, 0)
        host = parts.hostname or ""
    except ValueError:
        return ""
    if not host or "@" in parts.netloc or parts.scheme not in _PORTS:
        return ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
