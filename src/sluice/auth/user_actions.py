"""What administrators do with users; there is always one of them left."""

from dataclasses import replace

from sluice.auth.actions import AuthDeps, check_user_name
from sluice.auth.model import TokenKind, User
from sluice.base.errors import ConflictError, NotFoundError
from sluice.base.ids import UserId
from sluice.base.transactions import Tx
from sluice.wire.shapes.people import UserPatch


async def get_user(deps: AuthDeps, *, user_id: UserId) -> User:
    """One user.

    Raises:
        NotFoundError: there is none of this id.
    """
    async with deps.transactions.read() as tx:
        found = await deps.store.get_user(tx, user_id)
    if found is None:
        raise NotFoundError(f"There is no user {user_id}.")
    return found


async def change_user(deps: AuthDeps, *, user_id: UserId, patch: UserPatch) -> User:
    """Change a user's name, address, or whether they are an administrator.

    Raises:
        NotFoundError: there is no such user.
        ConflictError: a name or an address is taken, or nobody would administer.
        InvalidInputError: the name is the server's own.
    """
    if patch.name is not None:
        check_user_name(patch.name)
    async with deps.transactions.write() as tx:
        user, others = await _hold(deps, tx, user_id)
        email = user.email
        if "email" in patch.model_fields_set:
            email = None if patch.email is None else patch.email.lower()
        changed = replace(
            user,
            name=patch.name or user.name,
            admin=user.admin if patch.admin is None else patch.admin,
            email=email,
        )
        if _administers(user) and not changed.admin:
            _demand(user, "made a plain user", others_left=others)
        await deps.store.save_user(tx, changed)
    return changed


async def disable_user(deps: AuthDeps, *, user_id: UserId) -> User:
    """Let none of a user's credentials open anything; their sessions end for good.

    API tokens open again what they opened once the user is enabled.

    Raises:
        NotFoundError: there is no such user.
        ConflictError: nobody would administer.
    """
    now = deps.clock.now()
    async with deps.transactions.write() as tx:
        user, others = await _hold(deps, tx, user_id)
        if user.disabled_at is not None:
            return user
        if user.admin:
            _demand(user, "disabled", others_left=others)
        changed = replace(user, disabled_at=now)
        await deps.store.save_user(tx, changed)
        for kind in (TokenKind.SESSION, TokenKind.TICKET):
            for token in await deps.store.list_tokens(tx, kind, user_id):
                await deps.store.revoke_token(tx, token.id, now)
    return changed


async def enable_user(deps: AuthDeps, *, user_id: UserId) -> User:
    """Let a user in again.

    Raises:
        NotFoundError: there is no such user.
    """
    async with deps.transactions.write() as tx:
        user, _ = await _hold(deps, tx, user_id)
        changed = replace(user, disabled_at=None)
        await deps.store.save_user(tx, changed)
    return changed


async def delete_user(deps: AuthDeps, *, user_id: UserId) -> None:
    """Delete a user who has never done anything, with all that is theirs.

    Raises:
        NotFoundError: there is no such user.
        ConflictError: history names them, or somebody has to stay for what they look after.
    """
    # the audit log is long: nobody shall wait meanwhile
    async with deps.transactions.read() as tx:
        known = await deps.store.get_user(tx, user_id)
        has_history = known is not None and await deps.store.has_history(tx, known)
    async with deps.transactions.write() as tx:
        user, others = await _hold(deps, tx, user_id)
        if _administers(user):
            _demand(user, "deleted", others_left=others)
        if has_history:
            raise ConflictError(
                f"The user {user.name} has signed in or done something, and history names"
                " them; disable them instead."
            )
        for membership in await deps.store.memberships_of(tx, user_id):
            place = membership.organization_id
            await deps.store.hold_organization(tx, place)
            await deps.store.remove_member(tx, place, user_id)
            if not await deps.store.has_other_owner(tx, place, user_id):
                raise ConflictError(
                    f"Without {user.name} the organization {place} would have no owner;"
                    " make somebody else its owner first."
                )
        await deps.store.delete_user(tx, user_id)


async def _hold(deps: AuthDeps, tx: Tx, user_id: UserId) -> tuple[User, bool]:
    """The user, held, and whether there are other administrators."""
    others = await deps.store.has_other_admin(tx, user_id)
    user = await deps.store.hold_user(tx, user_id)
    if user is None:
        raise NotFoundError(f"There is no user {user_id}.")
    return user, others


def _administers(user: User) -> bool:
    return user.admin and user.disabled_at is None


def _demand(user: User, done: str, *, others_left: bool) -> None:
    if not others_left:
        raise ConflictError(
            f"{user.name} is the last enabled administrator and cannot be {done};"
            " make somebody else an administrator first."
        )
