"""The in-memory twin of `SqlIssuerKeyStore`."""

from sluice.auth.issuer_keys import IssuerKey
from sluice.base.transactions import Tx
from sluice.testing.memory import MemoryTransactions, reading, writing


class MemoryIssuerKeyStore:
    """`IssuerKeyStore` over a dict."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._keys: dict[str, IssuerKey] = transactions.table({})

    async def list_keys(self, tx: Tx) -> list[IssuerKey]:
        """All keys, oldest first."""
        reading(tx)
        return sorted(self._keys.values(), key=lambda key: (key.created_at, key.id))

    async def hold_keys(self, tx: Tx) -> list[IssuerKey]:
        """All keys; nobody else changes them until the transaction ends."""
        writing(tx)
        return await self.list_keys(tx)

    async def add_key(self, tx: Tx, key: IssuerKey) -> None:
        """Keep a new key."""
        writing(tx)
        self._keys[key.id] = key

    async def retire_key(self, tx: Tx, key: IssuerKey) -> None:
        """Store when a key is retired."""
        writing(tx)
        self._keys[key.id] = key

    async def delete_key(self, tx: Tx, key_id: str) -> None:
        """Forget a key."""
        writing(tx)
        self._keys.pop(key_id, None)
