"""What services send: both forms, their leniencies, and what is refused by name."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.base.errors import InvalidInputError, TooLargeError
from sluice.runtasks.callback_bodies import (
    MAX_OUTCOME_BYTES,
    Said,
    read_callback,
)
from sluice.wire.run_task import ResultStatus

OUTCOME: dict[str, Any] = {
    "outcome-id": "PRTNR-1",
    "description": "one line",
    "body": "# markdown",
    "url": "https://example.com",
    "tags": {
        "Status": [{"label": "Denied", "level": "error"}],
        "Cost Centre": [{"label": "IT-OPS"}],
    },
}


def read(document: object) -> Said:
    return read_callback(json.dumps(document).encode())


def hcp(outcomes: object = None, at: str = "outcomes", **attributes: Any) -> Any:
    data: dict[str, Any] = {
        "type": "task-results",
        "attributes": {"status": "passed", **attributes},
    }
    if outcomes is not None:
        data["relationships"] = {at: {"data": outcomes}}
    return {"data": data}


def with_attributes(**attributes: Any) -> Any:
    return {"data": {"attributes": {"status": "passed", **attributes}}}


def nested(**changes: Any) -> Any:
    return [{"type": "task-result-outcomes", "attributes": {**OUTCOME, **changes}}]


def refused(document: object, field: str) -> str:
    with pytest.raises(InvalidInputError) as error:
        read(document)
    faults = error.value.extra["errors"]
    assert isinstance(faults, list)
    assert [fault["field"] for fault in faults] == [field]
    assert error.value.detail.startswith(field)
    return error.value.detail


@pytest.mark.parametrize("status", ["running", "passed", "failed"])
def test_hcps_document(status: str) -> None:
    said = read(hcp(status=status, message="m", url="https://x.example"))
    assert said == Said(ResultStatus(status), "m", "https://x.example", None)


@pytest.mark.parametrize(
    "document",
    [
        hcp(nested()),
        hcp(nested(), at="task-result-outcomes"),
        with_attributes(outcomes=nested()),
        with_attributes(outcomes=[OUTCOME]),
        {"data": {**hcp(nested())["data"], "type": ""}},
        {"data": {**hcp(nested())["data"], "type": "task_results"}},
    ],
)
def test_outcomes_stand_where_services_put_them(document: object) -> None:
    said = read(document)
    assert said.findings is not None
    [finding] = said.findings
    assert (finding.outcome_id, finding.description) == ("PRTNR-1", "one line")
    assert (finding.body, finding.url) == ("# markdown", "https://example.com")
    assert finding.tags == {
        "Status": ({"label": "Denied", "level": "error"},),
        "Cost Centre": ({"label": "IT-OPS", "level": "none"},),
    }


def test_what_may_be_left_out_is() -> None:
    assert read(hcp()) == Said(ResultStatus.PASSED)
    assert read(hcp(message=None, url=None)) == Said(ResultStatus.PASSED)
    assert read(hcp(message="", url="")) == Said(ResultStatus.PASSED, "", "")
    least = [{"attributes": {"outcome-id": "a", "description": "b"}}]
    said = read(hcp(least))
    assert said.findings is not None
    assert (said.findings[0].body, said.findings[0].tags) == ("", {})
    assert read(hcp([])).findings == ()


def test_the_plain_document() -> None:
    said = read(
        {
            "status": "failed",
            "message": "2 findings",
            "resource_results": [
                {
                    "resource_address": "aws_s3_bucket.logs",
                    "status": "failed",
                    "message": "is public",
                    "severity": "HIGH",
                },
                {"resource_address": "aws_vpc.main", "status": "passed"},
            ],
        }
    )
    assert (said.status, said.message) == (ResultStatus.FAILED, "2 findings")
    assert said.findings is not None
    first, second = said.findings
    assert (first.outcome_id, first.description) == ("aws_s3_bucket.logs", "is public")
    assert first.tags == {
        "Status": ({"label": "failed", "level": "error"},),
        "Severity": ({"label": "HIGH", "level": "error"},),
    }
    assert second.description == "aws_vpc.main"


ATTRIBUTES, AT = "data.attributes", "data.relationships.outcomes.data"
HERE = f"{AT}[0].attributes"


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "body"),
        ("passed", "body"),
        ({}, "status"),
        ({"status": "pending"}, "status"),
        ({"status": ["passed"]}, "status"),
        ({"data": None}, "data"),
        ({"data": []}, "data"),
        ({"data": {}}, ATTRIBUTES),
        ({"data": {"attributes": {}}}, f"{ATTRIBUTES}.status"),
        (hcp(status="errored"), f"{ATTRIBUTES}.status"),
        (hcp(status="Passed"), f"{ATTRIBUTES}.status"),
        (hcp(status=True), f"{ATTRIBUTES}.status"),
        (hcp(message=1), f"{ATTRIBUTES}.message"),
        (hcp(message="x" * 1001), f"{ATTRIBUTES}.message"),
        (hcp(url="x" * 501), f"{ATTRIBUTES}.url"),
        (hcp(url="javascript:alert(1)"), f"{ATTRIBUTES}.url"),
        (hcp("many"), AT),
        (hcp({"a": 1}), AT),
        (hcp(nested() * 251), AT),
        (hcp(["one"]), f"{AT}[0]"),
        (hcp([{"attributes": 5}]), HERE),
        (hcp(nested(**{"outcome-id": None})), f"{HERE}.outcome-id"),
        (hcp(nested(**{"outcome-id": "x" * 65})), f"{HERE}.outcome-id"),
        (hcp(nested(description="")), f"{HERE}.description"),
        (hcp(nested(description="x" * 1001)), f"{HERE}.description"),
        (hcp(nested(body=["x"])), f"{HERE}.body"),
        (hcp(nested(url="ftp://x")), f"{HERE}.url"),
        (hcp(nested(tags=[])), f"{HERE}.tags"),
        (hcp(nested(tags={str(n): [] for n in range(11)})), f"{HERE}.tags"),
        (hcp(nested(tags={"Status": "Denied"})), f"{HERE}.tags.Status"),
        (hcp(nested(tags={"Status": ["Denied"]})), f"{HERE}.tags.Status[0]"),
        (
            hcp(nested(tags={"S": [{"label": "x" * 33}]})),
            f"{HERE}.tags.S[0].label",
        ),
        (
            hcp(nested(tags={"S": [{"label": "x", "level": "red"}]})),
            f"{HERE}.tags.S[0].level",
        ),
        (
            hcp(nested(tags={"S": [{"label": "x", "level": {"a": 1}}]})),
            f"{HERE}.tags.S[0].level",
        ),
        ({"status": "passed", "resource_results": {}}, "resource_results"),
        (
            {"status": "passed", "resource_results": [{"status": "passed"}]},
            "resource_results[0].resource_address",
        ),
    ],
)
def test_what_cannot_be_taken_is_named(document: object, field: str) -> None:
    refused(document, field)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"NaN", b"[" * 100_000, b'{"status": "passed"} x'],
)
def test_what_is_no_json_is_named(content: bytes) -> None:
    with pytest.raises(InvalidInputError, match=r"^body: this is no JSON"):
        read_callback(content)


def test_a_body_of_an_outcome_has_a_limit_in_bytes() -> None:
    fits = "é" * (MAX_OUTCOME_BYTES // 2)
    said = read_callback(
        json.dumps(hcp(nested(body=fits)), ensure_ascii=False).encode()
    )
    assert said.findings is not None
    assert said.findings[0].body == fits
    with pytest.raises(TooLargeError, match=r"outcomes.data\[0\].attributes.body"):
        read(hcp(nested(body="x" * (MAX_OUTCOME_BYTES + 1))))


def test_texts_can_be_stored_everywhere() -> None:
    said = read_callback(b'{"status": "passed", "message": "a\\u0000b"}')
    assert said.message == "a\N{REPLACEMENT CHARACTER}b"
    name = b'{"attributes": {"outcome-id": "a", "description": "b", "tags": {"a\\u0000": []}}}'
    said = read_callback(
        b'{"data": {"attributes": {"status": "passed", "outcomes": [' + name + b"]}}}"
    )
    assert said.findings is not None
    assert list(said.findings[0].tags) == ["a\N{REPLACEMENT CHARACTER}"]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "data",
                    "attributes",
                    "status",
                    "relationships",
                    "outcomes",
                    "tags",
                    "url",
                ]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_json)
def test_whatever_comes_is_taken_or_named(document: object) -> None:
    with suppress(InvalidInputError):
        read(document)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (rb"cut \ud83d", "cut \ufffd"),
        (rb"\uD83D is cut", "\ufffd is cut"),
        (rb"\ude00", "\ufffd"),
        (rb"\ud83d\ud83d\ude00", "\ufffd\N{GRINNING FACE}"),
        (rb"\\\ud83d", "\\\ufffd"),
        (rb"\\ud83d \ud83d", "\\ud83d \ufffd"),
    ],
)
def test_a_text_that_was_cut_within_a_character_is_taken(
    written: bytes, shown: str
) -> None:
    said = read_callback(b'{"status": "passed", "message": "' + written + b'"}')
    assert said.message == shown


def test_half_a_character_excuses_nothing_else() -> None:
    with pytest.raises(InvalidInputError, match="this is no JSON"):
        read_callback(rb'{"status": "passed", "message": "\ud83d"')
    with pytest.raises(InvalidInputError, match="this is no JSON"):
        read_callback(b"\\" * 1_000_000 + rb"\ud83d")
