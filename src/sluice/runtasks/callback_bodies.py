"""Reads what a service says of a task: HCP's JSON:API document, or a plain one of our own.

It is lenient where services differ (types, where outcomes stand, what is left out), and
strict where something would be shown or decided wrongly.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from sluice.base.errors import InvalidInputError, TooLargeError
from sluice.runtasks.model import Finding
from sluice.wire.run_task import ResultStatus, TagLevel
from sluice.wire.texts import storable

MAX_BODY_BYTES = 5 * 1024 * 1024 + 512 * 1024
"""Largest callback: one outcome of the largest size, as JSON, with what stands around it."""
MAX_OUTCOME_BYTES = 5 * 1024 * 1024
MAX_MESSAGE = 1000
MAX_URL = 500
MAX_OUTCOMES = 250
MAX_RESOURCE_RESULTS = 1000
MAX_OUTCOME_ID = 64
MAX_ADDRESS = 1000
MAX_DESCRIPTION = 1000
MAX_TAGS = 10
MAX_LABEL = 32
MAX_TAG_NAME = 64

SAID = {
    status.value: status
    for status in (ResultStatus.RUNNING, ResultStatus.PASSED, ResultStatus.FAILED)
}
"""What a service may say."""

_HEX = rb"[0-9a-fA-F]"
_HIGH, _LOW = rb"\\u[dD][89abAB]" + _HEX * 2, rb"\\u[dD][c-fC-F]" + _HEX * 2
# an escape: behind it stands an even number of backslashes
_HALF = re.compile(
    rb"(?<!\\)((?:\\\\)*)(?:"
    + _HIGH
    + rb"(?!"
    + _LOW
    + rb")|(?<!"
    + _HIGH
    + rb")"
    + _LOW
    + rb")"
)
_MAX_HALVES = 5000
_LEVELS = {level.value for level in TagLevel}
_OUTCOMES_AT = (
    ("relationships", "outcomes", "data"),
    ("relationships", "task-result-outcomes", "data"),
    ("attributes", "outcomes"),
)
_LEVEL_OF_STATUS = {
    "failed": TagLevel.ERROR,
    "error": TagLevel.ERROR,
    "warning": TagLevel.WARNING,
    "passed": TagLevel.INFO,
}
_LEVEL_OF_SEVERITY = {
    "critical": TagLevel.ERROR,
    "high": TagLevel.ERROR,
    "error": TagLevel.ERROR,
    "medium": TagLevel.WARNING,
    "moderate": TagLevel.WARNING,
    "warning": TagLevel.WARNING,
    "low": TagLevel.INFO,
    "info": TagLevel.INFO,
}
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Said:
    """What a service says; None where it says nothing of it."""

    status: ResultStatus
    message: str | None = None
    url: str | None = None
    findings: tuple[Finding, ...] | None = None


def read_callback(content: bytes) -> Said:
    """What stands in the body of a callback.

    Raises:
        InvalidInputError: it cannot be taken; the detail names the field.
        TooLargeError: the body of an outcome is larger than `MAX_OUTCOME_BYTES`.
    """
    fields = _object(_decoded(content), "body")
    return _as_hcp(fields) if "data" in fields else _plain(fields)


def _decoded(content: bytes) -> object:
    """What a service says; a text that was cut within a character (by JavaScript, say) counts."""
    try:
        return msgspec.json.decode(content)
    except _NO_JSON as error:
        first = error
    with suppress(*_NO_JSON):
        return msgspec.json.decode(_HALF.sub(rb"\1\\ufffd", content, _MAX_HALVES))
    raise _invalid("body", f"this is no JSON: {first}")


# --- HCP's document --------------------------------------------------------------


def _as_hcp(document: Mapping[str, Any]) -> Said:
    data = _object(document["data"], "data")
    attributes = _object(data.get("attributes"), "data.attributes")
    findings = None
    for path in _OUTCOMES_AT:
        given = _at(data, path)
        if given is not None:
            where = ".".join(("data", *path))
            findings = _list(given, where, MAX_OUTCOMES, _outcome)
            break
    return _said(attributes, "data.attributes.", findings)


def _at(data: Mapping[str, Any], path: Sequence[str]) -> object:
    found: object = data
    for name in path:
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found


def _outcome(given: object, where: str) -> Finding:
    entry = _object(given, where)
    nested = entry.get("attributes")
    if nested is not None:
        where = f"{where}.attributes"
        entry = _object(nested, where)
    body = _text(entry.get("body"), f"{where}.body") or ""
    if len(body.encode()) > MAX_OUTCOME_BYTES:
        raise TooLargeError(
            f"{where}.body is larger than {MAX_OUTCOME_BYTES} bytes; send less, and put"
            " the rest behind the outcome's url.",
            limit=MAX_OUTCOME_BYTES,
        )
    return Finding(
        outcome_id=_required(entry, "outcome-id", where, MAX_OUTCOME_ID),
        description=_required(entry, "description", where, MAX_DESCRIPTION),
        url=_url(entry.get("url"), f"{where}.url") or "",
        tags=_tags(entry.get("tags"), f"{where}.tags"),
        body=body,
    )


def _tags(given: object, where: str) -> dict[str, tuple[dict[str, str], ...]]:
    if given is None:
        return {}
    tags = _object(given, where)
    if len(tags) > MAX_TAGS:
        raise _invalid(where, f"has {len(tags)} tags; {MAX_TAGS} are taken")
    return dict(_tag(name, labels, where) for name, labels in tags.items())


def _tag(
    given: str, labels: object, where: str
) -> tuple[str, tuple[dict[str, str], ...]]:
    name = storable(given)
    if not 1 <= len(name) <= MAX_TAG_NAME:
        raise _invalid(where, f"a tag's name has 1 to {MAX_TAG_NAME} characters")
    return name, _list(labels, f"{where}.{name}", MAX_OUTCOMES, _label)


def _label(given: object, where: str) -> dict[str, str]:
    entry = _object(given, where)
    level = _text(entry.get("level"), f"{where}.level") or TagLevel.NONE.value
    if level not in _LEVELS:
        wanted = ", ".join(sorted(_LEVELS))
        raise _invalid(f"{where}.level", f"{_shown(level)} is none of {wanted}")
    return {"label": _required(entry, "label", where, MAX_LABEL), "level": level}


# --- the plain document ----------------------------------------------------------


def _plain(document: Mapping[str, Any]) -> Said:
    given, findings = document.get("resource_results"), None
    if given is not None:
        findings = _list(
            given, "resource_results", MAX_RESOURCE_RESULTS, _resource_result
        )
    return _said(document, "", findings)


def _resource_result(given: object, where: str) -> Finding:
    entry = _object(given, where)
    address = _required(entry, "resource_address", where, MAX_ADDRESS)
    message = _text(entry.get("message"), f"{where}.message", MAX_DESCRIPTION)
    levels = {"status": _LEVEL_OF_STATUS, "severity": _LEVEL_OF_SEVERITY}
    tags = {}
    for name, known in levels.items():
        label = _text(entry.get(name), f"{where}.{name}", MAX_LABEL)
        if label:
            level = known.get(label.lower(), TagLevel.NONE)
            tags[name.capitalize()] = ({"label": label, "level": level.value},)
    return Finding(address, message or address, "", tags, "")


# --- what both have --------------------------------------------------------------


def _said(
    fields: Mapping[str, Any], prefix: str, findings: tuple[Finding, ...] | None
) -> Said:
    status = fields.get("status")
    if not isinstance(status, str) or status not in SAID:
        wanted = ", ".join(SAID)
        raise _invalid(f"{prefix}status", f"{_shown(status)} is none of {wanted}")
    return Said(
        status=SAID[status],
        message=_text(fields.get("message"), f"{prefix}message", MAX_MESSAGE),
        url=_url(fields.get("url"), f"{prefix}url"),
        findings=findings,
    )


def _object(given: object, where: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise _invalid(where, f"is {_shown(given)}; an object is wanted")
    return given


def _list(
    given: object, where: str, most: int, read: Callable[[object, str], _Item]
) -> tuple[_Item, ...]:
    if not isinstance(given, list):
        raise _invalid(where, f"is {_shown(given)}; a list is wanted")
    if len(given) > most:
        raise _invalid(where, f"has {len(given)} entries; {most} are taken")
    return tuple(read(one, f"{where}[{at}]") for at, one in enumerate(given))


def _required(entry: Mapping[str, Any], name: str, where: str, most: int) -> str:
    found = _text(entry.get(name), f"{where}.{name}", most)
    if not found:
        raise _invalid(f"{where}.{name}", "is missing")
    return found


def _text(given: object, where: str, most: int | None = None) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str):
        raise _invalid(where, f"is {_shown(given)}; a text is wanted")
    if most is not None and len(given) > most:
        raise _invalid(where, f"has {len(given)} characters; {most} are taken")
    return storable(given)


def _url(given: object, where: str) -> str | None:
    url = _text(given, where, MAX_URL)
    # it becomes a link on a page
    if url and not url.lower().startswith(("https://", "http://")):
        raise _invalid(where, "is no http:// or https:// address")
    return url


def _shown(given: object) -> str:
    """A value in an error: its kind where it is large."""
    match given:
        case None:
            return "nothing"
        case dict():
            return "an object"
        case list():
            return "a list"
        case _:
            return repr(given)[:80]


def _invalid(field: str, message: str) -> InvalidInputError:
    return InvalidInputError(
        f"{field}: {message}.", errors=[{"field": field, "message": message}]
    )
