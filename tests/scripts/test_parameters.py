"""Which parameters may be declared, and which values fit them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.base.errors import InvalidInputError
from sluice.scripts.parameters import environment, faults_of_declared, refuse
from sluice.wire.shapes.scripts import MAX_VALUE, Parameter


def declared(**fields: Any) -> Parameter:
    return Parameter.model_validate({"name": "X", **fields})


HOSTILE = "; rm -rf / #\n$(reboot) `x` 'y' \"z\""
NUMBER = {"type": "number", "min": 0, "max": 1}
PORT = {"type": "integer", "min": 1, "max": 65535}
CHANNEL = {"type": "enum", "choices": ["stable", "beta"]}

FITS: list[tuple[dict[str, Any], object, str]] = [
    ({}, "text", "text"),
    ({}, "", ""),
    ({}, HOSTILE, HOSTILE),
    ({"pattern": "[a-z]+"}, "abc", "abc"),
    (PORT, 443, "443"),
    (PORT, "443", "443"),
    (PORT, 443.0, "443"),
    ({"type": "integer"}, -(10**17), "-100000000000000000"),
    (NUMBER, 0.5, "0.5"),
    (NUMBER, "0.50", "0.50"),
    (NUMBER, 1, "1"),
    ({"type": "number"}, "-1e3", "-1e3"),
    ({"type": "boolean"}, True, "true"),
    ({"type": "boolean"}, "False", "false"),
    (CHANNEL, "beta", "beta"),
]

UNFIT = [
    ({}, 8, "must be a text, in quotes"),
    ({}, ["a"], "must be a text"),
    ({}, {"a": 1}, "must be a text"),
    ({}, "a\0b", "NUL"),
    ({}, "\ud800", "surrogate"),
    ({}, "ü" * MAX_VALUE, f"at most {MAX_VALUE} bytes"),
    ({"pattern": "[a-z]+"}, "abc\n", "must match"),
    ({"pattern": "[a-z]+"}, "abc1", "must match"),
    ({"pattern": "a|b"}, "ax", "must match"),
    (PORT, 0, "from 1 to 65535"),
    (PORT, "65536", "from 1 to 65535"),
    (PORT, True, "whole number"),
    (PORT, 1.5, "whole number"),
    (PORT, "0x10", "whole number"),
    (PORT, "\uff11", "whole number"),
    ({"type": "integer"}, 10**30, "whole number"),
    ({"type": "integer", "min": 3}, 2, "3 or more"),
    ({"type": "integer", "max": 3}, 4, "3 or less"),
    (NUMBER, float("nan"), "usual size"),
    (NUMBER, float("inf"), "usual size"),
    (NUMBER, "nan", "must be a number"),
    ({"type": "number"}, 10**400, "usual size"),
    ({"type": "number"}, "1e999", "usual size"),
    (NUMBER, True, "must be a number"),
    (NUMBER, 2, "from 0 to 1"),
    ({"type": "boolean"}, 1, "true or false"),
    ({"type": "boolean"}, "yes", "true or false"),
    (CHANNEL, "edge", "stable, beta"),
    (CHANNEL, 1, "stable, beta"),
]


@pytest.mark.parametrize(("fields", "value", "text"), FITS)
def test_values_that_fit(fields: dict[str, Any], value: object, text: str) -> None:
    found = environment([declared(**fields)], {"X": value}, {})
    assert found == {"X": text}


@pytest.mark.parametrize(("fields", "value", "words"), UNFIT)
def test_values_that_do_not(fields: dict[str, Any], value: object, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words) as refused:
        environment([declared(**fields)], {"X": value}, {})
    assert refused.value.extra["errors"][0]["field"] == "X"  # type: ignore[index]


def test_every_wrong_field_is_named_at_once() -> None:
    parameters = [
        declared(name="PORT", **PORT),
        declared(name="NAME", required=True),
        declared(name="CHANNEL", **CHANNEL),
    ]
    with pytest.raises(InvalidInputError) as refused:
        environment(
            parameters, {"port": 0, "CHANNEL": "edge", "colour": "red", "Port": 1}, {}
        )
    errors = refused.value.extra["errors"]
    assert isinstance(errors, list)
    assert {error["field"] for error in errors} == {
        *("port", "Port", "CHANNEL", "colour", "NAME")
    }
    unknown = next(error for error in errors if error["field"] == "colour")
    assert unknown["message"] == (
        "is no parameter of this script; it has PORT, NAME, CHANNEL"
    )
    for error in errors:
        assert f"{error['field']}: {error['message']}" in refused.value.detail


def test_a_sentence_names_a_few_wrong_fields_and_counts_the_rest() -> None:
    with pytest.raises(InvalidInputError) as refused:
        environment([], {f"x{number}": 1 for number in range(7)}, {})
    assert refused.value.detail.count("is no parameter") == 5
    assert refused.value.detail.endswith(" (and 2 more)")
    assert len(refused.value.extra["errors"]) == 7  # type: ignore[arg-type]


def test_names_may_come_in_any_case_and_reach_the_script_as_declared() -> None:
    parameters = [declared(name="Install_Dir"), declared(name="port", **PORT)]
    found = environment(parameters, {"install_dir": "/opt", "PORT": 80}, {})
    assert found == {"Install_Dir": "/opt", "port": "80"}


def test_defaults_stand_in_and_null_is_no_value() -> None:
    parameters = [
        declared(name="PORT", **PORT, default=80),
        declared(name="KEY", sensitive=True),
        declared(name="NONE"),
        declared(name="FLAG", type="boolean", default=False),
    ]
    found = environment(parameters, {"port": None}, {"KEY": "hidden"})
    assert found == {"PORT": "80", "KEY": "hidden", "FLAG": "false"}
    assert environment(parameters, {"key": "mine"}, {"KEY": "hidden"})["KEY"] == "mine"


def test_a_version_is_always_taken_and_checked_where_it_is_declared() -> None:
    assert environment([], {"version": "1.2.3"}, {}) == {"VERSION": "1.2.3"}
    with pytest.raises(InvalidInputError, match="version: must match"):
        environment([], {"version": "1\n2"}, {})
    strict = [declared(name="VERSION", required=True, pattern=r"\d+\.\d+")]
    assert environment(strict, {"version": "1.2"}, {}) == {"VERSION": "1.2"}
    for given_ in ({"version": "latest"}, {}):
        with pytest.raises(InvalidInputError):
            environment(strict, given_, {})


def test_a_pattern_takes_no_time_whatever_the_value() -> None:
    slow_elsewhere = [declared(pattern="(a+)+b")]
    with pytest.raises(InvalidInputError, match="must match"):
        environment(slow_elsewhere, {"X": "a" * 5000}, {})


BAD_DECLARATIONS = [
    ([{"name": "PATH"}], "parameters.0.name"),
    ([{"name": "ld_preload"}], "parameters.0.name"),
    ([{"name": "SLUICE_TOKEN"}], "parameters.0.name"),
    ([{"name": "BASH_ENV"}], "parameters.0.name"),
    ([{"name": "PythonPath"}], "parameters.0.name"),
    ([{"name": "IFS"}], "parameters.0.name"),
    ([{"name": "key"}], "parameters.0.name"),
    ([{"name": "Organization"}], "parameters.0.name"),
    ([{"name": "A"}, {"name": "a"}], "parameters.1.name"),
    ([{"name": "A", "type": "enum"}], "parameters.0.choices"),
    ([{"name": "A", "choices": ["x"]}], "parameters.0.choices"),
    ([{"name": "A", "type": "integer", "pattern": "1"}], "parameters.0.pattern"),
    ([{"name": "A", "pattern": "("}], "parameters.0.pattern"),
    ([{"name": "A", "pattern": "a)|(b"}], "parameters.0.pattern"),
    ([{"name": "A", "pattern": "(?=a)"}], "parameters.0.pattern"),
    ([{"name": "A", "min": 1}], "parameters.0.min"),
    ([{"name": "A", "type": "integer", "min": 2, "max": 1}], "parameters.0.min"),
    ([{"name": "A", "required": True, "default": "x"}], "parameters.0.default"),
    ([{"name": "A", "type": "integer", "default": "x"}], "parameters.0.default"),
    ([{"name": "A", **CHANNEL, "default": "edge"}], "parameters.0.default"),
]


@pytest.mark.parametrize(("given_", "field"), BAD_DECLARATIONS)
def test_declarations_that_are_refused(
    given_: list[dict[str, Any]], field: str
) -> None:
    parameters = [Parameter.model_validate(one) for one in given_]
    faults = faults_of_declared(parameters)
    assert [fault.field for fault in faults] == [field]
    with pytest.raises(InvalidInputError, match=field):
        refuse(faults)


def test_usual_declarations_are_taken() -> None:
    parameters = [
        declared(name="VERSION", pattern=r"\d+(\.\d+)*", default="1.0"),
        declared(name="port", **PORT, default=80),
        declared(name="ratio", **NUMBER, default=0.5),
        declared(name="channel", **CHANNEL, default="stable"),
        declared(name="dry_run", type="boolean", default=True),
        declared(name="PREFIX", required=True),
        declared(name="LICENSE_KEY", sensitive=True, default="x"),
    ]
    assert faults_of_declared(parameters) == []
    refuse([])


@given(st.text(max_size=200))
def test_a_text_reaches_the_environment_as_it_is_or_not_at_all(text: str) -> None:
    try:
        found = environment([declared()], {"X": text}, {})
    except InvalidInputError:
        assert "\0" in text or any("\ud800" <= c <= "\udfff" for c in text)
    else:
        assert found == {"X": text}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    ),
    st.sampled_from([{}, PORT, NUMBER, CHANNEL, {"type": "boolean"}]),
)
def test_any_value_is_taken_or_refused_in_words(
    value: object, fields: dict[str, Any]
) -> None:
    try:
        found = environment([declared(**fields)], {"X": value}, {})
    except InvalidInputError as error:
        found = {"refused": error.detail[:3]}
    assert found in ({"refused": "X: "}, {}) or isinstance(found["X"], str)
    assert (found == {}) == (value is None)
