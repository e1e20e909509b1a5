"""What the commands of run tasks share: naming one, and the options of its fields."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typing_extensions import override

from sluice.base.errors import InvalidInputError, NotFoundError
from sluice.cli.session import Session
from sluice.cli.settings import secret_of_variable
from sluice.wire.run_task import EnforcementLevel, RunTaskStage
from sluice.wire.shapes.run_tasks import MAX_KEY, RunTaskRow

RunTaskName = Annotated[
    str, typer.Argument(metavar="RUN_TASK", help="Name or id of the run task.")
]


@dataclass(frozen=True, slots=True)
class RunTaskFields:
    """The fields of a run task; what is not given stays as it is."""

    description: Annotated[
        str | None,
        typer.Option("--description", help="What it is for.", show_default=False),
    ] = None
    hmac_key_env: Annotated[
        str | None,
        typer.Option(
            "--hmac-key-env",
            metavar="NAME",
            help="Sign calls with the key in this environment variable.",
        ),
    ] = None
    hmac_key_file: Annotated[
        Path | None,
        typer.Option(
            "--hmac-key-file",
            metavar="FILE",
            help="Sign calls with the key in this file (its first line).",
        ),
    ] = None
    signature_prefix: Annotated[
        bool | None,
        typer.Option(
            "--signature-prefix/--no-signature-prefix",
            help="Whether the signature is sent as sha512=HEX.",
        ),
    ] = None
    enabled: Annotated[
        bool | None,
        typer.Option("--enabled/--disabled", help="Whether it is asked at all."),
    ] = None
    timeout: Annotated[
        int | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            help="How long a result waits since it was last heard of.",
            min=60,
            max=3600,
        ),
    ] = None
    everywhere: Annotated[
        bool | None,
        typer.Option(
            "--global/--not-global", help="Whether all workspaces ask it, unattached."
        ),
    ] = None
    global_stage: Annotated[
        list[RunTaskStage] | None,
        typer.Option(
            "--global-stage",
            metavar="STAGE",
            help="When all workspaces ask it: pre_plan, post_plan, pre_apply or"
            " post_apply; may be repeated. Includes --global.",
        ),
    ] = None
    global_level: Annotated[
        EnforcementLevel | None,
        typer.Option("--global-level", help="What a failure does in all workspaces."),
    ] = None
    callback_from: Annotated[
        list[str] | None,
        typer.Option(
            "--callback-from",
            metavar="CIDR",
            help="Take callbacks from this network only; may be repeated.",
        ),
    ] = None
    team: Annotated[
        str | None,
        typer.Option("--team", metavar="ID", help="The team that looks after it."),
    ] = None

    def given(self) -> dict[str, Any]:
        """The fields that were given, by their names in the API.

        Raises:
            InvalidInputError: the key cannot be read.
        """
        everywhere = self.everywhere
        if everywhere is None and self.global_stage:
            everywhere = True
        named = {
            "description": self.description,
            "hmac_key": self._key(),
            "signature_prefix": self.signature_prefix,
            "enabled": self.enabled,
            "timeout_seconds": self.timeout,
            "is_global": everywhere,
            "global_stages": self.global_stage or None,
            "global_level": self.global_level,
            "callback_allowed_cidrs": self.callback_from or None,
            "team_id": self.team,
        }
        return {name: value for name, value in named.items() if value is not None}

    def _key(self) -> str | None:
        if self.hmac_key_env is not None and self.hmac_key_file is not None:
            raise InvalidInputError("Give --hmac-key-env or --hmac-key-file, not both.")
        if self.hmac_key_env is not None:
            return secret_of_variable(self.hmac_key_env)
        return None if self.hmac_key_file is None else _key_in(self.hmac_key_file)


@dataclass(frozen=True, slots=True)
class RunTaskChanges(RunTaskFields):
    """What of a run task is to change, or to be taken away."""

    name: Annotated[
        str | None, typer.Option("--name", help="A new name.", show_default=False)
    ] = None
    endpoint: Annotated[
        str | None,
        typer.Option("--endpoint", metavar="URL", help="Where it is called."),
    ] = None
    no_hmac_key: Annotated[
        bool, typer.Option("--no-hmac-key", help="Do not sign calls any more.")
    ] = False
    callback_from_anywhere: Annotated[
        bool,
        typer.Option("--callback-from-anywhere", help="Take callbacks from anywhere."),
    ] = False

    @override
    def given(self) -> dict[str, Any]:
        """What was given, by its names in the API.

        Raises:
            InvalidInputError: the key cannot be read, nothing was given, or something and
                its removal.
        """
        # a dataclass with slots is made anew, which `super()` alone would not know
        given = RunTaskFields.given(self)
        if self.no_hmac_key and "hmac_key" in given:
            raise InvalidInputError("Give a key, or --no-hmac-key, not both.")
        if self.callback_from_anywhere and self.callback_from:
            raise InvalidInputError(
                "Give --callback-from, or --callback-from-anywhere, not both."
            )
        given |= {"hmac_key": ""} if self.no_hmac_key else {}
        given |= {"callback_allowed_cidrs": []} if self.callback_from_anywhere else {}
        given |= {"name": self.name} if self.name is not None else {}
        given |= {"endpoint_url": self.endpoint} if self.endpoint is not None else {}
        if not given:
            raise InvalidInputError("Nothing to change was given; see --help.")
        return given


def find_run_task(session: Session, organization_id: str, wanted: str) -> RunTaskRow:
    """The organization's run task of this name or id.

    Raises:
        NotFoundError: there is none.
    """
    found = session.api.run_tasks.list(organization_id)
    for run_task in found:
        if wanted in {run_task.name, run_task.run_task_id}:
            return run_task
    names = ", ".join(run_task.name for run_task in found)
    known = f"there is {names}" if names else "`sluice run-task create` makes one"
    raise NotFoundError(f"There is no run task {wanted!r}; {known}.")


def _key_in(file: Path) -> str:
    """The first line of a file; a file of many bytes is no key."""
    with file.open("rb") as opened:
        content = opened.read(4 * MAX_KEY + 2)
    try:
        key = content.decode().partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError:
        key = ""
    if not key:
        raise InvalidInputError(f"{file} holds no key: its first line is empty.")
    return key
