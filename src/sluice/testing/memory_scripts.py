"""Registered scripts in a dict."""

import dataclasses
from datetime import datetime

from sluice.base.errors import ConflictError
from sluice.base.ids import OrganizationId, ScriptId, TaskId
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.logs.model import LogRecord
from sluice.logs.ports import LogStore
from sluice.scripts.model import OldLog, Script
from sluice.tasks.ports import TaskFilter, TaskStore
from sluice.testing.memory import MemoryTransactions, reading, writing
from sluice.wire.shapes.tasks import TaskType


class MemoryScriptStore:
    """The in-memory twin of `SqlScriptStore`; it looks at tasks and logs in their twins."""

    def __init__(
        self, transactions: MemoryTransactions, tasks: TaskStore, logs: LogStore
    ) -> None:
        self._scripts = transactions.table(dict[ScriptId, Script]())
        self._tasks = tasks
        self._logs = logs

    async def add(self, tx: Tx, script: Script) -> None:
        """Keep a new script."""
        writing(tx)
        self._put(script)

    async def get(self, tx: Tx, script_id: ScriptId) -> Script | None:
        """The script with this id."""
        reading(tx)
        return self._scripts.get(script_id)

    async def hold(self, tx: Tx, script_id: ScriptId) -> Script | None:
        """The script, kept from others' changes until the transaction ends."""
        writing(tx)
        return self._scripts.get(script_id)

    async def find(
        self, tx: Tx, organization_id: OrganizationId, key: str
    ) -> Script | None:
        """The organization's script with this key."""
        found = await self.list_scripts(tx, organization_id)
        return next((script for script in found if script.key == key), None)

    async def list_scripts(
        self, tx: Tx, organization_id: OrganizationId
    ) -> list[Script]:
        """An organization's scripts by key."""
        reading(tx)
        own = [
            script
            for script in self._scripts.values()
            if script.organization_id == organization_id
        ]
        return sorted(own, key=lambda script: script.key)

    async def save(self, tx: Tx, script: Script) -> None:
        """Store a changed script."""
        writing(tx)
        if script.id in self._scripts:
            self._put(script)

    async def set_last_task(self, tx: Tx, script_id: ScriptId, task_id: TaskId) -> None:
        """Remember the newest run."""
        writing(tx)
        script = self._scripts.get(script_id)
        if script is not None:
            self._put(dataclasses.replace(script, last_task_id=task_id))

    async def delete(self, tx: Tx, script_id: ScriptId) -> None:
        """Forget a script; its tasks stay."""
        writing(tx)
        self._scripts.pop(script_id, None)

    async def old_logs(
        self, tx: Tx, *, ended_before: datetime, limit: int
    ) -> list[OldLog]:
        """Archived logs of script tasks that ended before then, oldest first."""
        reading(tx)
        which = TaskFilter(task_type=TaskType.SCRIPT)
        found: list[tuple[datetime, OldLog]] = []
        offset, total = 0, 1
        while offset < total:
            tasks, total = await self._tasks.page(tx, which, Page(100, offset))
            offset += 100
            for task in tasks:
                record = await self._logs.get(tx, task.id)
                if record is not None and (old := _old(record, ended_before)):
                    found.append(old)
        return [log for _, log in sorted(found, key=lambda pair: pair[0])][:limit]

    def _put(self, script: Script) -> None:
        for other in self._scripts.values():
            same = (other.organization_id, other.key) == (
                script.organization_id,
                script.key,
            )
            if same and other.id != script.id:
                raise ConflictError(
                    f"There is a script with the key {script.key} already; take another"
                    " key, or change that one."
                )
        self._scripts[script.id] = script


def _old(record: LogRecord, before: datetime) -> tuple[datetime, OldLog] | None:
    ended, key = record.sealed_at, record.blob_key
    if ended is None or ended >= before or record.archived_at is None or key is None:
        return None
    return ended, OldLog(record.task_id, record.committed, key)
