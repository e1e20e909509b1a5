"""Hashes passwords with argon2id, a bounded number at a time, and says which may be taken."""

import asyncio
import base64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from sluice.base.errors import InvalidInputError, RateLimitedError

MIN_LENGTH = 12
MAX_LENGTH = 1000
AT_ONCE = 2
WAIT_SECONDS = 5.0
_FEWEST_SIGNS = 4
_COMMON = frozenset(
    {
        "password1234",
        "password12345",
        "password123456",
        "passwordpassword",
        "passw0rd1234",
        "p@ssw0rd1234",
        "p@ssword1234",
        "123456789012",
        "1234567890123",
        "123456123456",
        "123123123123",
        "012345678910",
        "0123456789012",
        "098765432109",
        "987654321098",
        "qwertyuiopas",
        "qwertyuiop12",
        "qwertyuiop123",
        "qwerty123456",
        "qwertyqwerty",
        "1qaz2wsx3edc",
        "1q2w3e4r5t6y",
        "qazwsxedcrfv",
        "zaq12wsxcde3",
        "asdfghjklqwe",
        "abcdefghijkl",
        "abcdefghijklm",
        "abcd12345678",
        "abc123456789",
        "administrator",
        "administrator1",
        "admin1234567",
        "admin12345678",
        "changemechangeme",
        "changeme1234",
        "letmeinletmein",
        "letmein12345",
        "welcome12345",
        "welcome123456",
        "iloveyou1234",
        "iloveyouiloveyou",
        "trustno1trustno1",
        "correcthorsebatterystaple",
        "sluicesluice",
        "sluice123456",
        "terraformterraform",
        "terraform123",
    }
)
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a password fits; ``stale`` where its hash wants to be made anew."""

    fits: bool
    stale: bool = False


class Passwords:
    """argon2id with the library's own parameters (RFC 9106), beside the event loop.

    Each hash takes 64 MiB and a tenth of a second or so: two are made at once, and who
    waits longer than ``wait_seconds`` for a turn is told to come back.
    """

    def __init__(
        self,
        hasher: PasswordHasher | None = None,
        *,
        at_once: int = AT_ONCE,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._hasher = hasher or PasswordHasher()
        self._threads = ThreadPoolExecutor(at_once, "password")
        self._turns = asyncio.Semaphore(at_once)
        self._wait_seconds = wait_seconds
        self._nobodys = _hash_of_nothing(self._hasher)

    async def hash(self, password: str) -> str:
        """What is stored of a password.

        Raises:
            RateLimitedError: too many wait.
        """
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, stored: str | None, password: str) -> Verdict:
        """Whether ``password`` is the one that ``stored`` was made of.

        Where nothing is stored it takes the same time, so that nobody learns by the clock
        who there is.

        Raises:
            RateLimitedError: too many wait.
        """
        return await self._run(lambda: self._verified(stored, password[:MAX_LENGTH]))

    def _verified(self, stored: str | None, password: str) -> Verdict:
        try:
            self._hasher.verify(stored or self._nobodys, password)
        except (VerificationError, InvalidHashError):
            return Verdict(fits=False)
        if stored is None:
            return Verdict(fits=False)
        return Verdict(fits=True, stale=self._hasher.check_needs_rehash(stored))

    async def _run(self, work: Callable[[], Found]) -> Found:
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._turns.acquire()
        except TimeoutError:
            raise RateLimitedError(
                "Too many passwords are being checked at this moment; try again in some"
                " seconds.",
                retry_after=self._wait_seconds,
            ) from None
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        # a thread cannot be cut short: its turn ends with it, and not with who waits
        future.add_done_callback(lambda _: self._turns.release())
        return await asyncio.shield(future)


def _hash_of_nothing(hasher: PasswordHasher) -> str:
    """What no password fits, and takes as long as any to find out."""
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    salt, digest = (
        base64.b64encode(bytes(length)).decode().rstrip("=")
        for length in (hasher.salt_len, hasher.hash_len)
    )
    return f"$argon2id$v=19${cost}${salt}${digest}"


def check_password(password: str, *names: str | None) -> None:
    """Refuse a password that would be guessed first; ``names`` are the user's own.

    Raises:
        InvalidInputError: it may not be taken; the detail says why, and never repeats it.
    """
    plain = password.casefold().strip()
    if len(plain) < MIN_LENGTH or len(password) > MAX_LENGTH:
        raise InvalidInputError(
            f"The password has to have {MIN_LENGTH} to {MAX_LENGTH} characters, blanks at"
            " its ends not counted."
        )
    own = {part for name in names if name for part in _parts(name.casefold())}
    if plain in own or any(plain == part * (len(plain) // len(part)) for part in own):
        raise InvalidInputError(
            "The password is the user's own name or address; choose another."
        )
    if plain in _COMMON or len(set(plain)) < _FEWEST_SIGNS:
        raise InvalidInputError(
            "The password is one of those that are guessed first; choose another."
        )


def _parts(name: str) -> set[str]:
    return {name, name.partition("@")[0]} - {""}
