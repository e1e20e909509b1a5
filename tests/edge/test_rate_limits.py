import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sluice.base.errors import RateLimitedError, UnauthorizedError
from sluice.edge.metrics import metrics_endpoint, new_registry
from sluice.edge.problems import install_problem_handlers
from sluice.edge.rate_counters import BoundedMemory, MemoryCounters, RedisCounters
from sluice.edge.rate_limits import (
    KNOWN,
    LimitRates,
    RateKind,
    RateLimits,
    Rates,
    address_of,
    credential_taken,
    spend,
)
from sluice.testing.processes import free_port
from sluice.testing.redis import redis

GOOD = {"authorization": "Bearer good"}
AGENT = {"authorization": "Bearer agent"}
BAD = {"authorization": "Bearer bad"}


class TurnedClock:
    """A clock that stands until it is turned."""

    def __init__(self) -> None:
        self.at = 13.0

    def now(self) -> datetime:
        return datetime(2026, 5, 1, tzinfo=UTC) + timedelta(seconds=self.at)

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


async def page(request: Request) -> Response:
    match request.headers.get("authorization", ""):
        case "Bearer good":
            credential_taken(request, exempt=False)
            await spend(request, RateKind.CREDENTIAL, "one")
            await spend(request, RateKind.ORGANIZATION, "acme")
        case "Bearer agent":
            credential_taken(request, exempt=True)
        case _:
            raise UnauthorizedError("No.")
    return Response("page")


@asynccontextmanager
async def served(rates: Rates, clock: TurnedClock) -> AsyncIterator[httpx2.AsyncClient]:
    registry = new_registry()
    limits = RateLimits(rates, MemoryCounters(clock), registry, clock)
    app = FastAPI(openapi_url=None)
    install_problem_handlers(app)
    app.router.routes.append(Route("/page", page, methods=["GET", "POST"]))
    app.router.routes.append(Route("/metrics", metrics_endpoint(registry)))
    app.add_middleware(LimitRates, limits=limits)
    transport = httpx2.ASGITransport(app=app, client=("192.0.2.7", 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://t") as client:
        yield client


async def test_answers_say_what_is_left(clock: TurnedClock) -> None:
    rates = Rates(address=50, credential=20, organization=30)
    async with served(rates, clock) as client:
        await client.get("/page", headers=GOOD)
        answer = await client.get("/page", headers=GOOD)
    assert answer.headers["ratelimit-policy"] == (
        '"address";q=50;w=60, "credential";q=20;w=60, "organization";q=30;w=60'
    )
    assert answer.headers["ratelimit"] == (
        '"address";r=48;t=47, "credential";r=18;t=47, "organization";r=28;t=47'
    )


@pytest.mark.parametrize(
    ("rates", "headers", "setting"),
    [
        (Rates(address=3), {}, "requests_per_minute_per_address"),
        (Rates(address=3), GOOD, "requests_per_minute_per_address"),
        (Rates(credential=3), GOOD, "requests_per_minute_per_credential"),
        (Rates(organization=3), GOOD, "requests_per_minute_per_organization"),
        (Rates(failures=3), BAD, "failed_credentials_per_minute_per_address"),
    ],
)
async def test_one_too_many_is_refused_in_words(
    rates: Rates, headers: dict[str, str], setting: str, clock: TurnedClock
) -> None:
    async with served(rates, clock) as client:
        for _ in range(3):
            answer = await client.get("/page", headers=headers)
            assert answer.status_code in {200, 401}
        refused = await client.get("/page", headers=headers)
        counted = (await client.get("/metrics")).text
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["retry-after"] == "47"
    problem = refused.json()
    assert problem["code"] == "rate_limited"
    assert problem["setting"] == setting
    assert problem["limit"] == 3
    assert setting in problem["detail"]
    assert f"SLUICE_{setting.upper()}" in problem["detail"]
    assert re.search(r'refusals_total\{limit="\w+"\} 1\.0', counted)


async def test_the_next_minute_begins_anew(clock: TurnedClock) -> None:
    async with served(Rates(address=1), clock) as client:
        assert (await client.get("/page", headers=GOOD)).status_code == 200
        assert (await client.get("/page", headers=GOOD)).status_code == 429
        clock.at += 47
        assert (await client.get("/page", headers=GOOD)).status_code == 200


async def test_failures_of_others_do_not_stop_a_known_credential(
    clock: TurnedClock,
) -> None:
    async with served(Rates(failures=3), clock) as client:
        assert (await client.get("/page", headers=GOOD)).status_code == 200
        for _ in range(3):
            assert (await client.get("/page", headers=BAD)).status_code == 401
        assert (await client.get("/page", headers=BAD)).status_code == 429
        assert (await client.get("/page", headers=GOOD)).status_code == 200
        # right, and not known: a guess that would tell
        assert (await client.get("/page", headers=AGENT)).status_code == 429


async def test_who_sends_no_credential_guesses_nothing_except_by_a_sign_in(
    clock: TurnedClock,
) -> None:
    async with served(Rates(failures=2), clock) as client:
        for _ in range(5):
            assert (await client.get("/page")).status_code == 401
        for _ in range(2):
            assert (await client.post("/page")).status_code == 401
        assert (await client.post("/page")).status_code == 429


async def test_signed_tokens_are_no_guesses(clock: TurnedClock) -> None:
    signed = {"authorization": "Bearer aaaa.bbbb.cccc"}
    async with served(Rates(failures=2, address=20), clock) as client:
        for _ in range(10):
            assert (await client.get("/page", headers=signed)).status_code == 401
        assert (await client.get("/page", headers=GOOD)).status_code == 200
        for _ in range(9):
            await client.get("/page", headers=signed)
        # they count for their address
        assert (await client.get("/page", headers=signed)).status_code == 429


async def test_agents_are_counted_once_and_never_refused(clock: TurnedClock) -> None:
    async with served(Rates(address=1, credential=1), clock) as client:
        answers = [await client.get("/page", headers=AGENT) for _ in range(10)]
    assert [answer.status_code for answer in answers] == [200] * 10
    assert "ratelimit" in answers[0].headers
    assert "ratelimit" not in answers[1].headers


async def test_what_watches_the_server_is_never_refused(clock: TurnedClock) -> None:
    async with served(Rates(address=1), clock) as client:
        for _ in range(5):
            answer = await client.get("/metrics")
            assert answer.status_code == 200
            assert "ratelimit" not in answer.headers


async def test_no_limit_no_headers(clock: TurnedClock) -> None:
    async with served(Rates(), clock) as client:
        answers = [await client.get("/page", headers=GOOD) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    assert not any("ratelimit" in answer.headers for answer in answers)


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
    ],
)
def test_addresses_by_network(host: str, counted: str) -> None:
    assert address_of({"client": (host, 1)}) == counted


def test_no_address() -> None:
    assert address_of({"client": None}) == "unknown"


async def test_memory_is_bounded(clock: TurnedClock) -> None:
    storage = BoundedMemory(clock, keys=1000)
    for number in range(20_000):
        await storage.incr(f"LIMITER/{number}", 60)
    assert len(storage) <= 1000
    assert await storage.get("LIMITER/19999") == 1
    assert await storage.get("LIMITER/0") == 0


async def test_what_is_over_is_forgotten(clock: TurnedClock) -> None:
    storage = BoundedMemory(clock)
    for number in range(100):
        await storage.incr(str(number), 60)
    clock.at += 61
    assert await storage.incr("5", 60) == 1
    assert len(storage) == 1


async def test_known_credentials_are_bounded(clock: TurnedClock) -> None:
    limits = RateLimits(Rates(), MemoryCounters(clock), new_registry(), clock)
    for number in range(KNOWN + 10):
        limits.learn(str(number).encode(), exempt=True)
    assert not limits.knows(b"9")
    assert limits.knows(b"10")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis may be slow on a machine that is busy."""
    monkeypatch.setattr("sluice.edge.rate_counters.REDIS_SECONDS", 30.0)


@pytest.mark.usefixtures("patient")
async def test_processes_count_together_over_redis(
    redis_url: str, clock: TurnedClock
) -> None:
    one, other = RedisCounters(redis_url, clock), RedisCounters(redis_url, clock)
    rates = Rates(address=5)
    first = RateLimits(rates, one, new_registry(), clock)
    second = RateLimits(rates, other, new_registry(), clock)
    address = f"198.51.100.{secrets.token_hex(4)}"
    for _ in range(2):
        await first.spend(RateKind.ADDRESS, address)
        await second.spend(RateKind.ADDRESS, address)
    spent = await first.spend(RateKind.ADDRESS, address)
    assert spent is not None
    assert spent.left == 0
    with pytest.raises(RateLimitedError):
        await second.spend(RateKind.ADDRESS, address)
    await first.close()
    await second.close()


async def test_without_redis_each_process_counts_and_nobody_is_refused_for_it(
    clock: TurnedClock,
) -> None:
    counters = RedisCounters(f"redis://127.0.0.1:{free_port()}/0", clock)
    limits = RateLimits(Rates(address=3), counters, new_registry(), clock)
    for _ in range(3):
        assert await limits.spend(RateKind.ADDRESS, "192.0.2.1") is not None
    with pytest.raises(RateLimitedError):
        await limits.spend(RateKind.ADDRESS, "192.0.2.1")
    await limits.close()


@pytest.mark.usefixtures("patient", "redis_server")
async def test_redis_that_comes_back_is_used_again(
    monkeypatch: pytest.MonkeyPatch, clock: TurnedClock
) -> None:
    monkeypatch.setattr("sluice.edge.rate_counters.PAUSE_SECONDS", 0.0)
    port = free_port()
    counters = RedisCounters(f"redis://127.0.0.1:{port}/0", clock)
    assert await counters.add("k", 60) == 1
    with redis(port):
        assert await counters.add("k", 60) == 1
        assert await counters.number("k") == 1
    assert await counters.add("k", 60) == 2
    await counters.close()
