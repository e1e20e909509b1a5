"""The routes of the audit log."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from pydantic import ValidationError

from sluice.client.answers import one
from sluice.client.errors import ApiError
from sluice.client.paths import api_path
from sluice.client.transport import Params, Transport
from sluice.wire.shapes.audit import AuditEntry, AuditEntryList, AuditHead


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which entries are wanted; None leaves all.

    Attributes:
        organization_id: an id or a name.
        action: how the action begins.
        actor: a name or an id.
        since: a time, as RFC 3339 writes it.
        until: a time, no longer included.
    """

    organization_id: str | None = None
    action: str | None = None
    actor: str | None = None
    subject: str | None = None
    outcome: str | None = None
    address: str | None = None
    since: str | None = None
    until: str | None = None

    def params(self) -> dict[str, str | int | bool | None]:
        """As parameters of a request."""
        given = asdict(self)
        given["from"] = given.pop("since")
        given["to"] = given.pop("until")
        return given


_ALL = AuditQuery()


class AuditApi:
    """Who did what to what."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, which: AuditQuery = _ALL, *, limit: int = 20, before: int | None = None
    ) -> AuditEntryList:
        """Entries of the audit log, the last first; with ``before`` only older ones."""
        params: Params = {**which.params(), "limit": limit, "before": before}
        return one(
            AuditEntryList,
            self._transport.send("GET", api_path("audit"), params=params),
        )

    def head(self) -> AuditHead:
        """The last link of the chain."""
        return one(AuditHead, self._transport.send("GET", api_path("audit", "head")))

    def export(self, which: AuditQuery = _ALL, *, after: int = 0) -> Iterator[str]:
        """Entries as lines of JSON, the first first, from the number after ``after``."""
        params: Params = {**which.params(), "after": after}
        path = api_path("audit", "export")
        with self._transport.stream(path, params=params) as response:
            rest = b""
            for piece in response.iter_bytes():
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    yield line.decode()


def entry_of_line(line: str) -> AuditEntry:
    """The entry that a line of an export holds.

    Raises:
        ApiError: it holds none.
    """
    try:
        return AuditEntry.model_validate_json(line)
    except ValidationError:
        raise ApiError(
            f"{line[:80]!r} is no entry of the audit log; give what `sluice audit export` "
            "has written."
        ) from None
