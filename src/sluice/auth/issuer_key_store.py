"""Issuer keys in SQL."""

from typing import Any

from sqlalchemy import Row, delete, insert, select, text, update

from sluice.auth.issuer_keys import IssuerKey
from sluice.auth.tables import issuer_keys
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of


class SqlIssuerKeyStore:
    """`IssuerKeyStore` on SQLite and PostgreSQL."""

    async def list_keys(self, tx: Tx) -> list[IssuerKey]:
        """All keys, oldest first."""
        query = select(issuer_keys).order_by(issuer_keys.c.created_at, issuer_keys.c.id)
        return [_key(row) for row in await connection_of(tx).execute(query)]

    async def hold_keys(self, tx: Tx) -> list[IssuerKey]:
        """All keys; nobody else changes them until the transaction ends."""
        connection = connection_of(tx)
        if connection.dialect.name == "postgresql":
            # there may be no row yet that could be locked; who only reads goes on
            await connection.execute(text("LOCK TABLE issuer_keys IN EXCLUSIVE MODE"))
        return await self.list_keys(tx)

    async def add_key(self, tx: Tx, key: IssuerKey) -> None:
        """Keep a new key."""
        await connection_of(tx).execute(
            insert(issuer_keys).values(
                id=key.id,
                public=dict(key.public),
                private_sealed=key.private_sealed,
                created_at=key.created_at,
                retired_at=key.retired_at,
            )
        )

    async def retire_key(self, tx: Tx, key: IssuerKey) -> None:
        """Store when a key is retired."""
        await connection_of(tx).execute(
            update(issuer_keys)
            .where(issuer_keys.c.id == key.id)
            .values(retired_at=key.retired_at)
        )

    async def delete_key(self, tx: Tx, key_id: str) -> None:
        """Forget a key."""
        await connection_of(tx).execute(
            delete(issuer_keys).where(issuer_keys.c.id == key_id)
        )


def _key(row: Row[Any]) -> IssuerKey:
    return IssuerKey(
        id=row.id,
        public=row.public,
        private_sealed=bytes(row.private_sealed),
        created_at=row.created_at,
        retired_at=row.retired_at,
    )
