"""The agent's settings: environment `SLUICE_*` first, then the TOML file, then defaults."""

import os
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    SettingsConfigDict,
)

from sluice.base.errors import InvalidInputError
from sluice.client.settings import DEFAULT_URL, normalized_url
from sluice.terraform.products import OPENTOFU_INDEX, OPENTOFU_MIRROR, TERRAFORM_MIRROR
from sluice.wire.labels import check_labels
from sluice.wire.log_flow import StreamMode

GIB = 1024**3


def _home(variable: str, fallback: str) -> Path:
    """A base directory by the XDG rules: a relative path counts as unset."""
    given = os.environ.get(variable, "")
    return Path(given) if given.startswith("/") else Path.home() / fallback


def _named_config_file() -> Path | None:
    named = os.environ.get("SLUICE_AGENT_CONFIG")
    return Path(named) if named else None


def _default_config_file() -> Path:
    return _home("XDG_CONFIG_HOME", ".config") / "sluice" / "agent.toml"


def terraform_environment() -> dict[str, str]:
    """The agent's environment as terraform may see it: without Sluice's own settings."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SLUICE_")
    }


class AgentSettings(BaseSettings):
    """All settings of `sluice agent`; in the TOML file by the same names, lower case."""

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_", frozen=True, extra="forbid", validate_default=True
    )

    url: str = Field(default=DEFAULT_URL, description="Address of the server.")
    pool_token: SecretStr = Field(
        default=SecretStr(""),
        description="Token of the pool that the agent joins; an admin makes it with"
        " `sluice pool token`.",
    )
    pool_token_file: Path | None = Field(
        default=None,
        description="File that holds the pool's token, instead of `pool_token`.",
    )
    agent_name: str = Field(
        default_factory=socket.gethostname,
        min_length=1,
        max_length=200,
        description="Name shown on the agents page; the host's name by default.",
    )
    agent_labels: Annotated[dict[str, str], NoDecode] = Field(
        default={},
        description="Labels as `region=idc1,disk=fast` (a table in TOML).",
    )
    agent_data_dir: Path = Field(
        default_factory=lambda: _home("XDG_DATA_HOME", ".local/share") / "sluice/agent",
        description="Where the agent keeps its identity and its phases; one agent a"
        " directory, on a local disk, kept across restarts.",
    )
    agent_cache_dir: Path = Field(
        default_factory=lambda: _home("XDG_CACHE_HOME", ".cache") / "sluice/engines",
        description="Where downloaded terraform and tofu programs are kept; agents of"
        " one machine may share it.",
    )
    agent_plugin_cache_dir: Path | None = Field(
        default=None,
        description="Provider plugin cache for terraform (`TF_PLUGIN_CACHE_DIR`); none by"
        " default.",
    )
    agent_plan_limit: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="At most so many plans at a time; the pool's maximum holds anyway.",
    )
    agent_ca_file: Path | None = Field(
        default=None,
        description="PEM file of certificates to trust instead of the system's.",
    )
    agent_stream_mode: StreamMode = Field(
        default=StreamMode.AUTO,
        description="Rhythm of log uploads: `auto` (fast while somebody watches),"
        " `realtime` or `batch`.",
    )
    agent_spool_bytes: int = Field(
        default=GIB,
        ge=1024**2,
        description="Disk that one phase's output may take while the server is away;"
        " beyond it the head and the newest part are kept and the log says what is"
        " missing.",
    )
    agent_plan_grace_seconds: float = Field(
        default=30.0,
        ge=0,
        description="How long a cancelled plan may take to stop before it is terminated.",
    )
    agent_apply_grace_seconds: float = Field(
        default=300.0,
        ge=0,
        description="How long a cancelled apply may take to reach a safe point before it"
        " is terminated.",
    )
    agent_terminate_grace_seconds: float = Field(
        default=10.0,
        ge=0,
        description="How long a terminated program may take before it is killed.",
    )
    agent_drain_seconds: float = Field(
        default=3600.0,
        ge=0,
        description="How long SIGTERM waits for running phases (0: not at all); those"
        " still running then go on by themselves and are taken up by the next start.",
    )
    agent_fenced_keep_days: float = Field(
        default=7.0,
        ge=0,
        description="How long the files of a phase stay that the server no longer wants.",
    )
    agent_log_level: str = Field(
        default="info",
        pattern="^(debug|info|warning|error)$",
        description="Least level of the agent's own log: debug, info, warning or error.",
    )
    terraform_mirror_url: str = Field(
        default=TERRAFORM_MIRROR,
        description="Where Terraform releases come from; a mirror has the same layout.",
    )
    terraform_signing_key: Path | None = Field(
        default=None,
        description="OpenPGP public key that signs the mirror's checksums, instead of"
        " HashiCorp's.",
    )
    opentofu_mirror_url: str = Field(
        default=OPENTOFU_MIRROR,
        description="Where OpenTofu releases come from (`<url>/v<version>/<file>`).",
    )
    opentofu_index_url: str = Field(
        default=OPENTOFU_INDEX, description="JSON list of OpenTofu's versions."
    )
    opentofu_signing_key: Path | None = Field(
        default=None,
        description="OpenPGP public key that signs the mirror's checksums, instead of"
        " OpenTofu's.",
    )

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        try:
            return normalized_url(url)
        except InvalidInputError as error:
            raise ValueError(error.detail) from None

    @field_validator("agent_labels", mode="before")
    @classmethod
    def _labels(cls, given: object) -> object:
        if not isinstance(given, str):
            return given
        pairs = [pair.partition("=") for pair in given.split(",") if pair.strip()]
        if any(not sign or not name.strip() for name, sign, _ in pairs):
            raise ValueError(
                f"{given!r} is no list of labels; write region=idc1,disk=fast"
            )
        return {name.strip(): value.strip() for name, _, value in pairs}

    @field_validator("agent_labels")
    @classmethod
    def _fit_labels(cls, labels: dict[str, str]) -> dict[str, str]:
        return check_labels(labels)

    @property
    def token(self) -> str:
        """The pool's token, from the setting or its file.

        Raises:
            InvalidInputError: there is none.
        """
        token = self.pool_token.get_secret_value().strip()
        if not token and self.pool_token_file is not None:
            try:
                token = self.pool_token_file.read_text().strip()
            except OSError as error:
                raise InvalidInputError(
                    f"The pool token file {self.pool_token_file} cannot be read"
                    f" ({error.strerror})."
                ) from None
        if not token:
            raise InvalidInputError(
                "The agent has no pool token; set SLUICE_POOL_TOKEN, or pool_token in"
                " agent.toml, to the token of the pool it shall join."
            )
        return token


def load_settings(
    given: Mapping[str, object] | None = None, *, config: Path | None = None
) -> AgentSettings:
    """The settings, with values ``given`` on the command line first.

    Args:
        given: values by name; None stands for "not given".
        config: the TOML file; where none is named, the default one if it is there.

    Raises:
        InvalidInputError: a setting cannot be taken; the detail names it.
    """
    named = config or _named_config_file()
    values = {name: value for name, value in (given or {}).items() if value is not None}
    file = _from_toml(named or _default_config_file(), required=named is not None)
    try:
        from_environment = EnvSettingsSource(AgentSettings)()
        return AgentSettings.model_validate({**file, **from_environment, **values})
    except ValidationError as error:
        raise InvalidInputError(_problem(error)) from None


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
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or "settings"
    message = first["msg"].removeprefix("Value error, ")
    return (
        f"The agent's setting {name} (SLUICE_{name.upper()}) is not valid: {message}."
    )
