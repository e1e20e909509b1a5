"""What a caller may do where: finds the place that a request names, and what they are there."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from sluice.auth.model import (
    SITE,
    Place,
    PoolPrincipal,
    Principal,
    Standing,
    UserPrincipal,
)
from sluice.auth.permissions import Permission
from sluice.auth.policy import user_at
from sluice.auth.ports import AccessStore
from sluice.base.errors import NotFoundError
from sluice.base.ids import OrganizationId, WorkspaceId
from sluice.base.transactions import Transactions, Tx

_SHOWS = frozenset({Permission.READ, Permission.FIND})
Locate = Callable[[Tx, str], Awaitable[Place | None]]


@dataclass(frozen=True, slots=True)
class Locator:
    """How the value of a named parameter leads to a place.

    Attributes:
        noun: what the value names, for messages: "workspace".
        locate: the place of a value; None where there is no such thing.
    """

    noun: str
    locate: Locate


class Access:
    """Decides by place; `auth/guard.py` asks it before any route runs.

    Args:
        transactions: opens transactions.
        store: knows memberships, teams and grants.
        locators: by the names of parameters in paths and queries.
    """

    def __init__(
        self,
        transactions: Transactions,
        store: AccessStore,
        locators: Mapping[str, Locator],
    ) -> None:
        self._transactions = transactions
        self._store = store
        self._locators = locators
        self.names = frozenset(locators)

    async def enter(
        self, principal: Principal, named: Mapping[str, str]
    ) -> tuple[Principal, Place]:
        """The caller with what they may do at the place that parameters name, and that.

        ``named`` has only names that are in `names`.

        Agents, tasks and results pass as they are: what is not theirs is refused where it
        is loaded.

        Raises:
            NotFoundError: something named is not there, the names contradict each other,
                or the caller may not know of the place. All three sound alike.
        """
        if not isinstance(principal, UserPrincipal | PoolPrincipal):
            return principal, SITE
        async with self._transactions.read() as tx:
            place, missing = await self._locate(tx, named)
            entered = await self._at(tx, principal, place)
        if named and hidden(entered, place):
            # as if the first were not there, so that nothing can be told from the answer
            missing = next(iter(named))
        if missing is not None:
            noun = self._locators[missing].noun
            raise NotFoundError(f"There is no {noun} {named[missing]}.")
        return entered, place

    async def at(self, principal: Principal, place: Place) -> Principal:
        """The caller with what they may do at ``place``.

        Raises:
            NotFoundError: the place is hidden from the caller.
        """
        async with self._transactions.read() as tx:
            entered = await self._at(tx, principal, place)
        if hidden(entered, place):
            raise NotFoundError(f"There is no {_noun(place)} {_id(place)}.")
        return entered

    async def visible_workspaces(
        self, principal: Principal, place: Place
    ) -> frozenset[WorkspaceId] | None:
        """The workspaces of a place's organization that a caller may read; None for all."""
        organization_id = place.organization_id
        if organization_id is None or not isinstance(principal, UserPrincipal):
            return frozenset()
        within = principal.scope.workspace_ids
        if principal.admin:
            return within
        async with self._transactions.read() as tx:
            # a workspace that is not there: what the caller is in each of them
            anywhere = Place(organization_id, WorkspaceId(""))
            standing = await self._store.standing(tx, principal.user_id, anywhere)
            if Permission.READ in user_at(
                replace(principal, scope=replace(principal.scope, workspace_ids=None)),
                anywhere,
                standing,
            ):
                return within
            found = await self._store.granted_workspaces(
                tx, principal.user_id, organization_id
            )
        return found if within is None else found & within

    async def visible_organizations(
        self, principal: Principal
    ) -> frozenset[OrganizationId] | None:
        """The organizations that a caller may know of; None for all."""
        if isinstance(principal, UserPrincipal):
            only = principal.scope.organization_id
            if principal.admin:
                return None if only is None else frozenset({only})
            async with self._transactions.read() as tx:
                found = await self._store.organizations_of(tx, principal.user_id)
            return found if only is None else found & {only}
        owner = getattr(principal, "organization_id", None)
        return frozenset() if owner is None else frozenset({owner})

    async def _locate(
        self, tx: Tx, named: Mapping[str, str]
    ) -> tuple[Place, str | None]:
        """The place of all names, up to the first that leads nowhere, and that one."""
        place = SITE
        for name, value in named.items():
            found = await self._locators[name].locate(tx, value)
            joined = None if found is None else _joined(place, found)
            if joined is None:
                return place, name
            place = joined
        return place, None

    async def _at(self, tx: Tx, principal: Principal, place: Place) -> Principal:
        if not isinstance(principal, UserPrincipal):
            return principal
        standing = Standing()
        if not principal.admin:
            standing = await self._store.standing(tx, principal.user_id, place)
        return replace(principal, permissions=user_at(principal, place, standing))


def hidden(principal: Principal, place: Place) -> bool:
    """Whether the caller may not know that the place is there."""
    if place.organization_id is None:
        return False
    if isinstance(principal, UserPrincipal):
        return not principal.permissions & _SHOWS
    return getattr(principal, "organization_id", None) != place.organization_id


def _joined(one: Place, other: Place) -> Place | None:
    """The place that two names mean together; None where they contradict each other."""
    if one.organization_id is None:
        return other
    if one.organization_id != other.organization_id:
        return None
    if None in {one.workspace_id, other.workspace_id}:
        return one if other.workspace_id is None else other
    return one if one.workspace_id == other.workspace_id else None


def _noun(place: Place) -> str:
    return "organization" if place.workspace_id is None else "workspace"


def _id(place: Place) -> str:
    return str(place.workspace_id or place.organization_id)
