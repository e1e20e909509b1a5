"""Late output in SQL."""

from dataclasses import asdict

from sqlalchemy import RowMapping, select
from sqlalchemy.dialects import postgresql, sqlite

from sluice.base.ids import LeaseId, TaskId
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of
from sluice.tasks.model import LateOutput
from sluice.tasks.tables import late_output, late_output_parts


class SqlLateOutputStore:
    """Late output on SQLite and PostgreSQL."""

    async def get(self, tx: Tx, lease_id: LeaseId) -> LateOutput | None:
        """What is kept of a lease."""
        rows = await connection_of(tx).execute(
            select(late_output).where(late_output.c.lease_id == lease_id)
        )
        row = rows.mappings().one_or_none()
        return None if row is None else _record(row)

    async def keep(self, tx: Tx, newer: LateOutput, start: int, data: bytes) -> None:
        """Keep the bytes from offset ``start`` on."""
        connection = connection_of(tx)
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        values = asdict(newer)
        await connection.execute(
            dialect.insert(late_output)
            .values(**values)
            .on_conflict_do_update(index_elements=["lease_id"], set_=values)
        )
        await connection.execute(
            late_output_parts.insert().values(
                lease_id=newer.lease_id, offset=start, data=data
            )
        )

    async def of_task(self, tx: Tx, task_id: TaskId) -> list[LateOutput]:
        """What is kept of a task's leases, in the order in which it came."""
        rows = await connection_of(tx).execute(
            select(late_output)
            .where(late_output.c.task_id == task_id)
            .order_by(late_output.c.received_at, late_output.c.lease_id)
        )
        return [_record(row) for row in rows.mappings()]

    async def content(self, tx: Tx, lease_id: LeaseId) -> bytes:
        """All bytes that are kept of a lease."""
        parts = await connection_of(tx).scalars(
            select(late_output_parts.c.data)
            .where(late_output_parts.c.lease_id == lease_id)
            .order_by(late_output_parts.c.offset)
        )
        return b"".join(parts)

    async def remove(self, tx: Tx, task_id: TaskId) -> None:
        """Forget what is kept of a task's leases; the parts go with it."""
        await connection_of(tx).execute(
            late_output.delete().where(late_output.c.task_id == task_id)
        )


def _record(row: RowMapping) -> LateOutput:
    return LateOutput(
        lease_id=row["lease_id"],
        task_id=row["task_id"],
        agent_id=row["agent_id"],
        committed=row["committed"],
        size=row["size"],
        lines=row["lines"],
        received_at=row["received_at"],
    )
