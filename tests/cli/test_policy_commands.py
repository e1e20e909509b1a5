"""`sluice policy …` and `sluice price-file …`, against a real server."""

import json
from pathlib import Path
from typing import Any

from tests.cli.conftest import Shell
from tests.costs.test_estimating import HEAD, PRICES
from tests.policies.test_judge import AWS_PLAN, PUBLIC
from tests.policies.test_judge import HEAD as REGO


async def shown(shell: Shell, *arguments: str) -> Any:
    return json.loads(await shell.ok(*arguments, "--json"))


def written(tmp_path: Path, name: str, text: str) -> str:
    path = tmp_path / name
    path.write_text(text)
    return str(path)


async def test_a_policy_is_set_listed_tried_and_removed(
    shell: Shell, tmp_path: Path
) -> None:
    file = written(tmp_path, "public.rego", PUBLIC)
    made = await shown(shell, "policy", "set", "public", file, "--mandatory")
    assert (made["level"], made["enabled"]) == ("mandatory", True)
    other = written(tmp_path, "other.rego", REGO + 'deny contains "no"\n')
    said = await shell.said("policy", "set", "public", other, "--disabled")
    assert "Replaced the mandatory policy public" in said
    changed = await shown(shell, "policy", "list")
    assert [(one["id"], one["level"], one["enabled"]) for one in changed] == [
        (made["id"], "mandatory", False)
    ]
    assert "public (off)" in await shell.ok("policy", "list")
    assert await shell.ok("policy", "show", "public") == REGO + 'deny contains "no"\n'
    await shell.ok("workspace", "create", "net")
    await shell.said("policy", "set", "own", file, "--workspace", "net")
    listed = await shown(shell, "policy", "list", "--workspace", "net")
    assert [one["name"] for one in listed] == ["public", "own"]

    plan = ("--plan", str(AWS_PLAN))
    refused = await shell.said(
        "policy", "check", "own", *plan, "--workspace", "net", code=1
    )
    assert "own failed" in refused
    passed = await shell.said(
        *("policy", "check", "own", *plan, "--workspace", "net"),
        *("--file", written(tmp_path, "warn.rego", REGO + 'warn contains "look"')),
    )
    assert "own passed" in passed
    said = json.loads(await _failing(shell, "policy", "check", "public", *plan))
    assert said["messages"][0]["message"] == "no"

    assert "Removed the policy public" in await shell.said("policy", "delete", "public")
    assert "there is none" in await shell.said("policy", "show", "public", code=5)


async def _failing(shell: Shell, *arguments: str) -> str:
    import asyncio

    done = await asyncio.to_thread(
        shell.place.run, *arguments, "--json", SLUICE_ORGANIZATION="acme"
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


async def test_what_is_no_policy_is_said(shell: Shell, tmp_path: Path) -> None:
    broken = written(tmp_path, "b.rego", REGO + "deny contains x if {\n  x := := 1\n}")
    said = await shell.said("policy", "set", "broken", broken, code=2)
    assert "line 4" in said
    assert "gone.rego" in await shell.said(
        "policy", "set", "x", str(tmp_path / "gone.rego"), code=2
    )
    good = written(tmp_path, "good.rego", PUBLIC)
    await shell.said("policy", "set", "good", good)
    assert "--plan" in await shell.said("policy", "check", "good", code=2)
    no_plan = written(tmp_path, "plan.json", "[1]")
    assert "terraform show -json" in await shell.said(
        "policy", "check", "good", "--plan", no_plan, code=2
    )


async def test_a_price_file_is_set_shown_and_removed(
    shell: Shell, tmp_path: Path
) -> None:
    await shell.said("price-file", "show", code=5)
    file = written(tmp_path, "prices.toml", PRICES)
    assert "acme has 5 prices in USD" in await shell.said("price-file", "set", file)
    assert await shell.ok("price-file", "show") == PRICES
    assert (await shown(shell, "price-file", "show"))["price_count"] == 5
    idle = '{"level": "mandatory", "price": [{"type": "x"}]}'
    warned = await shell.said(
        "price-file", "set", written(tmp_path, "prices.json", idle)
    )
    assert "has no limit" in warned
    wrong = written(tmp_path, "wrong.toml", HEAD)
    assert "price[1].type (line 6)" in await shell.said(
        "price-file", "set", wrong, code=2
    )
    assert "Removed the price file" in await shell.said("price-file", "delete")
    await shell.said("price-file", "delete", code=5)
