"""Price files and estimates over HTTP on a real server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sluice.auth.model import OrganizationPermission, WorkspaceLevel
from sluice.server.settings import ServerSettings
from tests.agents.house import House, open_house
from tests.costs.test_estimating import HEAD, PRICES
from tests.policies.test_api import planned, settled

HERE = "/organizations/acme/price-file"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    settings = ServerSettings(data_dir=tmp_path / "server", port=0, shutdown_seconds=2)
    async with open_house(settings) as opened:
        yield opened


async def test_a_price_file_is_kept_shown_and_forgotten(house: House) -> None:
    admin = house.admin
    await admin.get(HERE, expect=404)
    made = await admin.ask("PUT", HERE, json={"content": PRICES})
    assert made["content"] == PRICES
    assert (made["format"], made["currency"], made["price_count"]) == ("toml", "USD", 5)
    assert (made["level"], made["max_monthly_increase"]) == ("mandatory", "50")
    assert made["updated_by"] == "ann"
    assert await admin.get(HERE) == made
    json_text = '{"price": [{"type": "x", "monthly": 1}]}'
    changed = await admin.ask(
        "PUT", HERE, json={"content": json_text, "format": "json"}
    )
    assert (changed["format"], changed["max_monthly_total"]) == ("json", None)
    await admin.ask("DELETE", HERE, expect=204)
    await admin.ask("DELETE", HERE, expect=404)
    await admin.get(HERE, expect=404)
    audit = await admin.get("/audit?action=price_file")
    assert [(entry["action"], entry["actor"]) for entry in audit["entries"]] == [
        ("price_file.delete", "ann"),
        ("price_file.set", "ann"),
        ("price_file.set", "ann"),
    ]


async def test_what_is_no_price_file_is_refused_with_its_place(house: House) -> None:
    admin = house.admin
    for body, words in (
        ({"content": "a = = 1"}, "line 1, column 5"),
        ({"content": f'{HEAD}type = "y"\nmonthly = -1'}, "price[1].monthly (line 6)"),
        ({"content": "x" * (1024**2 + 1)}, "content"),
        ({"content": "ü" * 600_000}, "1048576"),
        ({"content": PRICES, "format": "yaml"}, "format"),
        ({"content": ""}, "content"),
    ):
        answer = await admin.ask("PUT", HERE, json=body, expect=422)
        assert words in str(answer), answer
    answer = await admin.ask("PUT", HERE, json={"content": HEAD}, expect=422)
    assert answer["errors"][0]["where"] == "price[1].type (line 6)"
    await admin.get(HERE, expect=404)
    away = "/organizations/nowhere/price-file"
    await admin.ask("PUT", away, json={"content": PRICES}, expect=404)


async def test_only_keepers_of_policies_change_prices(house: House) -> None:
    admin = house.admin
    user = await house.member("bob", level=WorkspaceLevel.ADMIN)
    await user.ask("PUT", HERE, json={"content": PRICES}, expect=403)
    await admin.ask("PUT", HERE, json={"content": PRICES})
    await user.get(HERE)
    await user.ask("DELETE", HERE, expect=403)
    keeper = await house.member("kim", OrganizationPermission.MANAGE_POLICIES)
    await keeper.ask("PUT", HERE, json={"content": PRICES})


async def test_a_plan_that_costs_too_much_is_stopped(house: House) -> None:
    prices = (
        'level = "mandatory"\nmax_monthly_increase = 10\n'
        '[[price]]\ntype = "terraform_data"\nwhere = { "input.user" = "y" }\nmonthly = 99\n'
        '[[price]]\ntype = "terraform_data"\nmonthly = 1\n'
    )
    workspace = await house.workspace("prod")
    before = await planned(house, workspace)
    await settled(house.admin, before["id"])
    await house.admin.ask("PUT", HERE, json={"content": prices})
    task = await planned(house, workspace, "plan_and_apply")
    done = await settled(house.admin, task["id"])
    assert done["status"] == "failed"
    assert "stopped by the cost estimate: the plan adds 97.00 USD" in done["error"]
    stages = {one["name"]: one["status"] for one in done["stages"]}
    assert stages["cost_estimation"] == "failed"
    here = f"/workspaces/{workspace}/tasks"
    estimate = await house.admin.get(f"{here}/{task['id']}/cost-estimate")
    assert estimate["status"] == "failed"
    assert (estimate["prior"], estimate["proposed"]) == ("3", "100")
    assert "max_monthly_increase" in estimate["broken"][0]
    assert estimate["resources"][0]["address"] == "terraform_data.a"
    log = await house.admin.get(f"/tasks/{task['id']}/logs/download")
    assert b"cost estimate: 3.00 -> 100.00 USD a month (+97.00)" in log
    none = await house.admin.get(f"{here}/{before['id']}/cost-estimate", expect=404)
    assert "no price file" in none["detail"]
    other = await house.workspace("other")
    await house.admin.get(
        f"/workspaces/{other}/tasks/{task['id']}/cost-estimate", expect=404
    )
