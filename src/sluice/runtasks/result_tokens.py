"""The token of a result: what it is made of, and whether it still opens anything."""

import hmac

from sluice.auth.model import ResultPrincipal
from sluice.auth.tokens import hash_secret
from sluice.base.clock import Clock
from sluice.base.ids import RunTaskResultId
from sluice.base.transactions import Transactions
from sluice.runtasks.model import Result
from sluice.runtasks.result_ports import ResultStore, ResultTokens
from sluice.runtasks.schedule import LONGEST, is_open

TOKEN_SECONDS = LONGEST.total_seconds() + 300
"""A token's end as it stands in it; it dies with its result, which is earlier."""


def token_of(tokens: ResultTokens, result: Result) -> str:
    """The token that every call about this result carries; its first call was begun."""
    return tokens.result(
        ResultPrincipal(result.id, result.task_id, result.organization_id),
        issued_at=result.issued_at or result.created_at,
        ttl=TOKEN_SECONDS,
    )


def is_token_of(result: Result, token: str) -> bool:
    """Whether this is the result's token, alive or not."""
    known = result.token_hash or ""
    return bool(known) and hmac.compare_digest(known, hash_secret(token))


class OpenResults:
    """Knows whether a result's token opens anything (`auth.ports.ResultTokens`)."""

    def __init__(
        self, transactions: Transactions, store: ResultStore, clock: Clock
    ) -> None:
        self._transactions = transactions
        self._store = store
        self._clock = clock

    async def is_open(self, result_id: RunTaskResultId, token_hash: str) -> bool:
        """Whether the result waits for its service, and this is its token."""
        async with self._transactions.read() as tx:
            result = await self._store.get(tx, result_id)
        return (
            result is not None
            and result.token_hash == token_hash
            and is_open(result, self._clock.now())
        )
