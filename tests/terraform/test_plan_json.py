"""Plan JSON of the real terraform 1.11.4, and what it must never show."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.terraform.plan_json import (
    SENSITIVE,
    PlanJsonError,
    Summary,
    masked,
    read_plan,
)

DATA = Path(__file__).parent / "data"
SECRET = b"hunter2xyz"


def content(name: str) -> bytes:
    return (DATA / f"plan_{name}.json").read_bytes()


def change(actions: list[str], **more: object) -> dict[str, object]:
    return {"address": "a.b", "change": {"actions": actions, **more}}


def plan_of(**members: object) -> bytes:
    return msgspec.json.encode({"format_version": "1.2", **members})


@pytest.mark.parametrize(
    ("name", "summary", "has_changes"),
    [
        ("first", Summary(add=3), True),
        ("second", Summary(add=1, change=1, destroy=2), True),
        ("nochange", Summary(), False),
        ("destroy", Summary(destroy=2), True),
    ],
)
def test_the_sum_of_a_real_plan(name: str, summary: Summary, has_changes: bool) -> None:
    plan = read_plan(content(name))
    assert plan.summary == summary
    assert plan.has_changes is has_changes


@pytest.mark.parametrize("name", ["first", "second", "nochange", "destroy"])
def test_no_secret_leaves_even_where_it_is_repeated_without_a_mark(name: str) -> None:
    assert SECRET in content(name)
    assert SECRET not in msgspec.json.encode(read_plan(content(name)))


def test_marked_parts_read_as_sensitive_and_the_rest_stays() -> None:
    changes = {
        item.address: item for item in read_plan(content("second")).resource_changes
    }
    update = changes["terraform_data.a"]
    assert update.actions == ["update"]
    assert isinstance(update.before, dict)
    assert update.before["input"] == {"user": "x", "pw": SENSITIVE}
    assert update.before["output"] == {"user": "x", "pw": SENSITIVE}
    assert isinstance(update.after, dict)
    assert update.after["input"] == {"user": "y", "pw": SENSITIVE}
    replaced = changes["terraform_data.b"]
    assert replaced.actions == ["delete", "create"]
    assert replaced.action_reason == "replace_by_request"
    assert isinstance(replaced.after, dict)
    assert replaced.after["input"] == [1, SENSITIVE]
    assert changes["terraform_data.gone"].after is None


def test_resources_that_do_not_change_are_not_listed() -> None:
    assert read_plan(content("nochange")).resource_changes == []


def test_outputs_are_masked() -> None:
    plan = read_plan(content("second"))
    values = {output.name: (output.sensitive, output.value) for output in plan.outputs}
    assert values["plain"] == (False, "hello2")
    assert values["pw"] == (True, None)
    changes = {item.name: item for item in plan.output_changes}
    assert (changes["plain"].before, changes["plain"].after) == ("hello", "hello2")
    assert changes["pw"].after == SENSITIVE


def test_an_output_not_yet_known_says_so() -> None:
    changes = {item.name: item for item in read_plan(content("first")).output_changes}
    assert changes["id"].after_unknown
    assert changes["id"].after is None


@pytest.mark.parametrize(
    ("actions", "more", "summary"),
    [
        (["no-op"], {}, Summary()),
        (["read"], {}, Summary()),
        (["create"], {}, Summary(add=1)),
        (["update"], {}, Summary(change=1)),
        (["delete"], {}, Summary(destroy=1)),
        (["create", "delete"], {}, Summary(add=1, destroy=1)),
        (["forget"], {}, Summary()),
        (["no-op"], {"importing": {"id": "i-1"}}, Summary(imports=1)),
        (["update"], {"importing": {"id": "i-1"}}, Summary(change=1, imports=1)),
    ],
)
def test_the_sum_by_action(
    actions: list[str], more: dict[str, object], summary: Summary
) -> None:
    plan = read_plan(plan_of(resource_changes=[change(actions, **more)]))
    assert plan.summary == summary
    quiet = actions in (["no-op"], ["read"]) and not more
    assert plan.has_changes is not quiet


def test_reads_of_data_sources_are_no_changes() -> None:
    read = change(["read"]) | {"mode": "data"}
    assert not read_plan(plan_of(resource_changes=[read])).has_changes


def test_outputs_alone_are_changes() -> None:
    plan = plan_of(output_changes={"x": {"actions": ["create"], "after": 1}})
    assert read_plan(plan).has_changes


def test_applyable_decides_where_terraform_says_it() -> None:
    drift = change(["update"])
    plan = plan_of(resource_drift=[drift], applyable=True)
    assert read_plan(plan).has_changes


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format_version": 1}',
        b"\xff",
        b'{"format_version":"\xff"}',
    ],
)
def test_what_is_no_plan_is_refused(content: bytes) -> None:
    with pytest.raises(PlanJsonError):
        read_plan(content)


def test_a_mark_that_does_not_fit_the_value_masks_all_of_it() -> None:
    assert masked("secret", {"deep": [True]}) == SENSITIVE
    assert masked({"a": 1}, [False, True]) == SENSITIVE
    assert masked({"a": 1}, {"b": True}) == {"a": 1}


def test_short_secrets_are_masked_only_where_they_are_marked() -> None:
    plan = read_plan(
        plan_of(
            resource_changes=[
                change(
                    ["create"],
                    after={"env": "prod", "name": "prod-web"},
                    after_sensitive={"env": True},
                )
            ]
        )
    )
    assert plan.resource_changes[0].after == {"env": SENSITIVE, "name": "prod-web"}


SECRETS = st.text("abcXYZ0189", min_size=12, max_size=20)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.just("plain")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(VALUES, SECRETS)
def test_a_secret_never_shows_wherever_it_stands(value: object, secret: str) -> None:
    nested = {"here": [value, {"pw": secret}], "again": f"<{secret}>"}
    mark = {"here": [False, {"pw": True}]}
    plan = plan_of(
        resource_changes=[
            change(["update"], before=nested, before_sensitive=mark, after=nested)
        ]
    )
    assert secret.encode() not in msgspec.json.encode(read_plan(plan))
