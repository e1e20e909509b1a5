"""Which server the client talks to and with which token: environment first, then what `sluice login` stored."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from typing_extensions import override

from sluice.base.errors import InvalidInputError

DEFAULT_URL = "http://127.0.0.1:8460"


class StoredServer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A server somebody signed in to.

    ``own``: the token was made by signing in here with a password, and is revoked by
    signing out; one that was pasted may be in use elsewhere.
    """

    token: str
    name: str = ""
    own: bool = False

    @override
    def __repr__(self) -> str:
        """Without the token."""
        return f"StoredServer(name={self.name!r})"


class Credentials(msgspec.Struct, frozen=True, omit_defaults=True):
    """All servers somebody signed in to, and the one used last."""

    current: str = ""
    servers: dict[str, StoredServer] = {}

    def signed_in(self, url: str, server: StoredServer) -> "Credentials":
        """With ``url`` as the current server."""
        return Credentials(current=url, servers={**self.servers, url: server})

    def signed_out(self, url: str) -> "Credentials":
        """Without the token of ``url``."""
        servers = {key: value for key, value in self.servers.items() if key != url}
        current = self.current if self.current in servers else next(iter(servers), "")
        return Credentials(current=current, servers=servers)


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Where to send requests, as whom, and where either came from."""

    url: str
    token: str | None = field(repr=False)
    token_from_environment: bool
    config_directory: Path

    @property
    def credentials_path(self) -> Path:
        """The file that `sluice login` writes."""
        return self.config_directory / "credentials.json"


def client_settings(
    *, url: str | None = None, environ: Mapping[str, str] | None = None
) -> ClientSettings:
    """Settings from ``url`` (an option), the environment and the credentials file.

    A stored token is only ever sent to the server it was stored for.
    """
    environ = os.environ if environ is None else environ
    directory = _config_directory(environ)
    stored = read_credentials(directory / "credentials.json")
    given = url or environ.get("SLUICE_URL") or stored.current or DEFAULT_URL
    address = normalized_url(given)
    token = environ.get("SLUICE_TOKEN", "").strip()
    server = stored.servers.get(address)
    return ClientSettings(
        url=address,
        token=token or (server.token if server else None),
        token_from_environment=bool(token),
        config_directory=directory,
    )


def _config_directory(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_CONFIG_HOME", "")
    # the XDG rules: a relative path counts as unset
    root = Path(base) if base.startswith("/") else Path.home() / ".config"
    return root / "sluice"


def normalized_url(url: str) -> str:
    """``url`` without a trailing slash, with ``https://`` where no scheme is given.

    Raises:
        InvalidInputError: it is no http or https address.
    """
    text = url.strip()
    if "://" not in text:
        host = text.split("/", 1)[0].rsplit(":", 1)[0]
        local = host in {"localhost", "127.0.0.1", "[::1]"}
        text = f"{'http' if local else 'https'}://{text}"
    try:
        parts = urlsplit(text)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        valid = False
    if not valid:
        raise InvalidInputError(
            f"{url!r} is no address of a server; give one such as https://sluice.example.com."
        )
    return text.rstrip("/")


def read_credentials(path: Path) -> Credentials:
    """What `sluice login` stored; empty where there is nothing.

    Raises:
        InvalidInputError: the file is there and cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Credentials)
    except FileNotFoundError:
        return Credentials()
    except (msgspec.DecodeError, OSError) as error:
        raise InvalidInputError(
            f"{path} cannot be read ({error}); remove it and run `sluice login` again."
        ) from error


def write_credentials(path: Path, credentials: Credentials) -> None:
    """Store ``credentials`` whole or not at all, readable by the owner alone."""
    content = msgspec.json.format(msgspec.json.encode(credentials), indent=2) + b"\n"
    write_private(path, content)


def write_private(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step, with mode 0600 in a 0700 directory."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
