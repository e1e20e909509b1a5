"""`sluice run-task …` against a real server and a real service."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sluice.base.errors import InvalidInputError
from sluice.cli.settings import secret_of_variable
from sluice.server.settings import ServerSettings
from sluice.wire.run_task import verify
from tests.agents.house import open_house
from tests.cli.conftest import Shell
from tests.cli.terminal import Place
from tests.runtasks.answering import Service, answering
from tests.runtasks.services import (
    attach,
    call_back,
    document,
    new_task,
    run_task,
)
from tests.runtasks.services import service as asked_service

KEY = "a-key-of-the-service"


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with answering() as opened:
        yield opened


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    """As everywhere, with loopback addresses open."""
    settings = ServerSettings(
        data_dir=tmp_path / "server",
        port=0,
        shutdown_seconds=2,
        outgoing_allowed_cidrs=["127.0.0.0/8"],
        outgoing_allow_http=True,
    )
    async with open_house(settings) as house:
        place = Place(tmp_path, url=house.serving.url, token=house.admin.token)
        yield Shell(house, place)


async def shown(shell: Shell, *arguments: str) -> Any:
    return json.loads(await shell.ok("run-task", *arguments, "--json"))


async def test_a_run_task_is_made_shown_changed_and_removed(shell: Shell) -> None:
    (shell.place.root / "key").write_text(f"{KEY}\nand no more\n")
    assert "no run tasks yet" in await shell.said("run-task", "list")
    made = await shown(
        *(shell, "create", "scan", "--endpoint", "https://scan.example.com/hook"),
        *("--description", "scans", "--hmac-key-file", "key", "--signature-prefix"),
        *("--timeout", "90", "--global-stage", "pre_plan"),
        *("--global-stage", "post_plan", "--global-level", "mandatory"),
        *("--callback-from", "203.0.113.0/24", "--team", "team-1"),
    )
    assert made["hmac_key_set"] is True
    assert made["timeout_seconds"] == 90
    assert made["is_global"] is True
    assert made["global_stages"] == ["pre_plan", "post_plan"]
    text = await shell.ok("run-task", "show", "scan")
    for words in (
        "https://scan.example.com/hook",
        "yes, as sha512=HEX",
        "1m 30s",
        "in all workspaces at pre_plan, post_plan (mandatory)",
        "203.0.113.0/24",
    ):
        assert words in text, words
    row = await shown(shell, "show", made["run_task_id"])
    assert row == {**made, "workspace_count": 0}
    assert await shown(shell, "list") == [row]
    table = await shell.ok("run-task", "list")
    assert table.split("\n")[1].split()[2:4] == ["all", "enabled"]

    assert "Changed run task scanner." in await shell.said(
        *("run-task", "update", "scan", "--name", "scanner", "--disabled"),
        *("--not-global", "--no-hmac-key", "--callback-from-anywhere"),
        *("--endpoint", "https://other.example.com", "--no-signature-prefix"),
    )
    changed = await shown(shell, "show", "scanner")
    assert changed == {
        **row,
        "name": "scanner",
        "enabled": False,
        "is_global": False,
        "hmac_key_set": False,
        "callback_allowed_cidrs": [],
        "endpoint_url": "https://other.example.com",
        "signature_prefix": False,
        "updated_at": changed["updated_at"],
    }
    assert "disabled" in await shell.ok("run-task", "list")
    assert "Removed run task scanner." in await shell.said(
        "run-task", "delete", "scanner"
    )
    assert await shown(shell, "list") == []


async def test_a_key_comes_from_the_environment(shell: Shell, service: Service) -> None:
    made = await asyncio.to_thread(
        shell.place.run,
        *("run-task", "create", "scan", "--endpoint", service.url),
        *("--hmac-key-env", "SCAN_KEY", "--organization", "acme"),
        SCAN_KEY=KEY,
    )
    assert made.returncode == 0, made.stderr
    assert KEY not in made.stdout + made.stderr
    said = await shell.said("run-task", "test", "scan")
    assert "took the verification call" in said
    [asked] = service.asked
    assert verify(KEY, asked.body, asked.headers["x-tfc-task-signature"])


async def test_a_test_ends_with_the_service_s_answer(
    shell: Shell, service: Service
) -> None:
    await shell.ok("run-task", "create", "scan", "--endpoint", service.url)
    assert await shown(shell, "test", "scan") == {
        "status_code": 200,
        "ok": True,
        "message": "The service took the verification call.",
    }
    service.answer = 202
    assert "wants 200" in await shell.said("run-task", "test", "scan", code=1)
    gone = ("run-task", "update", "scan", "--endpoint", "http://127.0.0.1:1/")
    await shell.ok(*gone)
    said = await shell.said("run-task", "test", "scan", code=1)
    assert said.startswith("error: ")
    assert "127.0.0.1:1" in said


async def test_a_run_task_is_attached_and_detached(shell: Shell) -> None:
    await shell.house.workspace("net")
    await shell.ok("run-task", "create", "scan", "--endpoint", "https://s.example.com")
    assert "No run task is attached" in await shell.said(
        "run-task", "list", "--workspace", "net"
    )
    made = await shown(
        *(shell, "attach", "scan", "net"),
        *("--stage", "pre_apply", "--level", "mandatory", "--disabled"),
    )
    assert (made["stage"], made["enforcement_level"]) == ("pre_apply", "mandatory")
    assert made["enabled"] is False
    said = await shell.said("run-task", "attach", "scan", "net")
    assert "Attached scan to net: post_plan, advisory (wrt-" in said
    table = await shell.ok("run-task", "list", "--workspace", "net")
    assert [line.split()[:4] for line in table.splitlines()[1:]] == [
        ["scan", "post_plan", "advisory", "enabled"],
        ["scan", "pre_apply", "mandatory", "disabled"],
    ]
    listed = await shown(shell, "list", "--workspace", "net")
    assert listed[1] == made
    [row] = await shown(shell, "list")
    assert row["workspace_count"] == 1

    refused = await shell.said("run-task", "delete", "scan", code=6)
    assert "attached to net" in refused
    assert "--force" in refused
    several = await shell.said("run-task", "detach", "scan", "net", code=2)
    assert "post_plan, pre_apply; say which with --stage" in several
    assert "Detached scan from net (pre_apply)." in await shell.said(
        "run-task", "detach", "scan", "net", "--stage", "pre_apply"
    )
    gone = await shown(shell, "detach", "scan", "net")
    assert gone["deleted"] is True
    none = await shell.said("run-task", "detach", "scan", "net", code=5)
    assert "sluice run-task list --workspace net" in none
    await shell.ok("run-task", "attach", "scan", "net")
    assert "Removed" in await shell.said("run-task", "delete", "scan", "--force")
    assert await shown(shell, "list", "--workspace", "net") == []


async def test_what_cannot_be_done_is_said_in_one_line(shell: Shell) -> None:
    root = shell.place.root
    (root / "empty").write_text("\nkey\n")
    (root / "binary").write_bytes(b"\xff\xfe\n")
    (root / "key").write_text(KEY)
    await shell.house.workspace("net")
    create = ("create", "scan", "--endpoint", "https://s.example.com")
    await shell.ok("run-task", *create)
    for arguments, code, words in (
        (create, 6, "'scan' already"),
        (("create", "new", "--endpoint", "ftp://s.example.com"), 2, "endpoint_url"),
        (("create", "a b", "--endpoint", "https://x.example.com"), 2, "name: must"),
        (("create", "new"), 2, "--endpoint"),
        ((*create, "--hmac-key-env", "NOT_THERE"), 2, "NOT_THERE is not set"),
        ((*create, "--hmac-key-file", "empty"), 2, "holds no key"),
        ((*create, "--hmac-key-file", "binary"), 2, "holds no key"),
        ((*create, "--hmac-key-file", "missing"), 2, "missing"),
        (
            (*create, "--hmac-key-file", "key", "--hmac-key-env", "HOME"),
            2,
            "not both",
        ),
        ((*create, "--timeout", "5"), 2, "--timeout"),
        ((*create, "--callback-from", "there"), 2, "'there' is no network"),
        (
            ("create", "x", "--endpoint", "https://x.example.com", "--global"),
            2,
            "stage",
        ),
        (("update", "scan"), 2, "Nothing to change"),
        (("update", "scan", "--no-hmac-key", "--hmac-key-file", "key"), 2, "not both"),
        (
            ("update", "scan", "--callback-from-anywhere", "--callback-from", "::/0"),
            2,
            "not both",
        ),
        (("update", "none", "--disabled"), 5, "'none'; there is scan"),
        (("show", "none"), 5, "'none'; there is scan"),
        (("test", "none"), 5, "'none'; there is scan"),
        (("delete", "none"), 5, "'none'; there is scan"),
        (("attach", "none", "net"), 5, "'none'; there is scan"),
        (("attach", "scan", "none"), 5, "no workspace 'none'"),
        (
            ("attach", "scan", "net", "--stage", "post_apply", "--level", "mandatory"),
            2,
            "advisory only",
        ),
        (("list", "--workspace", "none"), 5, "no workspace 'none'"),
    ):
        said = await shell.said("run-task", *arguments, code=code)
        assert words in said, arguments
        assert said.startswith("error: "), said
        assert len(said.splitlines()) == 1, said
        assert KEY not in said


def test_a_secret_that_is_not_there_is_named() -> None:
    assert secret_of_variable("K", {"K": "v"}) == "v"
    for environ in ({}, {"K": ""}):
        with pytest.raises(InvalidInputError, match="K is not set"):
            secret_of_variable("K", environ)


# --- results ---------------------------------------------------------------------------


async def test_results_are_shown_and_a_failed_one_is_overridden(shell: Shell) -> None:
    house = shell.house
    async with asked_service() as checks:
        workspace = await house.workspace("net")
        for name in ("checks", "lenient"):
            run_task_id = await run_task(house, name, checks.url)
            level = "mandatory" if name == "checks" else "advisory"
            await attach(house, workspace, run_task_id, "pre_plan", level)
        task_id = await new_task(house, workspace)
        calls = {
            call.payload["task_result_enforcement_level"]: call
            for call in [await checks.call(0), await checks.call(1)]
        }
        await call_back(house, calls["mandatory"], found_document())
        result_id = calls["mandatory"].payload["task_result_id"]

        table, outcomes = (await shell.ok("run-task", "results", task_id)).split("\n\n")
        lines = [line.split() for line in table.splitlines()[1:]]
        assert lines[0] == ["pre_plan", "checks", "mandatory", "failed", "1", "finding"]
        assert lines[1][:4] == ["pre_plan", "lenient", "advisory", "running"]
        assert "\x1b" not in outcomes
        assert outcomes.splitlines()[1].split()[2:] == (
            [
                "Denied",
                "High",
                "the",
                "bucket",
                "is",
                "public",
                "https://e.example.com/1",
            ]
        )
        shown_results = await shown(shell, "results", task_id)
        failed = shown_results["results"][0]
        assert (failed["result_id"], failed["can_override"]) == (result_id, True)
        [outcome] = failed["outcomes"]
        body = await shell.ok(
            "run-task", "results", task_id, "--outcome", outcome["id"]
        )
        assert body == "# Bucket\n\n`logs` is public\n"
        as_json = await shown(shell, "results", task_id, "--outcome", outcome["id"])
        assert as_json["body"] == "# Bucket\n\n`logs` is public"

        for arguments, code, words in (
            (("override", task_id, "none", "--reason", "x"), 5, "checks, lenient"),
            (("override", task_id, "checks"), 2, "--reason"),
            (("override", task_id, "checks", "--reason", " "), 2, "reason"),
            (("override", task_id, "lenient", "--reason", "x"), 6, "advisory"),
            (("results", "task-1111111111111111"), 5, "task-1111111111111111"),
            (("results", task_id, "--outcome", "rto-1"), 5, "rto-1"),
        ):
            assert words in await shell.said("run-task", *arguments, code=code)
        said = await shell.said(
            "run-task", "override", task_id, "checks", "--reason", "known and wanted"
        )
        assert f"checks (pre_plan) counts as passed for {task_id}" in said
        assert f"sluice logs -f {task_id}" in said
        table = await shell.ok("run-task", "results", task_id)
        assert "failed, overridden" in table
        assert "ann: known and wanted" in table
        await call_back(house, calls["advisory"])
        job = await house.work()
        assert job.order["task_id"] == task_id


async def test_a_task_of_which_nothing_is_asked(shell: Shell) -> None:
    workspace = await shell.house.workspace("net")
    task_id = await new_task(shell.house, workspace)
    said = await shell.said("run-task", "results", task_id)
    assert f"No run task is asked of {task_id}." in said


def found_document() -> dict[str, Any]:
    """A callback with one outcome, in whose words a terminal could be told things."""
    body = document("failed", "1 \x1b]0;title\x07finding")
    outcome = {
        "type": "task-result-outcomes",
        "attributes": {
            "outcome-id": "S3-1",
            "description": "the bucket is \x1b[2Jpublic",
            "body": "# Bucket\n\n`logs` is public",
            "url": "https://e.example.com/1",
            "tags": {
                "Severity": [{"label": "High", "level": "error"}],
                "Status": [{"label": "Denied", "level": "error"}],
            },
        },
    }
    body["data"]["relationships"] = {"outcomes": {"data": [outcome]}}
    return body
