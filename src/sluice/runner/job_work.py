"""The directory terraform runs in: what is put there before, and with which environment."""

import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sluice.runner.phase_error import PhaseError
from sluice.terraform.archive import ArchiveLimits, extract_archive
from sluice.terraform.tfvars import environment_variables, render_tfvars
from sluice.wire.agent import OrderVariable

LOCK_FILE = ".terraform.lock.hcl"
# Of two override files that speak of a backend, the last by name wins.
OVERRIDE_FILE = "zzz_sluice_override.tf.json"
PLAN_FILE = "plan.out"
STATE_FILE = "terraform.tfstate"

# Sluice keeps the state, so whatever backend or cloud block is there gives way to this.
_OVERRIDE = {"terraform": {"backend": {"local": {"path": STATE_FILE}}}}
_MAX_LOCK_FILE = 4 * 1024 * 1024
# They would send terraform to another state or directory than the one prepared here.
_NOT_INHERITED = frozenset({"TF_WORKSPACE", "TF_DATA_DIR"})
_FORCED = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0"}


@dataclass(frozen=True, slots=True)
class WorkDir:
    """The files of one phase under ``root``; nothing of it outlives the phase.

    Attributes:
        root: the phase's work directory.
        directory: the workspace's working directory, relative to the configuration.
    """

    root: Path
    directory: str

    @property
    def archive(self) -> Path:
        """The configuration as it was downloaded."""
        return self.root / "configuration.tar.gz"

    @property
    def var_file(self) -> Path:
        """The terraform variables, outside the configuration."""
        return self.root / "variables" / "sluice.tfvars"

    @property
    def identities(self) -> Path:
        """The directory of identity tokens, outside the configuration."""
        return self.root / "identities"

    @property
    def plan_json(self) -> Path:
        """The plan as JSON."""
        return self.root / "plan.json"

    @property
    def saved_plan(self) -> Path:
        """The plan file as it was downloaded."""
        return self.root / "saved-plan.out"

    @property
    def module(self) -> Path:
        """Where terraform runs."""
        return self.root / "configuration" / self.directory

    @property
    def state(self) -> Path:
        """The state, where a local backend looks for it."""
        return self.module / STATE_FILE

    @property
    def plan(self) -> Path:
        """The plan file as terraform writes and reads it."""
        return self.module / PLAN_FILE

    def create(self) -> None:
        """Make the directory, empty, for its owner only."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(mode=0o700)
        self.var_file.parent.mkdir(mode=0o700)

    def unpack(self) -> None:
        """Unpack the configuration and take out what would lead terraform astray.

        Raises:
            InvalidInputError: the archive is not safe to unpack.
            PhaseError: the workspace's working directory is not in it.
        """
        top = self.root / "configuration"
        top.mkdir(mode=0o700)
        extract_archive(self.archive, top, ArchiveLimits())
        module = self.module.resolve()
        if not module.is_relative_to(top.resolve()) or not module.is_dir():
            raise PhaseError(
                f"The working directory {self.directory!r} is not in the configuration;"
                " change the workspace's setting or upload a configuration that has it."
            )
        for leftover in (".terraform", STATE_FILE, PLAN_FILE, OVERRIDE_FILE):
            _discard(self.module / leftover)
        (self.module / OVERRIDE_FILE).write_text(json.dumps(_OVERRIDE))

    def write_variables(self, variables: list[OrderVariable]) -> None:
        """Write the var file, readable by its owner only.

        Raises:
            InvalidInputError: a variable's name is none.
        """
        text = render_tfvars(variables)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with open(os.open(self.var_file, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)

    def restore_lock_file(self) -> None:
        """Take the provider versions of the saved plan, so that `init` picks the same.

        Raises:
            PhaseError: the saved plan is no plan file.
        """
        try:
            with zipfile.ZipFile(self.saved_plan) as plan:
                found = LOCK_FILE in plan.namelist()
                if found and plan.getinfo(LOCK_FILE).file_size <= _MAX_LOCK_FILE:
                    (self.module / LOCK_FILE).write_bytes(plan.read(LOCK_FILE))
        except zipfile.BadZipFile as error:
            raise PhaseError(
                f"The saved plan is no plan file ({error}); plan again."
            ) from error

    def restore_plan(self) -> None:
        """Put the saved plan where terraform applies it."""
        self.saved_plan.replace(self.plan)

    def remove_identities(self) -> None:
        """Remove the identity tokens, wherever the rest has to stay."""
        shutil.rmtree(self.identities, ignore_errors=True)

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.root, ignore_errors=True)


def _discard(path: Path) -> None:
    """Remove whatever an uploaded configuration has at a place that is ours."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def terraform_environment(
    inherited: Mapping[str, str], variables: list[OrderVariable]
) -> dict[str, str]:
    """The environment terraform runs in.

    Raises:
        InvalidInputError: an environment variable that cannot be set.
    """
    environment = {
        name: value
        for name, value in inherited.items()
        if not name.startswith("SLUICE_") and name not in _NOT_INHERITED
    }
    environment |= environment_variables(variables)
    environment.pop("TF_WORKSPACE", None)
    return environment | _FORCED
