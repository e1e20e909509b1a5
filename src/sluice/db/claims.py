"""How work that is due is taken by one server among several."""

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Select


def longest_due(query: Select[Any], due_at: Column[Any], now: datetime) -> Select[Any]:
    """The one row of ``query`` that is due longest at ``now`` and that nobody else takes.

    It is held until the transaction ends. Rows that others hold are passed over; on SQLite
    writers stand in line, so there are none.
    """
    return (
        query.where(due_at <= now)
        .order_by(due_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
