"""Where sealed values lie: columns, a column of several, and blobs that rows name.

Each place knows what its values are bound to, finds those that another key than the present
one has sealed, and puts a value back only where nobody has changed it meanwhile.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, RowMapping, Table, func, select, update

from sluice.auth.tables import issuer_keys
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of
from sluice.notifications.tables import notifications
from sluice.runtasks.tables import run_tasks
from sluice.scripts.tables import scripts
from sluice.state.tables import state_versions
from sluice.tasks.tables import tasks
from sluice.workspaces.tables import variables


@dataclass(frozen=True, slots=True)
class Found:
    """A sealed value of a row.

    Attributes:
        row_id: the row.
        name: what the value is bound to.
        whose: what a person would look for to find it.
        sealed: the value; empty where it is a blob.
        key: the blob's key, or which of the row's values it is.
    """

    row_id: str
    name: str
    whose: str
    sealed: bytes = b""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """Values of one page of rows; ``after`` is where the next one begins, None at the end."""

    found: Sequence[Found]
    after: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """A column whose values are sealed, or name what is, each bound to ``prefix:id…``.

    ``told`` are the columns that tell people whose a value is.
    """

    kind: str
    column: Column[Any]
    prefix: str
    told: tuple[Column[Any], ...] = ()

    @property
    def _table(self) -> Table:
        return self.column.table

    async def _rows(
        self, tx: Tx, after: str, limit: int, *wanted: Any
    ) -> Sequence[RowMapping]:
        row_id = self._table.c.id
        rows = await connection_of(tx).execute(
            select(row_id, self.column.label("_value"), *self.told)
            .where(row_id > after, self.column.is_not(None), *wanted)
            .order_by(row_id)
            .limit(limit)
        )
        return rows.mappings().all()

    def _name(self, row: RowMapping) -> str:
        return f"{self.prefix}:{row['id']}"

    def _whose(self, row: RowMapping) -> str:
        facts = [f"{self._table.name} {row['id']}"]
        facts += [f"{column.name} {row[column.name]}" for column in self.told]
        return ", ".join(facts)


class SealedColumn(Place):
    """A column with one sealed value a row."""

    __slots__ = ()

    async def outdated(self, tx: Tx, mark: bytes, after: str, limit: int) -> Findings:
        """Values that do not begin with ``mark``, of rows after one."""
        first = func.substr(self.column, 1, len(mark))
        rows = await self._rows(tx, after, limit, first != mark)
        found = [
            Found(row["id"], self._name(row), self._whose(row), bytes(row["_value"]))
            for row in rows
        ]
        return Findings(found, _next(rows, limit))

    async def replace(self, tx: Tx, found: Found, sealed: bytes) -> bool:
        """Put a value in the place of the one found; False where that is not there now."""
        row_id = self._table.c.id
        done = await connection_of(tx).execute(
            update(self._table)
            .where(row_id == found.row_id, self.column == found.sealed)
            .values({self.column: sealed})
        )
        return done.rowcount == 1


class SealedMap(Place):
    """A JSON column of sealed values by name, in base64; each is bound to its name too."""

    __slots__ = ()

    async def outdated(self, tx: Tx, mark: bytes, after: str, limit: int) -> Findings:
        """Values that do not begin with ``mark``, of rows after one."""
        rows = await self._rows(tx, after, limit)
        found = [
            Found(
                row["id"], f"{self._name(row)}:{name}", self._whose(row), sealed, name
            )
            for row in rows
            for name, text in row["_value"].items()
            if not (sealed := _decoded(text)).startswith(mark)
        ]
        return Findings(found, _next(rows, limit))

    async def replace(self, tx: Tx, found: Found, sealed: bytes) -> bool:
        """Put a value in the place of the one found; False where that is not there now."""
        connection = connection_of(tx)
        this = self._table.c.id == found.row_id
        present = await connection.scalar(
            select(self.column).where(this).with_for_update()
        )
        if present is None or _decoded(present.get(found.key, "")) != found.sealed:
            return False
        anew = {**present, found.key: base64.b64encode(sealed).decode()}
        await connection.execute(
            update(self._table).where(this).values({self.column: anew})
        )
        return True


class SealedBlobs(Place):
    """A column that names a sealed blob."""

    __slots__ = ()

    async def named(self, tx: Tx, after: str, limit: int) -> Findings:
        """All blobs that rows after one name."""
        rows = await self._rows(tx, after, limit, self.column != "")
        found = [
            Found(row["id"], self._name(row), self._whose(row), key=row["_value"])
            for row in rows
        ]
        return Findings(found, _next(rows, limit))

    async def is_named(self, tx: Tx, found: Found) -> bool:
        """Whether the row still names this blob."""
        present = await connection_of(tx).scalar(
            select(self.column).where(self._table.c.id == found.row_id)
        )
        return bool(present == found.key)

    async def is_gone(self, tx: Tx, found: Found) -> bool:
        """Whether the row is there no more."""
        row_id = self._table.c.id
        present = await connection_of(tx).scalar(
            select(row_id).where(row_id == found.row_id)
        )
        return present is None


def _next(rows: Sequence[RowMapping], limit: int) -> str | None:
    return str(rows[-1]["id"]) if len(rows) == limit else None


def _decoded(text: str) -> bytes:
    """What base64 means; nothing where it is none, which no key can open."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


COLUMNS: tuple[SealedColumn | SealedMap, ...] = (
    SealedColumn(
        "variables",
        variables.c.sealed,
        "variable",
        (variables.c.key, variables.c.workspace_id),
    ),
    SealedColumn("run_variables", tasks.c.sealed_variables, "run-variables"),
    SealedColumn("scripts_of_tasks", tasks.c.sealed_script, "script"),
    SealedMap(
        "script_defaults", scripts.c.sealed_defaults, "script-default", (scripts.c.key,)
    ),
    SealedColumn(
        "run_task_keys", run_tasks.c.sealed_key, "run-task-key", (run_tasks.c.name,)
    ),
    SealedColumn(
        "notification_urls",
        notifications.c.sealed_url,
        "notification-url",
        (notifications.c.name,),
    ),
    SealedColumn(
        "notification_secrets",
        notifications.c.sealed_secret,
        "notification-secret",
        (notifications.c.name,),
    ),
    SealedColumn("issuer_keys", issuer_keys.c.private_sealed, "issuer-key"),
    SealedColumn(
        "outputs",
        state_versions.c.outputs,
        "outputs",
        (state_versions.c.workspace_id, state_versions.c.serial),
    ),
)

BLOBS: tuple[SealedBlobs, ...] = (
    SealedBlobs(
        "states",
        state_versions.c.blob_key,
        "state",
        (state_versions.c.workspace_id, state_versions.c.serial),
    ),
    SealedBlobs("plans", tasks.c.plan_blob, "plan", (tasks.c.workspace_id,)),
    SealedBlobs(
        "plan_jsons", tasks.c.plan_json_blob, "plan-json", (tasks.c.workspace_id,)
    ),
)
