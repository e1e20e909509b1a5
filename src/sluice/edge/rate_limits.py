"""How many requests a minute are answered: by address, by credential and by organization.

Every answer that counted says what is left, in the fields `RateLimit-Policy` and
`RateLimit` (draft-ietf-httpapi-ratelimit-headers-10, structured fields as in RFC 9651); a
refusal is a 429 problem document with `Retry-After` that names the limit and its setting.

Windows are of one minute and begin with the minute, for all processes alike, so that one
increment is all that a request costs. Around the turn of a minute twice the limit may pass.

A credential that was taken lately is known by a hash of the headers it came in. A known
one is not held up by the failures of others at its address; and one that belongs to an
agent or a task is not counted at all, since refusing it would cost a lease or a state and
the server sets its rhythm anyway. Signed tokens (JWTs) cannot be guessed: wrong ones count
for their address alone, so that those of agents whose leases are over stop nobody.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address

from limits import RateLimitItemPerMinute
from prometheus_client import CollectorRegistry, Counter
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sluice.base.clock import Clock
from sluice.base.errors import RateLimitedError
from sluice.edge.problems import problem_of
from sluice.edge.rate_counters import Counters

WINDOW_SECONDS = 60
KNOWN = 20_000
"""So many credentials are known at most; those not seen for longest are forgotten."""

EXEMPT = frozenset({"/healthz", "/readyz", "/metrics"})
"""What watches the server is never refused."""

_IPV6_PREFIX = 64
_STATE = "sluice.rates"
_CARRIERS = (b"authorization", b"cookie", b"sec-websocket-protocol")
_STARTS = frozenset({"http.response.start", "websocket.http.response.start"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "WEBSOCKET"})


class RateKind(StrEnum):
    """What is counted by."""

    ADDRESS = "address"
    FAILURES = "failures"
    CREDENTIAL = "credential"
    ORGANIZATION = "organization"


_OF = {
    RateKind.ADDRESS: "requests a minute from one address",
    RateKind.FAILURES: "requests a minute with wrong credentials from one address",
    RateKind.CREDENTIAL: "requests a minute with one credential",
    RateKind.ORGANIZATION: "requests a minute of one organization",
}
SETTINGS = {
    RateKind.ADDRESS: "requests_per_minute_per_address",
    RateKind.FAILURES: "failed_credentials_per_minute_per_address",
    RateKind.CREDENTIAL: "requests_per_minute_per_credential",
    RateKind.ORGANIZATION: "requests_per_minute_per_organization",
}


@dataclass(frozen=True, slots=True)
class Rates:
    """Requests a minute, each a setting; 0 is no limit."""

    address: int = 0
    failures: int = 0
    credential: int = 0
    organization: int = 0


@dataclass(frozen=True, slots=True)
class Spent:
    """What one request found: the limit, what is left of it, and for how long."""

    kind: RateKind
    limit: int
    left: int
    seconds: int


class RateLimits:
    """The counters of one server with their limits."""

    def __init__(
        self,
        rates: Rates,
        counters: Counters,
        registry: CollectorRegistry,
        clock: Clock,
    ) -> None:
        self._clock = clock
        given = (
            (RateKind.ADDRESS, rates.address),
            (RateKind.FAILURES, rates.failures),
            (RateKind.CREDENTIAL, rates.credential),
            (RateKind.ORGANIZATION, rates.organization),
        )
        self._items = {
            kind: RateLimitItemPerMinute(number) for kind, number in given if number
        }
        self._counters = counters
        self._known: OrderedDict[bytes, bool] = OrderedDict()
        self._refusals = Counter(
            "sluice_rate_limit_refusals_total",
            "Requests refused because of a rate, by what it is counted by.",
            ["limit"],
            registry=registry,
        )
        for kind in RateKind:
            self._refusals.labels(kind.value)

    async def spend(self, kind: RateKind, whose: str) -> Spent | None:
        """Count one request; None where there is no such limit.

        Raises:
            RateLimitedError: it is one too many.
        """
        item = self._items.get(kind)
        if item is None:
            return None
        key, seconds = self._window(item, kind, whose)
        number = await self._counters.add(key, WINDOW_SECONDS)
        if number > item.amount:
            raise self._refusal(kind, item.amount, seconds)
        return Spent(kind, item.amount, item.amount - number, seconds)

    async def check_failures(self, address: str) -> None:
        """Refuse an address that has failed too often in this minute.

        Raises:
            RateLimitedError: it has.
        """
        item = self._items.get(RateKind.FAILURES)
        if item is None:
            return
        key, seconds = self._window(item, RateKind.FAILURES, address)
        if await self._counters.number(key) >= item.amount:
            raise self._refusal(RateKind.FAILURES, item.amount, seconds)

    async def failed(self, address: str) -> None:
        """Wrong credentials came from there."""
        item = self._items.get(RateKind.FAILURES)
        if item is not None:
            key, _ = self._window(item, RateKind.FAILURES, address)
            await self._counters.add(key, WINDOW_SECONDS)

    def knows(self, digest: bytes) -> bool:
        """Whether a credential was taken lately."""
        return digest in self._known

    def is_exempt(self, digest: bytes) -> bool:
        """Whether it was that of an agent or a task."""
        return self._known.get(digest, False)

    def learn(self, digest: bytes, *, exempt: bool) -> None:
        """A credential was taken."""
        self._known[digest] = exempt
        self._known.move_to_end(digest)
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)

    def forget(self, digest: bytes) -> None:
        """A credential was refused."""
        self._known.pop(digest, None)

    async def close(self) -> None:
        """Let go of connections."""
        await self._counters.close()

    def _window(
        self, item: RateLimitItemPerMinute, kind: RateKind, whose: str
    ) -> tuple[str, int]:
        """The key of the present minute, and how many seconds of it are left."""
        now = int(self._clock.now().timestamp())
        key = item.key_for(kind.value, whose, str(now // WINDOW_SECONDS))
        return key, WINDOW_SECONDS - now % WINDOW_SECONDS

    def _refusal(self, kind: RateKind, limit: int, seconds: int) -> RateLimitedError:
        self._refusals.labels(kind.value).inc()
        setting = SETTINGS[kind]
        return RateLimitedError(
            f"{limit} {_OF[kind]} are the limit; wait {seconds} seconds, or raise the"
            f" setting {setting} (SLUICE_{setting.upper()}).",
            retry_after=seconds,
            limit=limit,
            setting=setting,
        )


@dataclass(slots=True)
class _Request:
    """What is known of one request's rates."""

    limits: RateLimits
    digest: bytes | None
    signed: bool
    spent: list[Spent]
    taken: bool = False


class LimitRates:
    """Counts by address before anything is read, and says in answers what is left.

    Args:
        app: what is around it.
        limits: the counters.
        exempt: paths that are never counted.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: RateLimits,
        exempt: Collection[str] = EXEMPT,
    ) -> None:
        self._app = app
        self._limits = limits
        self._exempt = frozenset(exempt)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] not in {"http", "websocket"} or scope["path"] in self._exempt:
            await self._app(scope, receive, send)
            return
        address = address_of(scope)
        request = _Request(self._limits, _digest(scope), _is_signed(scope), [])
        try:
            await self._admit(request, address)
        except RateLimitedError as error:
            await problem_of(error)(scope, receive, _telling(send, request))
            return
        scope[_STATE] = request
        status = 0

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] in _STARTS:
                status = message["status"]
            await telling(message)

        telling = _telling(send, request)
        await self._app(scope, receive, observed)
        if status == HTTPStatus.UNAUTHORIZED:
            await self._count_failure(scope, request, address)

    async def _admit(self, request: _Request, address: str) -> None:
        digest = request.digest
        if digest is not None and self._limits.is_exempt(digest):
            return
        known = digest is not None and self._limits.knows(digest)
        if not known and not request.signed:
            await self._limits.check_failures(address)
        spent = await self._limits.spend(RateKind.ADDRESS, address)
        if spent is not None:
            request.spent.append(spent)

    async def _count_failure(
        self, scope: Scope, request: _Request, address: str
    ) -> None:
        """A request without any credential guesses nothing, unless it is a sign-in."""
        guessed = scope.get("method", "WEBSOCKET") not in _SAFE
        if request.digest is not None:
            self._limits.forget(request.digest)
        if not request.signed and (guessed or request.digest is not None):
            await self._limits.failed(address)


async def spend(connection: HTTPConnection, kind: RateKind, whose: str) -> None:
    """Count a request whose caller is known by now; nothing where no rates are limited.

    Raises:
        RateLimitedError: it is one too many.
    """
    request: _Request | None = connection.scope.get(_STATE)
    if request is not None:
        spent = await request.limits.spend(kind, whose)
        if spent is not None:
            request.spent.append(spent)


def credential_taken(connection: HTTPConnection, *, exempt: bool) -> None:
    """The request's credential is right; ``exempt`` where it is not counted from now on."""
    request: _Request | None = connection.scope.get(_STATE)
    if request is not None and request.digest is not None:
        request.limits.learn(request.digest, exempt=exempt)


def address_of(scope: Scope) -> str:
    """Whose address a request counts for: an IPv6 one by its network of 64 bits.

    Who has one IPv6 address has all of its network.
    """
    client = scope.get("client")
    host = str(client[0]) if client else ""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host or "unknown"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        network = int(address) >> (128 - _IPV6_PREFIX) << (128 - _IPV6_PREFIX)
        return f"{IPv6Address(network)}/{_IPV6_PREFIX}"
    return str(address)


def policy_field(spent: Sequence[Spent]) -> str:
    """The value of `RateLimit-Policy`."""
    return ", ".join(f'"{one.kind}";q={one.limit};w={WINDOW_SECONDS}' for one in spent)


def limit_field(spent: Sequence[Spent]) -> str:
    """The value of `RateLimit`."""
    return ", ".join(f'"{one.kind}";r={one.left};t={one.seconds}' for one in spent)


def _telling(send: Send, request: _Request) -> Send:
    async def told(message: Message) -> None:
        if message["type"] in _STARTS and request.spent:
            headers = MutableHeaders(scope=message)
            headers["ratelimit-policy"] = policy_field(request.spent)
            headers["ratelimit"] = limit_field(request.spent)
        await send(message)

    return told


def _is_signed(scope: Scope) -> bool:
    """Whether a bearer that looks like a JWT came."""
    for name, value in scope["headers"]:
        if name.lower() == b"authorization":
            return bool(value[:7].lower() == b"bearer " and value.count(b".") == 2)
    return False


def _digest(scope: Scope) -> bytes | None:
    """A hash of what may be a credential; None where nothing is."""
    found = [value for name, value in scope["headers"] if name.lower() in _CARRIERS]
    return hashlib.sha256(b"\n".join(found)).digest() if found else None
