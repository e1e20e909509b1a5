import asyncio
import threading

import pytest
from argon2 import PasswordHasher
from typing_extensions import override

from sluice.auth.passwords import Passwords, check_password
from sluice.auth.sign_in_throttle import SignInThrottle
from sluice.base.errors import InvalidInputError, RateLimitedError
from tests.auth.conftest import TurnedClock

CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


async def test_a_password_fits_its_own_hash_alone() -> None:
    passwords = Passwords()
    stored = await passwords.hash("four words make sense")
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert (await passwords.verify(stored, "four words make sense")).fits
    assert not (await passwords.verify(stored, "four words make Sense")).fits
    assert not (await passwords.verify("rubbish", "four words make sense")).fits


async def test_where_there_is_no_password_none_fits() -> None:
    passwords = Passwords(CHEAP)
    for tried in ("", "x", "\0" * 40):
        assert not (await passwords.verify(None, tried)).fits


async def test_the_unknown_cost_as_much_as_the_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same work is done, with the same parameters."""
    seen: list[str] = []
    real = PasswordHasher.verify

    def spy(self: PasswordHasher, stored: str, password: str) -> bool:
        seen.append(stored.rpartition("$")[0].rpartition("$")[0])
        return real(self, stored, password)

    monkeypatch.setattr(PasswordHasher, "verify", spy)
    passwords = Passwords(CHEAP)
    stored = await passwords.hash("four words make sense")
    await passwords.verify(stored, "wrong")
    await passwords.verify(None, "wrong")
    assert seen[0] == seen[1]


async def test_a_hash_of_other_parameters_wants_to_be_made_anew() -> None:
    stored = await Passwords(CHEAP).hash("four words make sense")
    strong = PasswordHasher(time_cost=2, memory_cost=64, parallelism=1)
    found = await Passwords(strong).verify(stored, "four words make sense")
    assert (found.fits, found.stale) == (True, True)
    found = await Passwords(CHEAP).verify(stored, "four words make sense")
    assert (found.fits, found.stale) == (True, False)


class Held(PasswordHasher):
    """Hashes when it may, and counts how many do at once."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=64, parallelism=1)
        self.may = threading.Event()
        self.now = 0
        self.most = 0
        self.lock = threading.Lock()

    @override
    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.may.wait(60)
        with self.lock:
            self.now -= 1
        return super().hash(password, salt=salt)


async def test_two_at_once_and_who_waits_too_long_comes_back_later() -> None:
    held = Held()
    passwords = Passwords(held, at_once=2, wait_seconds=0.2)
    async with asyncio.TaskGroup() as group:
        busy = [group.create_task(passwords.hash("x")) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(RateLimitedError) as refused:
            await passwords.hash("y")
        assert "retry_after" in refused.value.extra
        # who goes away does not free the thread
        busy[0].cancel()
        with pytest.raises(RateLimitedError):
            await passwords.hash("y")
        held.may.set()
    assert held.most == 2
    assert (await passwords.hash("y")).startswith("$argon2id$")


@pytest.mark.parametrize(
    "password",
    [
        "short",
        "elevenchars",
        " " * 20,
        "     short     ",
        "aaaaaaaaaaaaaaaa",
        "abababababab",
        "password1234",
        "PassWord1234",
        "123456789012",
        "adalovelace@example.com",
        "adalovelaceadalovelace",
        "adalovelace1815",
        "ADALOVELACE1815",
        "x" * 1001,
    ],
)
def test_what_is_guessed_first_is_not_taken(password: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_password(password, "adalovelace1815", "adalovelace@example.com")
    assert password not in refused.value.detail


@pytest.mark.parametrize(
    "password", ["four words make sense", "Tr0ub4dor&3xyz", "пароль из слов 12"]
)
def test_others_are_taken(password: str) -> None:
    check_password(password, "ada", None)


# --- how often ------------------------------------------------------------------


def test_an_account_and_an_address_have_limits(clock: TurnedClock) -> None:
    throttle = SignInThrottle(clock)
    for number in range(10):
        throttle.attempt("ada", f"192.0.2.{number}")
    for name in ("ada", " ADA "):
        with pytest.raises(RateLimitedError, match="account"):
            throttle.attempt(name, "192.0.2.99")
    throttle.attempt("bob", "192.0.2.99")
    for number in range(28):
        throttle.attempt(f"name-{number}", "192.0.2.0")
    throttle.attempt("name-28", "192.0.2.0")
    with pytest.raises(RateLimitedError, match="address"):
        throttle.attempt("name-29", "192.0.2.0")


def test_a_flood_from_elsewhere_does_not_keep_an_owner_out(clock: TurnedClock) -> None:
    throttle = SignInThrottle(clock)
    throttle.attempt("ada", "198.51.100.1")
    throttle.succeeded("ada", "198.51.100.1")
    # the first attempt above was one of the strange ones
    for number in range(9):
        throttle.attempt("ada", f"192.0.2.{number}")
    with pytest.raises(RateLimitedError):
        throttle.attempt("ada", "192.0.2.99")
    for _ in range(10):
        throttle.attempt("ada", "198.51.100.1")
    with pytest.raises(RateLimitedError):
        throttle.attempt("ada", "198.51.100.1")


def test_a_household_of_ipv6_is_one_address(clock: TurnedClock) -> None:
    throttle = SignInThrottle(clock, per_address=2)
    throttle.attempt("a", "2001:db8:1:2::1")
    throttle.attempt("b", "2001:db8:1:2:ffff::1")
    with pytest.raises(RateLimitedError):
        throttle.attempt("c", "2001:db8:1:2::3")
    throttle.attempt("c", "2001:db8:1:3::3")
    throttle.attempt("d", "::ffff:192.0.2.1")
    throttle.attempt("d", "192.0.2.1")
    with pytest.raises(RateLimitedError):
        throttle.attempt("d", "192.0.2.1")
