"""Sends one request to the server: signed, retried where that is safe, errors by name."""

import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2
import stamina
from pydantic import BaseModel

from sluice.base.errors import SluiceError, UnauthorizedError
from sluice.client.errors import UnreachableError, error_of
from sluice.wire.secret import REVEAL

_TOKEN = re.compile(r"[!-~]+")
_SAFE_TO_REPEAT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_NOT_READY = frozenset({502, 503, 504})
# never reached the server, so any request may be sent again
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)

Params = Mapping[str, str | int | bool | None]
Body = BaseModel | Path | bytes | None


class _NotReadyError(Exception):
    """The server, or a proxy before it, says that it cannot answer now."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(response.status_code)
        self.response = response


class Transport:
    """One server, one token, kept-alive connections. Close it, or use it with `with`.

    Args:
        url: the server's address, e.g. ``https://sluice.example.com``.
        token: an API token or JWT; None for what needs none.
        attempts: how often a request is tried that may be repeated.
        timeout: seconds for one attempt's connect, and for each wait on bytes.

    Raises:
        UnauthorizedError: the token is none, by its looks.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        attempts: int = 5,
        timeout: float = 30.0,
    ) -> None:
        if token and not _TOKEN.fullmatch(token):
            # the header cannot hold it, and an error of the HTTP library would show it
            raise UnauthorizedError(
                "The token holds a character that no token has, perhaps a blank or a line "
                "break; copy it anew."
            )
        self.url = url.rstrip("/")
        self.token = token
        self.tls = _tls(self.url)
        self._attempts = attempts
        self._timeout = timeout
        self._client = httpx2.Client(
            base_url=self.url,
            headers={**self.authorization(), "user-agent": "sluice-client"},
            timeout=httpx2.Timeout(timeout, connect=10.0),
            verify=self.tls or ssl.create_default_context(),
        )

    def authorization(self) -> dict[str, str]:
        """The header that says who is calling; empty without a token."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        body: Body = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """The successful answer to a request.

        Raises:
            SluiceError: the server's problem document, by name.
            UnreachableError: no answer came.
        """
        repeat = method in _SAFE_TO_REPEAT
        retried: tuple[type[Exception], ...] = (_NotReadyError, *_NOT_SENT)
        if repeat:
            retried = (_NotReadyError, httpx2.TransportError)
        try:
            for attempt in stamina.retry_context(
                on=retried,
                attempts=self._attempts,
                timeout=60.0,
                wait_initial=0.1,
                wait_max=2.0,
                wait_jitter=0.2,
            ):
                with attempt:
                    response = self._once(method, path, body, params, headers or {})
                    if repeat and response.status_code in _NOT_READY:
                        raise _NotReadyError(response)
                    return _successful(response, f"{method} {path}")
        except _NotReadyError as error:
            answer = error.response
            raise error_of(
                answer.status_code, answer.content, what=f"{method} {path}"
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self.unreachable(error) from error
        raise AssertionError("a retry loop ends by returning or raising")

    def _once(
        self,
        method: str,
        path: str,
        body: Body,
        params: Params | None,
        headers: Mapping[str, str],
    ) -> httpx2.Response:
        given = {
            key: value for key, value in (params or {}).items() if value is not None
        }
        match body:
            case Path():
                with body.open("rb") as file:
                    size = str(body.stat().st_size)
                    return self._client.request(
                        method,
                        path,
                        params=given,
                        content=file,
                        headers={"content-length": size, **headers},
                    )
            case BaseModel():
                content: bytes | None = body.model_dump_json(
                    exclude_unset=True, by_alias=True, context=REVEAL
                ).encode()
                headers = {"content-type": "application/json", **headers}
            case _:
                content = body
        return self._client.request(
            method, path, params=given, content=content, headers=dict(headers)
        )

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        read_timeout: float | None = None,
    ) -> Iterator[httpx2.Response]:
        """The successful answer to a GET, its body yet to be read; never retried.

        Raises:
            SluiceError: the server's problem document, by name.
            UnreachableError: no answer came, or it broke off.
        """
        given = {
            key: value for key, value in (params or {}).items() if value is not None
        }
        timeout = httpx2.Timeout(read_timeout or self._timeout, connect=10.0)
        try:
            with self._client.stream(
                "GET", path, params=given, headers=dict(headers or {}), timeout=timeout
            ) as response:
                if not response.is_success:
                    response.read()
                yield _successful(response, f"GET {path}")
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self.unreachable(error) from error

    def unreachable(self, error: Exception) -> SluiceError:
        """The error for an address from which no (whole) answer comes."""
        why = str(error) or type(error).__name__
        return UnreachableError(
            f"No answer from {self.url} ({why}); check the address and that the server runs."
        )


def _successful(response: httpx2.Response, what: str) -> httpx2.Response:
    if response.is_success:
        return response
    raise error_of(response.status_code, response.content, what=what)


def _tls(url: str) -> ssl.SSLContext | None:
    return httpx2.create_ssl_context() if url.startswith("https:") else None
