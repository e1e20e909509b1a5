"""`sluice plan`, `sluice apply` and `sluice destroy`."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import typer

from sluice.base.errors import InvalidInputError
from sluice.cli.flows import Kind, PlanRequest, Runner, RunOptions
from sluice.cli.link import Wanted
from sluice.cli.options import takes_records
from sluice.cli.run_variables import run_variables
from sluice.cli.session import Session

Directory = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="The configuration.", show_default="here"),
]


@dataclass(frozen=True, slots=True)
class Place:
    """Options that say in which workspace, and whether to stay."""

    workspace: Annotated[
        str | None,
        typer.Option(
            "--workspace",
            "-w",
            metavar="NAME",
            help="The workspace; else sluice.toml's, the one used before, or one named "
            "after the directory. A missing one is made.",
        ),
    ] = None
    organization: Annotated[
        str | None,
        typer.Option("--organization", metavar="NAME", help="Its organization."),
    ] = None
    detach: Annotated[
        bool, typer.Option("--detach", help="Start the task and do not watch it.")
    ] = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Options that say what to plan; spelled as terraform's are, with one dash or two."""

    target: Annotated[
        list[str],
        typer.Option("--target", "-target", metavar="ADDRESS", help="Only this one."),
    ] = field(default_factory=list)
    replace: Annotated[
        list[str],
        typer.Option(
            "--replace", "-replace", metavar="ADDRESS", help="Make this one anew."
        ),
    ] = field(default_factory=list)
    var: Annotated[
        list[str],
        typer.Option("--var", "-var", metavar="NAME=VALUE", help="A variable."),
    ] = field(default_factory=list)
    var_file: Annotated[
        list[Path],
        typer.Option(
            "--var-file", "-var-file", metavar="FILE", help="A file of variables."
        ),
    ] = field(default_factory=list)
    message: Annotated[
        str,
        typer.Option(
            "--message", "-m", help="Why; shown to others.", show_default=False
        ),
    ] = ""

    def request(self, directory: Path, **more: bool) -> PlanRequest:
        """The plan to ask for."""
        return PlanRequest(
            targets=tuple(self.target),
            replace=tuple(self.replace),
            variables=tuple(
                run_variables(self.var, self.var_file, directory=directory)
            ),
            message=self.message,
            **more,
        )


@dataclass(frozen=True, slots=True)
class Refresh:
    """Options about reading the real infrastructure first."""

    refresh_only: Annotated[
        bool,
        typer.Option(
            "--refresh-only",
            "-refresh-only",
            help="Only bring the state up to date; change nothing.",
        ),
    ] = False
    no_refresh: Annotated[
        bool,
        typer.Option("--no-refresh", help="Trust the state; do not read first."),
    ] = False


Approve = Annotated[
    bool,
    typer.Option(
        "--auto-approve", "-auto-approve", help="Apply the plan without asking."
    ),
]


@dataclass(frozen=True, slots=True)
class PlanOnly:
    """Options that only `sluice plan` has."""

    destroy: Annotated[
        bool, typer.Option("--destroy", "-destroy", help="Plan to remove everything.")
    ] = False
    detailed_exitcode: Annotated[
        bool,
        typer.Option(
            "--detailed-exitcode",
            "-detailed-exitcode",
            help="End with 8 where the plan has changes.",
        ),
    ] = False


@dataclass(frozen=True, slots=True)
class ApplyOnly:
    """Options that only `sluice apply` has."""

    saved: Annotated[
        str | None,
        typer.Option(
            "--plan", metavar="TASK", help="Apply this plan task's saved plan instead."
        ),
    ] = None
    auto_approve: Approve = False


@takes_records
def plan(
    directory: Directory = Path(),
    *,
    plan: Plan,
    refresh: Refresh,
    only: PlanOnly,
    place: Place,
    session: Session,
) -> int:
    """Plan a directory and watch it. Nothing is changed."""
    request = plan.request(directory, **_of(refresh), destroy=only.destroy)
    options = _options(session, place, request)
    options = replace(options, detailed_exitcode=only.detailed_exitcode)
    return Runner(session.api, session.console, options).run(Kind.PLAN, directory)


@takes_records
def apply(
    directory: Directory = Path(),
    *,
    plan: Plan,
    refresh: Refresh,
    only: ApplyOnly,
    place: Place,
    session: Session,
) -> int:
    """Plan a directory, ask, and apply it."""
    request = plan.request(directory, **_of(refresh))
    options = _options(session, place, request)
    options = replace(options, auto_approve=only.auto_approve)
    runner = Runner(session.api, session.console, options)
    if only.saved is None:
        return runner.run(Kind.APPLY, directory)
    if request != PlanRequest(message=plan.message):
        raise InvalidInputError(
            "A saved plan is applied as it is: --plan takes no other plan options."
        )
    return runner.apply_saved(only.saved)


@takes_records
def destroy(
    directory: Directory = Path(),
    *,
    plan: Plan,
    auto_approve: Approve = False,
    place: Place,
    session: Session,
) -> int:
    """Plan the removal of everything in a workspace, ask, and remove it."""
    request = plan.request(directory)
    options = replace(_options(session, place, request), auto_approve=auto_approve)
    return Runner(session.api, session.console, options).run(Kind.DESTROY, directory)


def _of(refresh: Refresh) -> dict[str, bool]:
    return {"refresh_only": refresh.refresh_only, "refresh": not refresh.no_refresh}


def _options(session: Session, place: Place, request: PlanRequest) -> RunOptions:
    return RunOptions(
        where=Wanted(place.workspace, place.organization),
        plan=request,
        detach=place.detach,
        json=session.json,
    )
