"""A job's own way to the server: downloads and uploads of one task, tried until they succeed."""

import ssl
import time
from collections.abc import Callable
from pathlib import Path

import httpx2

from sluice.base.clock import Clock
from sluice.client.errors import error_of
from sluice.runner.backoff import Backoff

_TIMEOUT = httpx2.Timeout(60.0, connect=10.0)
_BLOCK = 1024 * 1024
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
_PATIENCE_STEP = 0.2
_SERVER_ERROR = 500
_TRY_AGAIN = frozenset({408, 425, 429})

Say = Callable[[str], None]
KeepTrying = Callable[[], bool]


class TransferError(Exception):
    """The transfer did not happen; the message is one sentence for people."""


class RefusedError(TransferError):
    """The server will not take or give this, however often it is asked."""


class _NotNowError(Exception):
    """This attempt failed; a later one may not."""


class Transfer:
    """Moves files between a job and the server with the task's own token.

    Args:
        server_url: the server's address.
        token: the task token.
        ca_file: certificates to trust instead of the system's; empty for those.
        clock: for deadlines.
        say: told when something has to be tried again, and when it worked then.
    """

    def __init__(
        self, server_url: str, *, token: str, ca_file: str, clock: Clock, say: Say
    ) -> None:
        self._clock = clock
        self._say = say
        context = ssl.create_default_context(cafile=ca_file or None)
        self._client = httpx2.Client(
            base_url=server_url,
            headers={
                "authorization": f"Bearer {token}",
                "user-agent": "sluice-agent",
                "accept-encoding": "identity",
            },
            timeout=_TIMEOUT,
            verify=context,
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def download(
        self,
        url: str,
        target: Path,
        *,
        what: str,
        deadline: float,
        keep_trying: KeepTrying,
    ) -> bool:
        """Fetch ``url`` into a file; False where the server has no such thing (204).

        Args:
            url: path on the server.
            target: the file, written anew.
            what: for people, e.g. "the configuration".
            deadline: seconds after which to give up.
            keep_trying: asked between attempts.

        Raises:
            RefusedError: the server said no.
            TransferError: the deadline passed, or ``keep_trying`` said no.
        """
        return self._until_done(
            lambda: self._download(url, target, f"Fetching {what}"),
            what=f"Fetching {what}",
            deadline=deadline,
            keep_trying=keep_trying,
        )

    def upload(
        self,
        url: str,
        source: Path,
        *,
        what: str,
        deadline: float,
        keep_trying: KeepTrying,
    ) -> None:
        """Put a file at ``url``; the same bytes again change nothing there.

        Arguments and errors are those of `download`.
        """
        self._until_done(
            lambda: self._upload(url, source, f"Storing {what}"),
            what=f"Storing {what}",
            deadline=deadline,
            keep_trying=keep_trying,
        )

    def _until_done(
        self,
        attempt: Callable[[], bool],
        *,
        what: str,
        deadline: float,
        keep_trying: KeepTrying,
    ) -> bool:
        backoff = Backoff(_FIRST_DELAY, _LONGEST_DELAY)
        until = self._clock.monotonic() + deadline
        attempts = 0
        while True:
            attempts += 1
            try:
                done = attempt()
            except _NotNowError as error:
                if attempts == 1:
                    self._say(
                        f"{what} failed ({error}); trying again for up to"
                        f" {deadline:g} s."
                    )
                if not self._wait(backoff.delay(), until, keep_trying):
                    raise TransferError(
                        f"{what} failed {attempts} times, last with: {error}."
                    ) from error
                continue
            if attempts > 1:
                self._say(f"{what} succeeded at attempt {attempts}.")
            return done

    def _wait(self, seconds: float, until: float, keep_trying: KeepTrying) -> bool:
        """Wait before the next attempt; False when there shall be none."""
        wake = self._clock.monotonic() + seconds
        if wake > until:
            return False
        while (rest := wake - self._clock.monotonic()) > 0:
            if not keep_trying():
                return False
            time.sleep(min(rest, _PATIENCE_STEP))
        return keep_trying()

    def _download(self, url: str, target: Path, what: str) -> bool:
        try:
            with self._client.stream("GET", _on_server(url)) as response:
                if response.status_code == httpx2.codes.NO_CONTENT:
                    return False
                if response.status_code != httpx2.codes.OK:
                    response.read()
                    raise _problem(response, what)
                with target.open("wb") as file:
                    for part in response.iter_raw(_BLOCK):
                        file.write(part)
        except httpx2.HTTPError as error:
            raise _NotNowError(_why(error)) from error
        return True

    def _upload(self, url: str, source: Path, what: str) -> bool:
        size = source.stat().st_size
        try:
            with source.open("rb") as file:
                response = self._client.put(
                    _on_server(url),
                    content=iter(lambda: file.read(_BLOCK), b""),
                    headers={
                        "content-length": str(size),
                        "content-type": "application/octet-stream",
                    },
                )
        except httpx2.HTTPError as error:
            raise _NotNowError(_why(error)) from error
        if not response.is_success:
            raise _problem(response, what)
        return True


def _on_server(url: str) -> str:
    """The path, if it is one: a token must not travel to another host."""
    if not url.startswith("/") or url.startswith("//"):
        raise RefusedError(f"The order names {url!r}, which is no path on the server.")
    return url


def _problem(response: httpx2.Response, what: str) -> _NotNowError | RefusedError:
    error = error_of(response.status_code, response.content, what=what)
    passing = response.status_code >= _SERVER_ERROR
    if passing or response.status_code in _TRY_AGAIN:
        return _NotNowError(f"{response.status_code}, {error.detail}")
    return RefusedError(
        f"{what} was refused by the server ({response.status_code}): {error.detail}"
    )


def _why(error: httpx2.HTTPError) -> str:
    return str(error) or type(error).__name__
