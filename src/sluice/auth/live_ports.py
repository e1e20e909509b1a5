"""What judging open streams anew needs from a store: many answers from a few queries."""

from collections.abc import Collection
from typing import Protocol

from sluice.auth.model import Place, Standing, StoredToken, User
from sluice.base.ids import TokenId, UserId
from sluice.base.transactions import Tx

WhoWhere = tuple[UserId, Place]


class LiveStore(Protocol):
    """Credentials, users and what they are, in bulk; who is not there is left out."""

    async def credentials(
        self, tx: Tx, ids: Collection[TokenId]
    ) -> dict[TokenId, StoredToken]:
        """The tokens with these ids."""
        ...

    async def users(self, tx: Tx, ids: Collection[UserId]) -> dict[UserId, User]:
        """The users with these ids."""
        ...

    async def standings(
        self, tx: Tx, wanted: Collection[WhoWhere]
    ) -> dict[WhoWhere, Standing]:
        """What each of these users is at each of these places."""
        ...
