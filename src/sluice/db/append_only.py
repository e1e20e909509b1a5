"""Triggers that keep the rows of a table as they were written, on both databases."""

from sqlalchemy import DDL, Table, event

_REFUSAL = "entries of {table} are never changed or deleted"
_POSTGRESQL = (
    """CREATE FUNCTION {table}_stay() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '{refusal}'; END $$""",
    """CREATE TRIGGER {table}_stay BEFORE UPDATE OR DELETE ON {table}
FOR EACH ROW WHEN (OLD.{sealed} <> '') EXECUTE FUNCTION {table}_stay()""",
    """CREATE TRIGGER {table}_stay_all BEFORE TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION {table}_stay()""",
)
_SQLITE = tuple(
    f"""CREATE TRIGGER {{table}}_no_{verb} BEFORE {verb.upper()} ON {{table}}
WHEN OLD.{{sealed}} <> '' BEGIN SELECT RAISE(ABORT, '{{refusal}}'); END"""
    for verb in ("update", "delete")
)


def append_only(dialect: str, table: str, *, sealed: str) -> list[str]:
    """The statements that make a table refuse changes of rows whose ``sealed`` is no
    empty text.

    Args:
        dialect: `sqlite` or `postgresql`.
        table: its name.
        sealed: a column of texts that is filled when the row is final.
    """
    refusal = _REFUSAL.format(table=table)
    statements = _SQLITE if dialect == "sqlite" else _POSTGRESQL
    return [
        one.format(table=table, sealed=sealed, refusal=refusal) for one in statements
    ]


def keep_rows(table: Table, *, sealed: str) -> None:
    """Have the triggers made with the table, where it is made without migrations."""
    for dialect in ("sqlite", "postgresql"):
        for statement in append_only(dialect, table.name, sealed=sealed):
            made = DDL(statement)  # type: ignore[no-untyped-call]
            event.listen(table, "after_create", made.execute_if(dialect=dialect))
