"""Tables of logs and their chunks.

On PostgreSQL `log_chunks` is partitioned by ``day`` (the UTC day on which the log was
opened, as days since 1970, the same for all chunks of a log), so that old output is
dropped a partition at a time.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
)

from sluice.db.engine import metadata
from sluice.db.types import UtcDateTime

# epoch: fencing number of who may write; sealed: the `end` event is in;
# archived: blob_key holds everything and the chunk rows may go; removed: its time is over,
# and blob_key stands only until the object is deleted
logs = Table(
    "logs",
    metadata,
    Column("task_id", Text, primary_key=True),
    Column("day", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("committed", BigInteger, nullable=False),
    Column("next_line", BigInteger, nullable=False),
    Column("sealed", Boolean, nullable=False),
    Column("sha256", Text),
    Column("final_status", Text),
    Column("blob_key", Text),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("sealed_at", UtcDateTime),
    Column("archived_at", UtcDateTime),
    Column("removed_at", UtcDateTime),
)

log_chunks = Table(
    "log_chunks",
    metadata,
    Column("task_id", Text, nullable=False),
    Column("day", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("length", Integer, nullable=False),
    Column("first_line", BigInteger, nullable=False),
    Column("newlines", Integer, nullable=False),
    Column("source", SmallInteger, nullable=False),
    # output or event in the lower four bits, the chunk's flags above
    Column("kind", SmallInteger, nullable=False),
    Column("captured_us", BigInteger, nullable=False),
    Column("crc", BigInteger, nullable=False),
    Column("meta", LargeBinary, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("uq_log_chunks_task_id_offset", "task_id", "offset", "day", unique=True),
    Index("ix_log_chunks_task_id_first_line", "task_id", "first_line"),
    postgresql_partition_by="RANGE (day)",
)
