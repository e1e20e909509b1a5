import json

import pytest

from sluice.terraform.statefile import BadStateError, parse_state, with_serial

STATE = b"""{
  "version": 4,
  "terraform_version": "1.11.4",
  "serial": 7,
  "lineage": "0b1c",
  "outputs": {
    "who": {"value": "bob", "type": "string"},
    "key": {"value": {"a": [1]}, "type": ["object", {}], "sensitive": true}
  },
  "resources": [
    {"mode": "managed", "type": "t", "instances": [{"attributes": {"n": 1.10}}, {}]},
    {"mode": "data", "type": "d", "instances": [{}]},
    {"mode": "managed", "type": "t", "instances": []}
  ],
  "check_results": null
}
"""


def test_a_state_says_what_it_is() -> None:
    state = parse_state(STATE)
    assert (state.serial, state.lineage) == (7, "0b1c")
    assert state.terraform_version == "1.11.4"
    assert state.resource_count == 2
    assert bytes(state.outputs["who"].value) == b'"bob"'
    assert state.outputs["key"].sensitive


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON"),
        (b"hello", "not JSON"),
        (b'{"version": 4', "not JSON"),
        (b"\xff\xfe{", "not JSON"),
        (b"[]", "Expected `object`"),
        (b"{}", "`version`"),
        (b'{"version": 3, "serial": 1, "lineage": "x"}', "version 3"),
        (b'{"version": 4, "lineage": "x"}', "`serial`"),
        (b'{"version": 4, "serial": 1}', "`lineage`"),
        (b'{"version": 4, "serial": 1, "lineage": ""}', "lineage"),
        (b'{"version": 4, "serial": 1, "lineage": "a\\u0000"}', "lineage"),
        (b'{"version": 4, "serial": -1, "lineage": "x"}', "serial"),
        (b'{"version": 4, "serial": "1", "lineage": "x"}', "serial"),
        (b'{"version": 4, "serial": 99999999999999999999, "lineage": "x"}', "serial"),
        (b'{"version": 4, "serial": 1, "lineage": "x", "outputs": []}', "outputs"),
        (b"[" * 100_000 + b"]" * 100_000, "Expected `object`"),
        (
            b'{"version": 4, "serial": 1, "lineage": "x", "more": '
            + b"[" * 100_000
            + b"]" * 100_000
            + b"}",
            "too deeply",
        ),
    ],
    ids=str,
)
def test_what_is_no_state_is_said(content: bytes, said: str) -> None:
    with pytest.raises(BadStateError) as refused:
        parse_state(content)
    assert said in str(refused.value)


def test_another_serial_changes_nothing_else() -> None:
    raised = with_serial(STATE, 12)
    assert parse_state(raised).serial == 12
    assert json.loads(raised) == {**json.loads(STATE), "serial": 12}
    assert b"1.10" in raised
