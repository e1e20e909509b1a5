"""What the guard tells the audit log: who was let in to do what, and who was not."""

from typing import Protocol

from starlette.requests import HTTPConnection

from sluice.auth.model import SITE, Place, Principal
from sluice.auth.permissions import Permission
from sluice.base.errors import SluiceError


class Trail(Protocol):
    """Told by `auth/guard.py` about every caller, in ``app.state.trail``."""

    def begin(
        self,
        connection: HTTPConnection,
        principal: Principal,
        permission: Permission,
        place: Place,
    ) -> None:
        """The caller was let in; what the request writes is done by them."""
        ...

    async def denied(
        self,
        connection: HTTPConnection,
        principal: Principal,
        permission: Permission,
        error: SluiceError,
        *,
        place: Place = SITE,
    ) -> None:
        """The caller was known and not let in; ``place`` where that is known, too."""
        ...


class NoTrail:
    """`Trail` that leaves none, for applications put together without an audit log."""

    def begin(
        self,
        connection: HTTPConnection,
        principal: Principal,
        permission: Permission,
        place: Place,
    ) -> None:
        """Forget it."""

    async def denied(
        self,
        connection: HTTPConnection,
        principal: Principal,
        permission: Permission,
        error: SluiceError,
        *,
        place: Place = SITE,
    ) -> None:
        """Forget it."""
