"""What the command takes from its environment besides the client's settings."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sluice.base.errors import InvalidInputError

ColorMode = Literal["auto", "always", "never"]


@dataclass(frozen=True, slots=True)
class CliSettings:
    """``no_color``: colours are unwanted; ``dumb``: the terminal cannot move its cursor."""

    no_color: bool = False
    dumb: bool = False
    debug: bool = False
    organization: str | None = None


def cli_settings(environ: Mapping[str, str] | None = None) -> CliSettings:
    """Settings from ``NO_COLOR``, ``TERM``, ``SLUICE_DEBUG`` and ``SLUICE_ORGANIZATION``."""
    environ = os.environ if environ is None else environ
    return CliSettings(
        no_color=bool(environ.get("NO_COLOR")),
        dumb=environ.get("TERM", "dumb") in {"dumb", ""},
        debug=environ.get("SLUICE_DEBUG", "") not in {"", "0", "false"},
        organization=environ.get("SLUICE_ORGANIZATION") or None,
    )


def search_path(environ: Mapping[str, str] | None = None) -> str:
    """``PATH``, for looking for programs."""
    return (os.environ if environ is None else environ).get("PATH", "")


def terraform_config_file(environ: Mapping[str, str] | None = None) -> str | None:
    """Terraform's own configuration file, where ``TF_CLI_CONFIG_FILE`` names one."""
    return (os.environ if environ is None else environ).get("TF_CLI_CONFIG_FILE")


def data_directory(environ: Mapping[str, str] | None = None) -> str | None:
    """Where a server started here would keep its data, if ``SLUICE_DATA_DIR`` says so."""
    return (os.environ if environ is None else environ).get("SLUICE_DATA_DIR")


def secret_of_variable(name: str, environ: Mapping[str, str] | None = None) -> str:
    """The secret in the environment variable of this name.

    Raises:
        InvalidInputError: it is not set, or empty.
    """
    secret = (os.environ if environ is None else environ).get(name, "")
    if not secret:
        raise InvalidInputError(
            f"The environment variable {name} is not set, or empty."
        )
    return secret


def asked_to_complete(environ: Mapping[str, str] | None = None) -> bool:
    """Whether a shell asks for completions instead of running a command."""
    return "_SLUICE_COMPLETE" in (os.environ if environ is None else environ)


def xdg_data_home(environ: Mapping[str, str] | None = None) -> Path:
    """Where programs keep their data for this user."""
    base = (os.environ if environ is None else environ).get("XDG_DATA_HOME", "")
    # the XDG rules: a relative path counts as unset
    return Path(base) if base.startswith("/") else Path.home() / ".local" / "share"


def agent_data_directory(environ: Mapping[str, str] | None = None) -> Path:
    """Where an agent of this user keeps its data, by the agent's own settings.

    Raises:
        InvalidInputError: the agent's settings file cannot be read.
    """
    environ = os.environ if environ is None else environ
    given = environ.get("SLUICE_AGENT_DATA_DIR") or _agent_file(environ).get(
        "agent_data_dir"
    )
    return Path(str(given)) if given else xdg_data_home(environ) / "sluice" / "agent"


def _agent_file(environ: Mapping[str, str]) -> dict[str, object]:
    """What the agent's TOML file says."""
    base = environ.get("XDG_CONFIG_HOME", "")
    root = Path(base) if base.startswith("/") else Path.home() / ".config"
    named = environ.get("SLUICE_AGENT_CONFIG")
    path = Path(named) if named else root / "sluice" / "agent.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}.") from error
