"""The server's settings: environment `SLUICE_*` first, then the TOML file, then defaults."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    SettingsConfigDict,
)

from sluice.base.errors import InvalidInputError
from sluice.client.settings import normalized_url
from sluice.edge.addresses import parsed_cidrs
from sluice.edge.logging import LogFormat
from sluice.edge.upgrade import origin_of
from sluice.notifications.mail import is_address
from sluice.notifications.relay import SmtpTls

MIB = 1024**2
DEFAULT_PORT = 8460


def _home(variable: str, fallback: str) -> Path:
    """A base directory by the XDG rules: a relative path counts as unset."""
    given = os.environ.get(variable, "")
    return Path(given) if given.startswith("/") else Path.home() / fallback


class ServerSettings(BaseSettings):
    """All settings of `sluice server`; in the TOML file by the same names, lower case."""

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_", frozen=True, extra="forbid", validate_default=True
    )

    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on; `0.0.0.0` for all, then behind a proxy with TLS.",
    )
    port: int = Field(
        default=DEFAULT_PORT, ge=0, le=65535, description="Port to listen on."
    )
    public_url: str = Field(
        default="",
        description="Address under which people and agents reach the server; the one it"
        " listens on by default.",
    )
    trusted_proxies: str = Field(
        default="127.0.0.1",
        description="Addresses (comma-separated) of proxies whose `X-Forwarded-For` and"
        " `X-Forwarded-Proto` are believed.",
    )
    allowed_origins: Annotated[list[str], NoDecode] = Field(
        default=[],
        description="Origins (comma-separated; a list in TOML) of pages on other hosts that"
        " may open WebSockets here, such as `https://panel.example.com`; pages of the"
        " server's own host and of `public_url` always may.",
    )
    data_dir: Path = Field(
        default_factory=lambda: _home("XDG_DATA_HOME", ".local/share") / "sluice",
        description="Where the embedded database, local blobs and the key file lie.",
    )
    database_url: str = Field(
        default="",
        repr=False,
        description="`postgresql://user:password@host/name`, or"
        " `sqlite:///path`; a SQLite file in `data_dir` by default.",
    )
    database_pool_size: int = Field(
        default=10, ge=2, le=200, description="Connections kept to the database."
    )
    auto_migrate: bool | None = Field(
        default=None,
        description="Whether a start upgrades the database by itself; by default only"
        " SQLite is, PostgreSQL by `sluice db upgrade`.",
    )
    redis_url: str = Field(
        default="",
        repr=False,
        description="`redis://host:6379/0` of a Redis or Valkey that wakes several server"
        " processes; not needed for one.",
    )
    blob_url: str = Field(
        default="",
        description="Where logs, states, plans and configurations are stored:"
        " `file:///path` or `s3://bucket/prefix`; a folder in `data_dir` by default.",
    )
    s3_endpoint: str = Field(
        default="", description="Endpoint of an S3 that is not Amazon's."
    )
    s3_region: str = Field(default="", description="Region of the bucket.")
    s3_access_key_id: str = Field(
        default="",
        description="Key id for the bucket; by default from the AWS environment or the"
        " instance.",
    )
    s3_secret_access_key: SecretStr = Field(
        default=SecretStr(""), description="Secret that belongs to the key id."
    )
    s3_virtual_hosted: bool = Field(
        default=False,
        description="Whether the bucket is part of the host name instead of the path.",
    )
    s3_allow_http: bool = Field(
        default=False, description="Whether the S3 endpoint may be plain HTTP."
    )
    encryption_key: SecretStr = Field(
        default=SecretStr(""),
        description="32 bytes in base64 (`openssl rand -base64 32`) that protect secrets"
        " at rest and sign tokens; by default the file `encryption.key` in `data_dir`,"
        " made at the first start.",
    )
    former_encryption_keys: Annotated[list[SecretStr], NoDecode] = Field(
        default=[],
        description="Earlier keys (comma-separated; a list in TOML) that still open what"
        " they sealed, until `sluice keys rotate` has sealed it anew.",
    )
    token_days_max: int = Field(
        default=0,
        ge=0,
        le=3650,
        description="The most days that a user's API token lives, and how long one does that"
        " is made without an end; 0 for no limit. It counts for new tokens.",
    )
    password_login: bool = Field(
        default=True,
        description="Whether users sign in by name and password; if not, by single sign-on"
        " and API tokens alone.",
    )
    session_hours: float = Field(
        default=24.0,
        gt=0,
        le=24 * 90,
        description="A page's session ends so many hours after signing in.",
    )
    session_idle_hours: float = Field(
        default=8.0,
        gt=0,
        le=24 * 90,
        description="A page's session ends after so many hours without a request.",
    )
    oidc_issuer: str = Field(
        default="",
        description="The OpenID provider for single sign-on, as its tokens name it:"
        " `https://login.example.com/realms/main`; none by default.",
    )
    oidc_client_id: str = Field(
        default="", description="The client that the provider knows this server as."
    )
    oidc_client_secret: SecretStr = Field(
        default=SecretStr(""),
        description="The client's secret; none for a public client, which PKCE protects.",
    )
    oidc_name: str = Field(
        default="Single sign-on",
        max_length=100,
        description="What the button to sign in with the provider says.",
    )
    oidc_scopes: str = Field(
        default="openid profile email",
        description="Scopes to ask the provider for, with blanks between; some want one"
        " more before they tell groups.",
    )
    oidc_groups_claim: str = Field(
        default="groups",
        description="The claim of the ID token or the user info that lists groups; teams"
        " name theirs as `sso_group`. Empty: groups are not looked at.",
    )
    oidc_allowed_domains: Annotated[list[str], NoDecode] = Field(
        default=[],
        description="Domains (comma-separated; a list in TOML) of the verified e-mail"
        " addresses that may sign in with the provider; all by default.",
    )
    oidc_create_users: bool = Field(
        default=True,
        description="Whether a stranger whom the provider knows becomes a user; if not,"
        " only who was one before signs in.",
    )
    oidc_link_by_email: bool = Field(
        default=False,
        description="Whether somebody new to the server who has the verified e-mail address"
        " of a user becomes that user. Only for a provider that nobody else can make"
        " addresses at.",
    )
    oidc_admin_group: str = Field(
        default="",
        description="Members of this group of the provider are administrators, and who"
        " signs in without it is none any more; empty leaves that to administrators.",
    )
    json_body_bytes: int = Field(
        default=8 * MIB, ge=64 * 1024, description="Largest JSON request body."
    )
    configuration_bytes: int = Field(
        default=100 * MIB,
        ge=MIB,
        description="Largest upload of a configuration (tar.gz).",
    )
    state_bytes: int = Field(default=64 * MIB, ge=MIB, description="Largest state.")
    requests_per_minute_per_address: int = Field(
        default=12_000,
        ge=0,
        description="Requests a minute from one address (IPv6: one network of 64 bits),"
        " signed in or not; 0 for no limit. Agents and running tasks are not counted.",
    )
    failed_credentials_per_minute_per_address: int = Field(
        default=300,
        ge=0,
        description="So many requests with wrong credentials may come from one address in"
        " a minute; then only credentials that were right lately are taken from there."
        " 0 for no limit.",
    )
    requests_per_minute_per_credential: int = Field(
        default=6_000,
        ge=0,
        description="Requests a minute with one token or session; 0 for no limit. Agents"
        " and running tasks are not counted.",
    )
    requests_per_minute_per_organization: int = Field(
        default=30_000,
        ge=0,
        description="Requests a minute to what belongs to one organization; 0 for no"
        " limit. Agents and running tasks are not counted.",
    )
    tasks_unfinished_per_organization: int = Field(
        default=10_000,
        ge=0,
        description="Tasks of one organization that have not ended, scripts included; a"
        " further one is refused. 0 for no limit.",
    )
    tasks_unfinished_per_workspace: int = Field(
        default=1_000,
        ge=0,
        description="Tasks of one workspace that have not ended; a further one is refused."
        " 0 for no limit.",
    )
    tasks_running_per_organization: int = Field(
        default=0,
        ge=0,
        description="Tasks of one organization that run on agents at the same time;"
        " further ones stay in the queue. 0 for no limit.",
    )
    log_bytes_per_task: int = Field(
        default=1024 * MIB,
        ge=0,
        description="Output of one task that is stored; what comes after is dropped, and"
        " the task goes on. 0 for no limit.",
    )
    stream_viewers_per_task: int = Field(
        default=100, ge=1, description="Live streams of one task at a time."
    )
    streams_per_user: int = Field(
        default=10, ge=1, description="Live streams of one user at a time."
    )
    streams_per_minute_per_address: int = Field(
        default=30, ge=1, description="New live streams a minute from one address."
    )
    stream_idle_seconds: float = Field(
        default=600.0,
        gt=0,
        description="A live stream is closed after so long without traffic either way.",
    )
    heartbeat_seconds: float = Field(
        default=30.0, gt=0, description="How often live streams are pinged."
    )
    lease_seconds: float = Field(
        default=60.0,
        ge=5,
        description="How long an agent may be silent before it loses its phase.",
    )
    identity_token_seconds: int = Field(
        default=4 * 3600,
        ge=300,
        le=24 * 3600,
        description="How long an identity token of a phase is valid: as long as the longest"
        " apply that uses one takes.",
    )
    lost_script_seconds: float = Field(
        default=86_400.0,
        ge=60,
        description="How long a script that has begun waits for its agent to come back once"
        " that is lost; then it fails. An apply waits until somebody decides.",
    )
    policy_seconds: int = Field(
        default=30,
        ge=1,
        le=600,
        description="So many seconds of the processor one policy may take over one plan;"
        " then it is an error.",
    )
    policy_memory_mib: int = Field(
        default=2048,
        ge=128,
        description="So many MiB of memory one policy may use over one plan; the engine"
        " needs about 100 for each MiB of plan JSON.",
    )
    policies_at_once: int = Field(
        default=2,
        ge=1,
        le=64,
        description="So many policies are judged at the same time, each in a process of"
        " its own.",
    )
    log_realtime_enabled: bool = Field(
        default=True,
        description="Whether logs of scripts are sent live over `/v1/log/ws`; if not, it"
        " answers 503 and pages read the history over HTTP.",
    )
    log_websocket_timeout: float = Field(
        default=600.0,
        gt=0,
        description="A WebSocket at a script's log is closed after so many seconds without"
        " traffic either way.",
    )
    log_max_clients_per_task: int = Field(
        default=10, ge=1, description="Live streams of one script at a time."
    )
    log_retention_days: int = Field(
        default=7,
        ge=0,
        le=36_500,
        description="Output of scripts is deleted so many days after their end; 0 keeps"
        " it for good. Output of Terraform is always kept.",
    )
    outgoing_allowed_cidrs: Annotated[list[str], NoDecode] = Field(
        default=[],
        description="Ranges of addresses (comma-separated; a list in TOML) that run tasks"
        " and other calls for users may reach beside the public ones, such as `10.0.0.0/8`."
        " Loopback, private, shared, multicast and reserved ranges are refused without;"
        " link-local ones and clouds' metadata always.",
    )
    outgoing_allow_http: bool = Field(
        default=False,
        description="Whether calls for users may go to `http://` addresses, not only"
        " `https://`.",
    )
    run_task_calls_at_once: int = Field(
        default=200,
        ge=1,
        le=2000,
        description="So many run tasks are called at the same time; a call lasts until the"
        " service has taken it, 30 seconds at most.",
    )
    notifications_at_once: int = Field(
        default=20,
        ge=1,
        le=500,
        description="So many notifications are sent at the same time; a quarter of them for"
        " one organization, and one for each notification that somebody has made.",
    )
    notification_days: int = Field(
        default=30,
        ge=1,
        le=3650,
        description="What came of notifications is shown for so many days.",
    )
    smtp_host: str = Field(
        default="",
        description="Mail server through which notifications are sent by e-mail; none are"
        " without.",
    )
    smtp_port: int = Field(
        default=587, ge=1, le=65535, description="Port of the mail server."
    )
    smtp_user: str = Field(
        default="",
        description="Name to sign in with at the mail server, where it asks for one.",
    )
    smtp_password: SecretStr = Field(
        default=SecretStr(""), description="Password that belongs to the name."
    )
    smtp_tls: SmtpTls = Field(
        default=SmtpTls.STARTTLS,
        description="How the connection to the mail server is protected: `starttls`, `tls`"
        " from its first byte (port 465 mostly), or `none`.",
    )
    smtp_from: str = Field(
        default="",
        description="Address that mails come from; needed with `smtp_host`.",
    )
    log_format: LogFormat = Field(
        default=LogFormat.AUTO,
        description="`json`, `console`, or `auto`: `console` on a terminal.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level of the server's own log."
    )
    shutdown_seconds: int = Field(
        default=10,
        ge=1,
        description="How long a stop waits for open requests and streams.",
    )

    @field_validator(
        "former_encryption_keys",
        "allowed_origins",
        "oidc_allowed_domains",
        "outgoing_allowed_cidrs",
        mode="before",
    )
    @classmethod
    def _listed(cls, given: object) -> object:
        if not isinstance(given, str):
            return given
        return [item.strip() for item in given.split(",") if item.strip()]

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, given: list[str]) -> list[str]:
        found = []
        for address in given:
            origin = origin_of(address)
            if origin is None or urlsplit(address).path not in {"", "/"}:
                raise ValueError(
                    f"{address!r} is no origin; write it as https://panel.example.com"
                )
            found.append(origin)
        return found

    @field_validator("outgoing_allowed_cidrs")
    @classmethod
    def _cidrs(cls, given: list[str]) -> list[str]:
        return [str(network) for network in parsed_cidrs(given)]

    @field_validator("smtp_from")
    @classmethod
    def _sender(cls, given: str, info: ValidationInfo) -> str:
        if not given and info.data.get("smtp_host"):
            raise ValueError("smtp_host is set, so mails need an address to come from")
        if given and not is_address(given):
            raise ValueError("give an e-mail address such as sluice@example.com")
        return given

    @field_validator("database_url")
    @classmethod
    def _database(cls, url: str) -> str:
        if not url:
            return url
        scheme, _, rest = url.partition("://")
        known = {
            "sqlite": "sqlite+aiosqlite",
            "sqlite+aiosqlite": "sqlite+aiosqlite",
            "postgres": "postgresql+asyncpg",
            "postgresql": "postgresql+asyncpg",
            "postgresql+asyncpg": "postgresql+asyncpg",
        }
        if scheme not in known or not rest:
            raise ValueError("give a URL that begins with sqlite:/// or postgresql://")
        return f"{known[scheme]}://{rest}"

    @field_validator("blob_url")
    @classmethod
    def _blobs(cls, url: str) -> str:
        if url and urlsplit(url).scheme not in {"file", "s3"}:
            raise ValueError("give a URL that begins with file:// or s3://")
        return url

    @field_validator("oidc_issuer")
    @classmethod
    def _issuer(cls, url: str) -> str:
        parts = urlsplit(url)
        local = parts.hostname in {"127.0.0.1", "localhost", "::1"}
        if url and (parts.scheme != "https" and not (local and parts.scheme == "http")):
            raise ValueError("give a URL that begins with https://")
        if parts.query or parts.fragment:
            raise ValueError("an issuer has neither ? nor #")
        return url

    @field_validator("public_url")
    @classmethod
    def _public(cls, url: str) -> str:
        try:
            return normalized_url(url) if url else ""
        except InvalidInputError as error:
            raise ValueError(error.detail) from None

    @property
    def resolved_database_url(self) -> str:
        """The database's URL for SQLAlchemy, also where none is set."""
        path = quote(str(self.data_dir.absolute() / "sluice.db"))
        return self.database_url or f"sqlite+aiosqlite:///{path}"

    @property
    def migrates_itself(self) -> bool:
        """Whether a start upgrades the database."""
        if self.auto_migrate is not None:
            return self.auto_migrate
        return self.resolved_database_url.startswith("sqlite")

    @property
    def page_origins(self) -> frozenset[str]:
        """Origins of pages on other host names that may open WebSockets."""
        public = origin_of(self.public_url)
        return frozenset(self.allowed_origins) | ({public} if public else set())

    @property
    def resolved_public_url(self) -> str:
        """The address to show to people, also where none is set."""
        if self.public_url:
            return self.public_url
        host = "127.0.0.1" if self.host in {"", "0.0.0.0", "::"} else self.host  # noqa: S104 - shown, not bound
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}"


def load_settings(
    given: Mapping[str, object] | None = None, *, config: Path | None = None
) -> ServerSettings:
    """The settings, with values ``given`` on the command line first.

    Args:
        given: values by name; None stands for "not given".
        config: the TOML file; by default the one that ``SLUICE_CONFIG`` names, else
            ``sluice/server.toml`` in the user's configuration directory if it is there.

    Raises:
        InvalidInputError: a setting cannot be taken; the detail names it.
    """
    values = {name: value for name, value in (given or {}).items() if value is not None}
    named = config or _named_config_file()
    file = _from_toml(named or _default_config_file(), required=named is not None)
    try:
        from_environment = EnvSettingsSource(ServerSettings)()
        return ServerSettings.model_validate({**file, **from_environment, **values})
    except ValidationError as error:
        raise InvalidInputError(_problem(error)) from None


def child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with ``changes``, for a child process."""
    return {**os.environ, **changes}


def _named_config_file() -> Path | None:
    named = os.environ.get("SLUICE_CONFIG")
    return Path(named) if named else None


def _default_config_file() -> Path:
    return _home("XDG_CONFIG_HOME", ".config") / "sluice" / "server.toml"


def _from_toml(path: Path, *, required: bool) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        if not required:
            return {}
        raise InvalidInputError(f"There is no settings file {path}.") from None
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}.") from None


def _problem(error: ValidationError) -> str:
    first = error.errors(include_input=False)[0]
    name = ".".join(str(part) for part in first["loc"]) or "settings"
    message = first["msg"].removeprefix("Value error, ")
    return (
        f"The server's setting {name} (SLUICE_{name.upper()}) is not valid: {message}."
    )
