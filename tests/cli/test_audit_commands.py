import json
import re
from pathlib import Path

from sluice.auth.audit_entries import new_entry
from sluice.base.clock import SystemClock
from sluice.base.ids import OrganizationId
from sluice.wire.shapes.audit import AuditEntryList
from tests.cli.conftest import Shell


async def test_the_audit_log_is_listed(shell: Shell) -> None:
    deps = shell.house.serving.concepts.audit
    acme = await shell.house.admin.get("/organizations/acme")
    async with deps.auth.transactions.write() as tx:
        for action, subject, owner, detail in (
            ("run_task.create", "rt-1", OrganizationId(acme["id"]), {"name": "a b"}),
            ("run_task.delete", "rt-1", OrganizationId(acme["id"]), {}),
            ("x.rotate", "keys", None, {"states": "3", "plans": "1"}),
        ):
            entry = new_entry(
                SystemClock(),
                actor="ann",
                action=action,
                subject=subject,
                organization_id=owner,
                detail=detail,
            )
            await deps.log.append(tx, entry)

    table = (await shell.ok("audit", "list")).splitlines()
    assert re.match(r"WHEN +WHO +DID +TO +OUTCOME +FROM +DETAIL", table[0])
    rotated = r"just now +ann +x.rotate +keys +allowed +- +states=3, plans=1$"
    assert re.match(rotated, table[1])
    assert re.match(r"\S.* ann +run_task.delete +rt-1 +allowed +- +-$", table[2])
    begun = [line for line in table if "organization.create" in line]
    assert re.search(r"allowed +127.0.0.1 ", begun[0])

    said = await shell.said("audit", "list", "--limit", "2")
    before = re.search(r"2 of \d+; --limit shows more, --before (\d+) the next", said)
    assert before
    older = await shell.ok("audit", "list", "--before", before[1], "--limit", "1")
    assert "rt-1" in older.splitlines()[1]
    assert "no such entries" in await shell.said("audit", "list", "--actor", "eve")

    async def found(*options: str) -> list[tuple[str, str]]:
        text = await shell.ok("audit", "list", "--json", *options)
        shown = AuditEntryList.model_validate_json(text)
        assert shown.total == len(shown.entries)
        return [(entry.action, entry.subject) for entry in shown.entries]

    created, deleted = ("run_task.create", "rt-1"), ("run_task.delete", "rt-1")
    assert (await found())[:3] == [("x.rotate", "keys"), deleted, created]
    assert (await found("--organization", "acme"))[:2] == [deleted, created]
    assert await found("--outcome", "denied") == []
    assert await found("--to", "2020-01-01T00:00:00Z") == []
    assert (await found("--address", "127.0.0.1"))[-1][0] == "setup_token.redeem"
    assert await found("--action", "run_task.c") == [created]
    assert await found("--subject", "keys") == [("x.rotate", "keys")]
    assert "no organization 'none'" in await shell.said(
        "audit", "list", "--organization", "none", code=5
    )


async def test_the_log_is_exported_and_verified(shell: Shell, tmp_path: Path) -> None:
    head = (await shell.ok("audit", "verify")).strip()
    number, _, digest = head.partition(":")
    assert re.fullmatch(r"[0-9a-f]{64}", digest)
    assert f"Entries 1 to {number}" in await shell.said("audit", "verify")
    await shell.house.admin.post("/users", {"name": "bob"}, expect=201)
    assert "as they were written" in await shell.said(
        "audit", "verify", "--expect", head
    )
    other = f"{number}:{'0' * 64}"
    said = await shell.said("audit", "verify", "--expect", other, code=1)
    assert f"Broken at entry {number}: it is another than the one noted" in said
    beyond = f"{int(number) + 5}:{digest}"
    assert "cut off" in await shell.said("audit", "verify", "--expect", beyond, code=1)
    assert "NUMBER:HASH" in await shell.said("audit", "verify", "--expect", "x", code=2)

    exported = await shell.ok("audit", "export", "--jsonl")
    lines = exported.splitlines()
    assert json.loads(lines[-1])["action"] == "user.create"
    rest = await shell.ok("audit", "export", "--after", str(len(lines) - 1))
    assert rest.splitlines() == lines[-1:]
    file = tmp_path / "audit.jsonl"
    file.write_text(exported)
    told = json.loads(await shell.ok("audit", "verify", str(file), "--json"))
    assert (told["whole"], told["first"], told["broken"]) == (True, 1, None)
    assert told["head"].startswith(f"{len(lines)}:")
    assert "as they were written" in await shell.said("audit", "verify", str(file))

    async def broken(*changed: str) -> int:
        file.write_text("\n".join(changed))
        said = await shell.said("audit", "verify", str(file), code=1)
        found = re.search(r"Broken at entry (\d+):", said)
        assert found, said
        return int(found[1])

    eve = lines[2].replace('"actor":"ann"', '"actor":"eve"')
    assert eve != lines[2]
    assert await broken(lines[0], lines[1], eve, *lines[3:]) == 3
    assert await broken(lines[0], *lines[2:]) == 2
    assert await broken(lines[1], lines[0], *lines[2:]) == 1
    file.write_text(lines[0] + "\n" + lines[2])
    await shell.ok("audit", "verify", str(file), "--filtered")
    file.write_text("no entry\n")
    assert "no entry of the audit log" in await shell.said(
        "audit", "verify", str(file), code=1
    )
