"""An event for one or two waiters that costs a tenth of asyncio's: there is one a connection."""

import asyncio


class Gate:
    """Open or shut; waiting ends when it opens. Many may wait, and few should."""

    __slots__ = ("_open", "_waiters")

    def __init__(self, *, is_open: bool = False) -> None:
        self._open = is_open
        self._waiters: list[asyncio.Future[None]] | None = None

    def is_set(self) -> bool:
        """Whether it is open."""
        return self._open

    def set(self) -> None:
        """Open it."""
        self._open = True
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def clear(self) -> None:
        """Shut it."""
        self._open = False

    async def wait(self) -> bool:
        """Wait until it is opened."""
        if not self._open:
            waiter = asyncio.get_running_loop().create_future()
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._forget(waiter)
        return True

    def _forget(self, waiter: "asyncio.Future[None]") -> None:
        if self._waiters and waiter in self._waiters:
            self._waiters.remove(waiter)
