"""Brings a database to the shape this version needs, in two halves.

`expand` migrations only add and run before a deployment, while older servers still work;
`contract` migrations take away what nobody uses any more and run after it. A server
needs all of `expand`; `contract` may wait.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from sluice.base.errors import SluiceError, UnavailableError
from sluice.db.engine import Database, connection_of, open_database

_FOLDER = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x51_0C_E0


class Half(StrEnum):
    """Which migrations to run."""

    EXPAND = "expand"
    CONTRACT = "contract"


class SchemaBehindError(SluiceError):
    """The database lacks migrations that this version needs: run `sluice db upgrade`."""

    code = "schema_behind"
    title = "Database needs an upgrade"


class SchemaAheadError(SluiceError):
    """The database was upgraded by a newer Sluice: run that version or a newer one."""

    code = "schema_ahead"
    title = "Database is from a newer version"


class DatabaseUnusableError(UnavailableError):
    """The database does not answer or refuses; look at `SLUICE_DATABASE_URL`."""

    code = "database_unusable"
    title = "Database cannot be used"


async def upgrade(url: str, half: Half | None = None) -> list[str]:
    """Run all missing migrations, or those of one half; the names of those run.

    One transaction: all or nothing. Several processes may try at once; one runs, the
    others wait and find nothing left.
    """
    database = open_database(url, pool_size=1)
    try:
        return await upgrade_database(database, half)
    finally:
        await database.close()


async def upgrade_database(database: Database, half: Half | None = None) -> list[str]:
    """As `upgrade`, on an open database."""
    _check_place(database)
    with _explained():
        async with database.write() as tx:
            return await connection_of(tx).run_sync(_upgrade, half)


async def pending(database: Database, half: Half | None = None) -> list[str]:
    """Names of the migrations that have not run yet, in order.

    Raises:
        SchemaAheadError: the database has migrations that this version does not know.
    """
    _check_place(database)
    with _explained():
        async with database.read() as tx:
            return await connection_of(tx).run_sync(_pending, half)


async def require_current(database: Database) -> None:
    """Refuse a database that lacks what this version needs.

    Raises:
        SchemaBehindError: expand migrations are missing.
    """
    missing = await pending(database, Half.EXPAND)
    if missing:
        raise SchemaBehindError(
            f"The database lacks {len(missing)} migration(s) that this version needs "
            f"({', '.join(missing)}); run `sluice db upgrade`."
        )


def _check_place(database: Database) -> None:
    url = database.engine.url
    if database.dialect != "sqlite" or not url.database or url.database == ":memory:":
        return
    folder = Path(url.database).absolute().parent
    if not folder.is_dir():
        raise DatabaseUnusableError(
            f"There is no directory {folder} for the database; make it, "
            "or change SLUICE_DATABASE_URL."
        )


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (OSError, DBAPIError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        reason = str(cause).strip().split("\n", 1)[0]
        raise DatabaseUnusableError(
            f"The database cannot be used ({reason}); look at SLUICE_DATABASE_URL."
        ) from error


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.set_main_option("path_separator", "newline")
    config.set_main_option(
        "version_locations", "\n".join(str(_FOLDER / half) for half in Half)
    )
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection, half: Half | None) -> list[str]:
    if connection.dialect.name == "postgresql":
        lock = text("SELECT pg_advisory_xact_lock(:key)")
        connection.execute(lock, {"key": _ADVISORY_LOCK})
    missing = _pending(connection, half)
    if missing:
        target = "heads" if half is None else f"{half}@head"
        command.upgrade(_config(connection), target)
    return missing


def _pending(connection: Connection, half: Half | None) -> list[str]:
    scripts = ScriptDirectory.from_config(_config())
    applied = _applied(connection, scripts)
    revisions = reversed(list(scripts.walk_revisions()))
    return [
        revision.revision
        for revision in revisions
        if revision.revision not in applied
        and (half is None or half in revision.branch_labels)
    ]


def _applied(connection: Connection, scripts: ScriptDirectory) -> set[str]:
    heads = MigrationContext.configure(connection).get_current_heads()
    known = {revision.revision for revision in scripts.walk_revisions()}
    unknown = sorted(set(heads) - known)
    if unknown:
        raise SchemaAheadError(
            f"The database has migrations of a newer Sluice ({', '.join(unknown)}); "
            "run that version or a newer one."
        )
    found: set[str] = set()
    for head in heads:
        found |= {r.revision for r in scripts.iterate_revisions(head, "base")}
    # A head of `contract` stands for the expand migrations that it depends on.
    for revision in scripts.walk_revisions():
        if revision.revision in found:
            found |= set(revision._all_down_revisions)  # noqa: SLF001
    return found
