"""Ends open streams once their caller may not read there any more, wherever that was decided.

One look every two seconds judges all that this server streams to: viewers with the same
credential at the same place are judged once, and thousands that differ by a few queries.
A wake-up makes the look come at once; a lost one delays it by those two seconds.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from starlette.requests import HTTPConnection

from sluice.auth.authenticator import Authenticator
from sluice.auth.credentials import bearer_of
from sluice.auth.jwt import LOCAL_USER
from sluice.auth.live_ports import LiveStore, WhoWhere
from sluice.auth.model import (
    Place,
    Principal,
    ResultPrincipal,
    Standing,
    StoredToken,
    TaskPrincipal,
    User,
    UserPrincipal,
)
from sluice.auth.permissions import Permission
from sluice.auth.policy import user_at
from sluice.auth.tokens import hash_secret
from sluice.base.clock import Clock
from sluice.base.errors import UnauthorizedError
from sluice.base.ids import TokenId, UserId
from sluice.base.transactions import Transactions

LOOK_SECONDS = 2.0
PAUSE_SECONDS = 0.1
CLOSE_UNAUTHORIZED = 4401
CLOSE_FORBIDDEN = 4403
_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a stream ends before its time.

    Attributes:
        close: the WebSocket's close code.
        code: the error's code, as in problem documents.
        why: in words, short enough for a close frame.
    """

    close: int
    code: str
    why: str


EXPIRED = Ending(
    CLOSE_UNAUTHORIZED, "unauthorized", "Your token has expired; sign in again."
)
ENDED = Ending(
    CLOSE_UNAUTHORIZED,
    "unauthorized",
    "You were signed out, or your token was revoked; sign in again.",
)
DISABLED = Ending(CLOSE_UNAUTHORIZED, "unauthorized", "Your user is disabled.")
HIDDEN = Ending(CLOSE_FORBIDDEN, "forbidden", "You may not read this any more.")

End = Callable[[Ending], None]


@dataclass(frozen=True, slots=True)
class _Watched:
    """What is judged once, however many streams it has."""

    principal: Principal
    place: Place
    permission: Permission
    until: datetime | None
    secret_hash: str


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a look has found, for all at once."""

    now: datetime
    tokens: dict[TokenId, StoredToken]
    users: dict[UserId, User]
    standings: dict[WhoWhere, Standing]


class LiveStreams:
    """The open streams of one server; `run` looks after them.

    Args:
        transactions: opens transactions.
        store: answers about many at once.
        authenticator: knows whether tasks' and results' tokens still count.
        clock: tells what has expired.
    """

    def __init__(
        self,
        transactions: Transactions,
        store: LiveStore,
        authenticator: Authenticator,
        clock: Clock,
    ) -> None:
        self._transactions = transactions
        self._store = store
        self._authenticator = authenticator
        self._clock = clock
        self._watched: dict[_Watched, dict[object, End]] = {}
        self._woken = asyncio.Event()

    def __len__(self) -> int:
        """How many differ in credential or place."""
        return len(self._watched)

    @contextmanager
    def watch(self, connection: HTTPConnection, end: End) -> Iterator[None]:
        """While the block runs, ``end`` is called once the caller may not read any more.

        It may be called more than once, and must not wait.
        """
        watched = _watched(connection)
        key = object()
        self._watched.setdefault(watched, {})[key] = end
        try:
            yield
        finally:
            ends = self._watched[watched]
            del ends[key]
            if not ends:
                del self._watched[watched]

    def wake(self) -> None:
        """Something has ended somewhere: look now."""
        self._woken.set()

    async def run(self) -> None:
        """Look until cancelled."""
        _logger.info("watching the rights of open streams")
        try:
            while True:
                await self._pause()
                try:
                    await self.look()
                except Exception:
                    # the database may be away for a while
                    _logger.exception("open streams could not be judged; again soon")
        finally:
            _logger.info("no longer watching the rights of open streams")

    async def look(self) -> None:
        """Judge all streams once, and end those that have to."""
        endings = await self._endings(list(self._watched))
        for watched, ending in endings:
            for end in list(self._watched.get(watched, {}).values()):
                end(ending)

    async def _pause(self) -> None:
        await asyncio.sleep(PAUSE_SECONDS)
        try:
            async with asyncio.timeout(LOOK_SECONDS - PAUSE_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            return
        self._woken.clear()

    async def _endings(
        self, all_watched: list[_Watched]
    ) -> list[tuple[_Watched, Ending]]:
        users = [one for one in all_watched if isinstance(one.principal, UserPrincipal)]
        found = []
        if users:
            facts = await self._facts(users)
            judged = ((one, self._judge_user(one, facts)) for one in users)
            found += [(one, ending) for one, ending in judged if ending is not None]
        for one in all_watched:
            if isinstance(one.principal, TaskPrincipal | ResultPrincipal):
                ending = await self._judge_worker(one)
                if ending is not None:
                    found.append((one, ending))
        return found

    async def _facts(self, watched: list[_Watched]) -> _Facts:
        callers = {
            one.principal
            for one in watched
            if isinstance(one.principal, UserPrincipal) and not _is_local(one.principal)
        }
        places = {
            (one.principal.user_id, one.place)
            for one in watched
            if isinstance(one.principal, UserPrincipal)
        }
        async with self._transactions.read() as tx:
            tokens = await self._store.credentials(
                tx, {who.credential_id for who in callers if who.credential_id}
            )
            users = await self._store.users(tx, {who.user_id for who in callers})
            standings = await self._store.standings(tx, places)
        return _Facts(self._clock.now(), tokens, users, standings)

    def _judge_user(self, watched: _Watched, facts: _Facts) -> Ending | None:
        principal = watched.principal
        if not isinstance(principal, UserPrincipal) or _is_local(principal):
            return None
        if watched.until is not None and facts.now >= watched.until:
            return EXPIRED
        if principal.credential_id is not None:
            token = facts.tokens.get(principal.credential_id)
            if token is None or not self._authenticator.is_valid(token, facts.now):
                return ENDED
        user = facts.users.get(principal.user_id)
        if user is None or user.disabled_at is not None:
            return DISABLED
        standing = facts.standings.get((user.id, watched.place), Standing())
        present = replace(principal, admin=user.admin)
        if watched.permission not in user_at(present, watched.place, standing):
            return HIDDEN
        return None

    async def _judge_worker(self, watched: _Watched) -> Ending | None:
        try:
            await self._authenticator.check_alive(
                watched.principal, watched.secret_hash
            )
        except UnauthorizedError:
            return ENDED
        return None


@contextmanager
def ending_with_caller(connection: HTTPConnection, end: End) -> Iterator[None]:
    """`LiveStreams.watch` of the server that handles this request, past its guard."""
    live: LiveStreams | None = getattr(connection.app.state, "live", None)
    if live is None:
        yield
        return
    with live.watch(connection, end):
        yield


def _watched(connection: HTTPConnection) -> _Watched:
    state = connection.state
    principal: Principal = state.principal
    is_user = isinstance(principal, UserPrincipal)
    return _Watched(
        principal,
        state.place,
        state.permission,
        principal.until if isinstance(principal, UserPrincipal) else None,
        # a user's credential is found by its id; a ticket must not be looked at again
        "" if is_user else hash_secret(bearer_of(connection)),
    )


def _is_local(principal: UserPrincipal) -> bool:
    return principal.user_id == LOCAL_USER.user_id
