"""The settings of `sluice exec`: environment `SLUICE_*`, else `KERUTA_*`, else defaults."""

import os
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

from sluice.base.errors import SluiceError
from sluice.client.settings import client_settings
from sluice.runner.job_spec import MIB

Level = Literal["", "DEBUG", "INFO", "WARN", "ERROR"]

_PREFIX = "SLUICE_"
_LEVELS = {"WARNING": "WARN", "FATAL": "ERROR", "TRACE": "DEBUG"}
# by the names of our settings; the first that is set counts
_KERUTA = {
    "url": ("KERUTA_API_URL", "KERUTA_WEBSOCKET_URL"),
    "token": ("KERUTA_API_TOKEN", "KERUTA_AUTH_TOKEN", "KERUTA_API_KEY"),
    "task_id": ("KERUTA_TASK_ID",),
    "log_streaming_enabled": ("KERUTA_LOG_STREAMING_ENABLED",),
    "log_buffer_size": ("KERUTA_LOG_BUFFER_SIZE",),
    "log_batch_size": ("KERUTA_LOG_BATCH_SIZE",),
    "log_flush_interval": ("KERUTA_LOG_FLUSH_INTERVAL",),
    "log_level": ("KERUTA_LOG_LEVEL",),
}
# what the addresses of KERUTA_* have behind the server's own
_API_PATHS = ("/api/v1", "/ws/tasks", "/api", "/ws")


class ExecSettings(BaseModel):
    """All settings of `sluice exec`, in the environment with `SLUICE_` before them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(
        default="",
        description="Address of the server (`KERUTA_API_URL`); the one signed in to by"
        " default.",
    )
    token: SecretStr = Field(
        default=SecretStr(""),
        description="Token of a user or of a pool (`KERUTA_API_TOKEN`,"
        " `KERUTA_AUTH_TOKEN`); that of `sluice login` by default.",
    )
    task_id: str = Field(
        default="", description="The task that the script is (`KERUTA_TASK_ID`)."
    )
    organization: str = Field(
        default="",
        description="Whose task it is, where the token's user has several organizations.",
    )
    log_streaming_enabled: bool = Field(
        default=True,
        description="Send the output (`KERUTA_LOG_STREAMING_ENABLED`); off: begin and end"
        " of the task only.",
    )
    log_buffer_size: int = Field(
        default=1000,
        ge=1,
        description="About so many lines wait in memory; the spool on disk alone holds"
        " those behind them (`KERUTA_LOG_BUFFER_SIZE`).",
    )
    log_batch_size: int = Field(
        default=10,
        ge=1,
        description="So many lines are sent before the interval is up, while nobody"
        " watches (`KERUTA_LOG_BATCH_SIZE`).",
    )
    log_flush_interval: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="Seconds between two batches while nobody watches"
        " (`KERUTA_LOG_FLUSH_INTERVAL`); fewer while somebody does.",
    )
    log_level: Level = Field(
        default="",
        description="Lowest level that is shown live: `DEBUG`, `INFO`, `WARN` or `ERROR`"
        " (`KERUTA_LOG_LEVEL`); everything is stored.",
    )
    log_mask: list[str] = Field(
        default=[],
        description="Names of environment variables, as `A,B`, whose values are masked in"
        " what is sent.",
    )
    drain_timeout: float = Field(
        default=30.0,
        ge=0,
        description="Seconds that undelivered output is waited for when the script has"
        " ended.",
    )
    exec_dir: Path | None = Field(
        default=None,
        description="Where output is spooled; by default"
        " `$XDG_STATE_HOME/sluice/exec`, else a directory for temporary files, else"
        " shared memory.",
    )
    exec_spool_bytes: int = Field(
        default=1024 * MIB,
        ge=MIB,
        description="Disk that the output of one script may take while the server is"
        " away.",
    )
    exec_grace_seconds: float = Field(
        default=30.0,
        ge=0,
        description="How long an interrupted script may take to stop before it is"
        " terminated (on a time-out, or canceled on the server).",
    )
    exec_terminate_grace_seconds: float = Field(
        default=10.0,
        ge=0,
        description="How long a terminated script may take before it is killed.",
    )

    @field_validator("url")
    @classmethod
    def _server(cls, url: str) -> str:
        return server_address(url)

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, given: object) -> object:
        if not isinstance(given, str):
            return given
        level = given.strip().upper()
        level = _LEVELS.get(level, level)
        if level not in get_args(Level):
            raise ValueError("it is none of DEBUG, INFO, WARN and ERROR")
        return level

    @field_validator("log_flush_interval", mode="before")
    @classmethod
    def _seconds(cls, given: object) -> object:
        return given.strip().removesuffix("s") if isinstance(given, str) else given

    @field_validator("log_mask", mode="before")
    @classmethod
    def _names(cls, given: object) -> object:
        return _listed(given) if isinstance(given, str) else given


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and what could not be taken, in words; a script runs all the same."""

    settings: ExecSettings
    problems: list[str]


@dataclass(frozen=True, slots=True)
class Server:
    """Whom to tell."""

    url: str
    token: str = field(repr=False)


def load_exec_settings(
    given: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """The settings, with values ``given`` on the command line first.

    A value in the environment that cannot be taken is named and left out: it must not keep
    a script from running.

    Args:
        given: values by name; None stands for "not given".
        environ: instead of this process's own.

    Raises:
        ValidationError: a value that was given on the command line cannot be taken.
    """
    environ = _environment() if environ is None else environ
    chosen = {key: value for key, value in (given or {}).items() if value is not None}
    ExecSettings.model_validate(chosen)
    found = _from_environment(environ)
    if "log_mask" in chosen and "log_mask" in found:
        # a secret stays one, whoever else names more
        chosen["log_mask"] = [*chosen["log_mask"], *_listed(found["log_mask"][1])]
    problems: list[str] = []
    while True:
        values = {name: value for name, (_, value) in found.items()} | chosen
        try:
            return Loaded(ExecSettings.model_validate(values), problems)
        except ValidationError as error:
            for fault in error.errors(include_input=False, include_url=False):
                variable, _ = found.pop(str(fault["loc"][0]))
                said = fault["msg"].removeprefix("Value error, ")
                problems.append(f"{variable} is not taken: {said}")


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _environment() -> Mapping[str, str]:
    return os.environ  # noqa: TID251 - these are settings too


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """For each setting the variable that has it, and its value."""
    found: dict[str, tuple[str, str]] = {}
    for name in ExecSettings.model_fields:
        for variable in (f"{_PREFIX}{name.upper()}", *_KERUTA.get(name, ())):
            if value := environ.get(variable, "").strip():
                found[name] = (variable, value)
                break
    return found


def server_address(url: str) -> str:
    """An address without the path of an API, and over HTTP where it names a WebSocket.

    Raises:
        ValueError: it is no address.
    """
    if not url:
        return ""
    text = url.strip().rstrip("/")
    if text.startswith(("ws://", "wss://")):
        text = text.replace("ws", "http", 1)
    for path in _API_PATHS:
        text = text.removesuffix(path)
    try:
        if "://" in text and not urlsplit(text).hostname:
            raise ValueError
        return text.rstrip("/")
    except ValueError:
        raise ValueError(f"{url!r} is no address of a server") from None


def find_server(settings: ExecSettings) -> Server | None:
    """The server to tell; None where nothing says which, or as whom."""
    token = settings.token.get_secret_value().strip()
    try:
        client = client_settings(url=settings.url or None)
    except (SluiceError, RuntimeError, OSError):
        # no home, or a file of `sluice login` that cannot be read
        return Server(settings.url, token) if settings.url and token else None
    token = token or client.token or ""
    return Server(client.url, token) if token else None


def script_environment(task_id: str) -> dict[str, str]:
    """This process's environment, with the task's id, as the script sees it."""
    named = {"SLUICE_TASK_ID": task_id, "KERUTA_TASK_ID": task_id} if task_id else {}
    return {**_environment(), **named}


def secrets_in_environment(settings: ExecSettings) -> list[str]:
    """What must not be sent: our own tokens, and what is named to be masked."""
    tokens = ("SLUICE_TOKEN", "SLUICE_POOL_TOKEN", *_KERUTA["token"])
    environ = _environment()
    return [
        value
        for name in (*tokens, *settings.log_mask)
        if (value := environ.get(name, ""))
    ]


def host_name() -> str:
    """What this machine is called."""
    return socket.gethostname()


def lasting_directory(settings: ExecSettings) -> Path | None:
    """Where spools lie by choice or by custom; None where there is no home."""
    if settings.exec_dir is not None:
        return settings.exec_dir.absolute()
    given = _environment().get("XDG_STATE_HOME", "")
    if given.startswith("/"):
        return Path(given) / "sluice" / "exec"
    try:
        return Path.home() / ".local" / "state" / "sluice" / "exec"
    except RuntimeError:
        return None


def passing_directories() -> list[Path]:
    """Where a spool can lie for a while: for temporary files, then in memory."""
    return [Path(tempfile.gettempdir()), Path("/dev/shm")]  # noqa: S108 - made private there
