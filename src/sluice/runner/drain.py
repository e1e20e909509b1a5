"""Whether the agent takes new work, and whether it is to leave: the order of stopping.

1. ``drain``: nothing more is pulled; running phases go on to their end.
2. ``leave``: the program ends at once; phase processes go on by themselves and are taken
   up by the next start.
"""

import asyncio

import structlog

_log = structlog.get_logger(__name__)


class Drain:
    """The agent's wish to stop, as its loops see it.

    Attributes:
        ending: set once the agent drains in order to leave.
        leaving: set once it is to leave at once.
    """

    def __init__(self, changed: asyncio.Event) -> None:
        self._by_server = False
        self._reason = ""
        self._ending = False
        self.ending = asyncio.Event()
        self.leaving = asyncio.Event()
        self._changed = changed

    @property
    def draining(self) -> bool:
        """Nothing may be pulled."""
        return self._by_server or self._ending

    @property
    def words(self) -> str:
        """Why nothing is pulled; empty while work is taken."""
        if self._ending:
            return "draining in order to end"
        if not self._by_server:
            return ""
        return f"draining: {self._reason}" if self._reason else "draining"

    def asked_by_server(self, *, drain: bool, reason: str = "") -> None:
        """The server asks to drain, or to take work again; it may repeat itself."""
        if drain != self._by_server:
            _log.info("draining" if drain else "taking work again", why=reason)
        self._by_server = drain
        self._reason = reason
        self._changed.set()

    def end(self) -> None:
        """Drain, then leave."""
        self._ending = True
        self.ending.set()
        self._changed.set()

    def leave(self) -> None:
        """Leave at once."""
        self.end()
        self.leaving.set()
