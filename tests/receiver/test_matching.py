"""Conditions of `deny` and `warn`, as tables."""

from typing import Any

import pytest

from sluice.receiver.facts import Change, Task, read_plan
from sluice.receiver.matching import Conditions, fits
from tests.receiver.plans import change, plan_json


def one(*arguments: Any, **more: Any) -> Change:
    """A change as rules see it."""
    content = plan_json(change(*arguments, **more))
    return read_plan(content, Task("post_plan")).resources[0]


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("aws_s3_bucket.logs", "aws_s3_bucket.logs", True),
        ("aws_*", "aws_s3_bucket.logs", True),
        ("aws_*", "my.aws_s3", False),
        ("*.logs", "module.x.aws_s3_bucket.logs", True),
        ('module.net["a*"].*', 'module.net["ab"].aws_x.y', True),
        ("aws_x.y[0]", "aws_x.y[0]", True),
        ("aws_x.y[0]", "aws_x.y0", False),
        ("aws_x.y[?]", "aws_x.y[7]", True),
        ("a.c", "abc", False),
        ("a*c", "a\nc", True),
    ],
)
def test_patterns(pattern: str, text: str, expected: bool) -> None:
    assert fits(pattern, text) is expected


@pytest.mark.parametrize(
    ("actions", "wanted", "expected"),
    [
        (["create"], "create", True),
        (["create"], "delete", False),
        (["delete"], "delete", True),
        (["delete", "create"], "delete", True),
        (["create", "delete"], "delete", True),
        (["delete", "create"], "replace", True),
        (["delete", "create"], "create", False),
        (["delete"], "replace", False),
        (["update"], "update", True),
        (["forget"], "forget", True),
    ],
)
def test_actions(actions: list[str], wanted: str, expected: bool) -> None:
    found = one("aws_x.y", actions, {"a": 1}, before={"a": 1})
    assert Conditions.of(None, None, wanted, None).hold(found) is expected


VALUES = {
    "acl": "public-read",
    "force": False,
    "count": 1,
    "empty": None,
    "tags": {"Owner": "ann", "Team": None},
    "ingress": [
        {"cidr": ["10.0.0.0/8"], "port": 443},
        {"cidr": ["0.0.0.0/0"], "port": 22},
    ],
}


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ({"acl": "public-read"}, True),
        ({"acl": "public-*"}, True),
        ({"acl": "private"}, False),
        ({"force": False}, True),
        ({"force": True}, False),
        ({"force": 0}, False),
        ({"count": 1}, True),
        ({"count": True}, False),
        ({"tags.Owner": "a*"}, True),
        ({"tags.Team": None}, True),
        ({"tags.Nothing": None}, True),
        ({"tags.Owner": None}, False),
        ({"empty": None}, True),
        ({"nowhere.at.all": None}, True),
        ({"nowhere.at.all": "x"}, False),
        ({"ingress.cidr": "0.0.0.0/0"}, True),
        ({"ingress.1.port": 22}, True),
        ({"ingress.0.port": 22}, False),
        ({"ingress.9.port": 22}, False),
        ({"ingress.port": lambda port: port < 100}, True),
        ({"ingress.port": lambda port: port > 1000}, False),
        ({"acl": "public-*", "count": 2}, False),
        ({"id": None}, False),
        ({"network.id": None}, False),
        ({"id": "*"}, False),
    ],
)
def test_attributes(attribute: dict[str, Any], expected: bool) -> None:
    found = one(
        "aws_x.y", ["create"], VALUES, unknown={"id": True, "network": [{"id": True}]}
    )
    assert Conditions.of(None, None, None, attribute).hold(found) is expected


def test_what_is_deleted_is_judged_by_what_it_was() -> None:
    found = one("aws_x.y", ["delete"], before={"acl": "public-read"})
    assert Conditions.of(None, None, "delete", {"acl": "public-*"}).hold(found)


def test_all_conditions_must_hold() -> None:
    found = one('module.a["b"].aws_x.y[0]', ["update"], {"a": 1}, before={"a": 2})
    fitting = Conditions.of("module.a*", ["aws_y", "aws_x"], ["update"], {"a": 1})
    assert fitting.hold(found)
    assert not Conditions.of("module.b*", "aws_x", "update", {"a": 1}).hold(found)
    assert not Conditions.of("module.a*", "aws_y", "update", {"a": 1}).hold(found)
    assert not Conditions.of("module.a*", "aws_x", "delete", {"a": 1}).hold(found)
    assert not Conditions.of("module.a*", "aws_x", "update", {"a": 2}).hold(found)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((None, None, None, None), "at least one"),
        ((None, None, "destroy", None), "not 'destroy'"),
    ],
)
def test_conditions_that_are_none(arguments: tuple[Any, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Conditions.of(*arguments)
