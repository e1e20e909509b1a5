"""Constraints decide as Terraform's own do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.base.errors import InvalidInputError
from sluice.terraform.versions import (
    Version,
    newest,
    parse_constraint,
    parse_version,
)


@pytest.mark.parametrize(
    ("constraint", "version", "allowed"),
    [
        ("latest", "1.11.4", True),
        ("", "0.12.0", True),
        ("latest", "1.12.0-rc1", False),
        ("1.11.4", "1.11.4", True),
        ("= 1.11.4", "1.11.4", True),
        ("v1.11.4", "1.11.4", True),
        ("1.11.4", "1.11.5", False),
        ("1.11", "1.11.0", True),
        ("1.11", "1.11.4", False),
        ("!= 1.11.4", "1.11.4", False),
        ("!= 1.11.4", "1.11.3", True),
        ("~> 1.11.0", "1.11.9", True),
        ("~> 1.11.0", "1.12.0", False),
        ("~> 1.11.5", "1.11.4", False),
        ("~> 1.11", "1.99.0", True),
        ("~> 1.11", "2.0.0", False),
        ("~> 1", "1.2.3", True),
        ("~> 1", "2.0.0", False),
        (">= 1.5, < 2", "1.11.4", True),
        (">= 1.5, < 2", "2.0.0", False),
        (">= 1.5, < 2", "1.4.9", False),
        (">=1.5,<2", "1.5.0", True),
        ("> 1.5", "1.5.0", False),
        ("<= 1.5", "1.5.0", True),
        (">= 1.0", "1.12.0-rc1", False),
        (">= 1.12.0-alpha1", "1.12.0-rc1", True),
        (">= 1.12.0-alpha1", "1.13.0-rc1", False),
        (">= 1.12.0-alpha1", "1.13.0", True),
        ("1.12.0-rc1", "1.12.0-rc1", True),
        ("~> 1.12.0-beta1", "1.12.0-beta2", True),
    ],
)
def test_constraint_allows_what_terraform_would_take(constraint, version, allowed):
    assert parse_constraint(constraint).allows(parse_version(version)) is allowed


@pytest.mark.parametrize(
    "text", ["one", "1.2.3.4", "=> 1.2", ">= ", "1.2, ", "~~> 1.2"]
)
def test_what_is_no_constraint_is_refused_with_an_example(text):
    with pytest.raises(InvalidInputError) as refused:
        parse_constraint(text)
    assert "1.11.4" in refused.value.detail


def test_prereleases_come_before_their_release_in_their_order():
    names = ["1.12.0-alpha9", "1.12.0-alpha.10", "1.12.0-beta1", "1.12.0-rc1", "1.12.0"]
    ordered = sorted(parse_version(name) for name in reversed(names))
    assert [str(version) for version in ordered[-3:]] == names[-3:]
    assert parse_version("1.0.0-alpha.2") < parse_version("1.0.0-alpha.10")
    assert parse_version("1.0.0-1") < parse_version("1.0.0-alpha")


def test_newest_is_the_highest_allowed_number_not_the_last_in_the_list():
    versions = [
        parse_version(text) for text in ("1.9.8", "1.11.4", "1.10.0", "2.0.0-rc1")
    ]
    assert newest(parse_constraint("latest"), versions) == Version(1, 11, 4)
    assert newest(parse_constraint("~> 1.9.0"), versions) == Version(1, 9, 8)
    assert newest(parse_constraint("> 3"), versions) is None


def test_only_one_plain_version_counts_as_exact():
    assert parse_constraint("1.11.4").exact == Version(1, 11, 4)
    assert parse_constraint("= 1.11.4").exact == Version(1, 11, 4)
    assert parse_constraint("~> 1.11.4").exact is None
    assert parse_constraint("1.11.4, != 1.11.3").exact is None
    assert parse_constraint("latest").exact is None


_NUMBERS = st.tuples(*[st.integers(0, 40)] * 3)


@given(_NUMBERS, _NUMBERS)
def test_comparisons_agree_with_the_order_of_numbers(one, other):
    left, right = Version(*one), Version(*other)
    for sign, expected in (
        (">", one > other),
        (">=", one >= other),
        ("<", one < other),
    ):
        assert parse_constraint(f"{sign} {right}").allows(left) is expected
    assert parse_version(str(left)) == left
