"""`sluice pool …` and the labels of workspaces, against a real server."""

import json
from typing import Any

import pytest

from sluice.base.errors import InvalidInputError
from sluice.cli.labels import changed_labels, label_words, parsed_labels
from tests.cli.conftest import Shell


async def shown(shell: Shell, *arguments: str) -> Any:
    return json.loads(await shell.ok(*arguments, "--json"))


async def test_a_pool_is_made_changed_shown_and_removed(shell: Shell) -> None:
    made = await shown(
        shell, "pool", "create", "gpu", "--label", "disk=fast", "--plans", "2"
    )
    assert made["labels"] == {"disk": "fast"}
    assert made["max_plan_concurrency"] == 2
    assert not made["adaptive_concurrency"]
    assert "Changed pool gpus." in await shell.said(
        *("pool", "update", "gpu", "--name", "gpus", "--adaptive"),
        *("--cpu-threshold", "0.6", "--apply-concurrent", "--label", "a=b"),
    )
    changed = await shown(shell, "pool", "show", "gpus")
    assert changed == {
        **made,
        "name": "gpus",
        "adaptive_concurrency": True,
        "cpu_threshold": 0.6,
        "allow_apply_concurrent": True,
        "labels": {"a": "b"},
    }
    text = await shell.ok("pool", "show", "gpus")
    assert "up to 2, fewer above 60% CPU or 85% memory" in text
    assert "a=b" in text
    await shell.ok("pool", "update", "gpus", "--no-labels", "--no-adaptive")
    listed = await shown(shell, "pool", "list")
    assert [(one["name"], one["labels"]) for one in listed] == [
        ("gpus", {}),
        ("idc1", {}),
    ]
    assert "Removed pool gpus." in await shell.said("pool", "delete", "gpus")
    assert "gpus" not in await shell.ok("pool", "list")


async def test_what_cannot_be_done_to_a_pool_is_said(shell: Shell) -> None:
    refused = await shell.said("pool", "delete", "idc1", code=6)
    assert "builder" in refused
    assert "there is idc1" in await shell.said("pool", "show", "none", code=5)
    assert "Nothing to change" in await shell.said("pool", "update", "idc1", code=2)
    wrong = await shell.said("pool", "create", "x", "--label", "a b=c", code=2)
    assert "a b" in wrong


async def test_the_tokens_of_a_pool(shell: Shell) -> None:
    secret = (await shell.ok("pool", "token", "idc1", "--name", "second")).strip()
    assert secret.startswith("slp_")
    third = await shown(
        *(shell, "pool", "token", "create", "idc1"),
        *("--name", "third", "--expires-in-days", "1"),
    )
    listed = await shown(shell, "pool", "token", "list", "idc1")
    assert [one["name"] for one in listed] == ["first", "second", "third"]
    assert secret not in json.dumps(listed)
    assert "never" in await shell.ok("pool", "token", "list", "idc1")
    await shell.said("pool", "token", "revoke", "idc1", "second")
    await shell.said("pool", "token", "revoke", "idc1", third["id"])
    gone = await shell.said("pool", "token", "revoke", "idc1", "second", code=5)
    assert "sluice pool token list idc1" in gone
    listed = await shown(shell, "pool", "token", "list", "idc1")
    assert [one["name"] for one in listed] == ["first"]


async def test_a_workspace_names_the_labels_that_its_pool_must_have(
    shell: Shell,
) -> None:
    made = await shown(shell, "workspace", "create", "net", "--label", "region=eu")
    assert made["labels"] == {"region": "eu"}
    assert "any with region=eu" in await shell.ok("workspace", "show", "net")
    changed = await shown(
        shell, "workspace", "update", "net", "--label", "a=b", "--label", "c="
    )
    assert changed["labels"] == {"a": "b", "c": ""}
    cleared = await shown(shell, "workspace", "update", "net", "--no-labels")
    assert cleared["labels"] == {}


def test_labels_as_options() -> None:
    assert parsed_labels(["a=b", "c=d=e", "f="]) == {"a": "b", "c": "d=e", "f": ""}
    for wrong in ("a", "=b", ""):
        with pytest.raises(InvalidInputError, match="key=value"):
            parsed_labels([wrong])
    assert changed_labels(None, none=False) is None
    assert changed_labels([], none=True) == {}
    assert changed_labels(["a=b"], none=False) == {"a": "b"}
    with pytest.raises(InvalidInputError, match="not both"):
        changed_labels(["a=b"], none=True)
    assert label_words({"b": "2", "a": "1"}) == "a=1 b=2"
    assert label_words({}) == "-"
