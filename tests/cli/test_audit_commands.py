import re

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
    assert re.match(r"WHEN +WHO +DID +TO +DETAIL", table[0])
    assert re.match(r"just now +ann +x.rotate +keys +states=3, plans=1$", table[1])
    assert re.match(r"\S.* ann +run_task.delete +rt-1 +-$", table[2])
    assert len(table) == 4

    said = await shell.said("audit", "list", "--limit", "2")
    assert "2 of 3; --limit shows more." in said
    assert "no such entries" in await shell.said("audit", "list", "--actor", "eve")

    async def found(*options: str) -> list[tuple[str, str]]:
        text = await shell.ok("audit", "list", "--json", *options)
        shown = AuditEntryList.model_validate_json(text)
        assert shown.total == len(shown.entries)
        return [(entry.action, entry.subject) for entry in shown.entries]

    created, deleted = ("run_task.create", "rt-1"), ("run_task.delete", "rt-1")
    assert await found() == [("x.rotate", "keys"), deleted, created]
    assert await found("--organization", "acme") == [deleted, created]
    assert await found("--action", "run_task.c") == [created]
    assert await found("--subject", "keys") == [("x.rotate", "keys")]
    assert "no organization 'none'" in await shell.said(
        "audit", "list", "--organization", "none", code=5
    )
