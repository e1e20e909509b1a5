"""How often somebody may try to sign in: by account and by address."""

import hashlib
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from sluice.base.clock import Clock
from sluice.base.errors import RateLimitedError

PER_ACCOUNT = 10
PER_ADDRESS = 30
_KNOWN = 10_000
_HOME_BITS = 64


class SignInThrottle:
    """Counts attempts on this server, before any password is looked at.

    An account counts by itself for all strange addresses together, and for each address
    from which it signed in before apart: who floods it from elsewhere does not keep its
    owner out.

    Args:
        clock: tells how long somebody has to wait.
        per_account: attempts a minute at one account.
        per_address: attempts a minute from one address (of IPv6: one /64).
    """

    def __init__(
        self,
        clock: Clock,
        *,
        per_account: int = PER_ACCOUNT,
        per_address: int = PER_ADDRESS,
    ) -> None:
        self._clock = clock
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._account = RateLimitItemPerMinute(per_account, namespace="account")
        self._address = RateLimitItemPerMinute(per_address, namespace="address")
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def attempt(self, account: str, address: str) -> None:
        """Count an attempt; ``account`` as it was typed.

        Raises:
            RateLimitedError: it is one too many.
        """
        home, name = _home(address), _digest(account)
        if not self._limiter.hit(self._address, home):
            raise self._too_many(
                self._address, home, "attempts to sign in from your address"
            )
        who = (name, home) if (name, home) in self._known else (name,)
        if not self._limiter.hit(self._account, *who):
            raise self._too_many(
                self._account, *who, "attempts to sign in to this account"
            )

    def succeeded(self, account: str, address: str) -> None:
        """Remember an address from which somebody signed in to their account."""
        key = (_digest(account), _home(address))
        self._known[key] = None
        self._known.move_to_end(key)
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)

    def _too_many(self, item: RateLimitItemPerMinute, *said: str) -> RateLimitedError:
        *who, what = said
        reset = self._limiter.get_window_stats(item, *who).reset_time
        return RateLimitedError(
            f"More than {item.amount} {what} in a minute; wait and try again.",
            retry_after=min(max(reset - self._clock.now().timestamp(), 1.0), 60.0),
        )


def _digest(account: str) -> str:
    return hashlib.sha256(account.strip().casefold().encode()).hexdigest()


def _home(address: str) -> str:
    """The address, or the network that one household of IPv6 has."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Address(int(found) >> _HOME_BITS << _HOME_BITS))
