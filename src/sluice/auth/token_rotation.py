"""Gives a user's API token a new secret: the same name and scope, and as long to live."""

from dataclasses import replace
from datetime import datetime, timedelta

from sluice.auth.actions import AuthDeps, IssuedToken
from sluice.auth.audit_calls import about
from sluice.auth.model import StoredToken, TokenKind
from sluice.auth.tokens import hash_secret, new_secret
from sluice.base.errors import NotFoundError
from sluice.base.ids import TokenId, UserId, new_token_id


async def rotate_user_token(
    deps: AuthDeps, *, user_id: UserId, token_id: TokenId
) -> IssuedToken:
    """End one of a user's API tokens and make one like it, that lives as long again.

    Raises:
        NotFoundError: the user has no such token.
    """
    now = deps.clock.now()
    secret = new_secret(TokenKind.USER)
    async with deps.transactions.write() as tx:
        former = await deps.store.get_token(tx, token_id)
        if (
            former is None
            or (former.kind, former.subject_id) != (TokenKind.USER, user_id)
            or not former.valid_at(now)
            or not await deps.store.revoke_token(tx, token_id, now)
        ):
            raise NotFoundError(f"There is no token {token_id} to rotate here.")
        token = replace(
            former,
            id=new_token_id(),
            hash=hash_secret(secret),
            created_at=now,
            expires_at=_end(deps, former, now),
            last_used_at=None,
        )
        await deps.store.add_token(tx, token)
        about(token.id, name=token.name, former_token_id=token_id)
    return IssuedToken(token, secret)


def _end(deps: AuthDeps, former: StoredToken, now: datetime) -> datetime | None:
    ends = None
    if former.expires_at is not None:
        ends = now + (former.expires_at - former.created_at)
    if not deps.token_days_max:
        return ends
    latest = now + timedelta(days=deps.token_days_max)
    return latest if ends is None else min(ends, latest)
