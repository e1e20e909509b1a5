"""Runs a directory from one command: find its workspace, upload it, make a task, watch it."""

import sys
import tempfile
import threading
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from sluice.base.clock import SystemClock
from sluice.base.errors import InvalidInputError, NotFoundError
from sluice.cli import words
from sluice.cli.console import Console, whole_writes
from sluice.cli.exit_codes import ExitCode
from sluice.cli.link import Link, Remembered, Wanted, link_of
from sluice.cli.live import Ending, Watch, Watched, WatchOptions, WhenPlanWaits
from sluice.cli.outcome import after_gate, code_of_task, sentence
from sluice.cli.session import find_organization, find_workspace
from sluice.cli.settings import cli_settings
from sluice.client.api import Api
from sluice.client.settings import client_settings
from sluice.terraform.archive import create_archive
from sluice.wire.shapes.tasks import RunVariable, Task, TaskInput, TaskType
from sluice.wire.shapes.workspaces import ExecutionMode, Workspace, WorkspaceInput

_SOURCES = ("*.tf", "*.tf.json", "*.tofu", "*.tofu.json")


class Kind(Enum):
    """What is to be done with a directory."""

    PLAN = "plan"
    APPLY = "apply"
    DESTROY = "destroy"


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What to plan beyond the plain plan, and why."""

    targets: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    variables: tuple[RunVariable, ...] = ()
    refresh_only: bool = False
    refresh: bool = True
    destroy: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run a directory.

    ``stop`` ends the watching from another thread; the task goes on.
    """

    where: Wanted = field(default=Wanted())
    plan: PlanRequest = field(default=PlanRequest())
    auto_approve: bool = False
    detach: bool = False
    detailed_exitcode: bool = False
    json: bool = False
    stop: threading.Event | None = None


def apply_directory(
    api: Api, directory: Path, *, options: RunOptions, console: Console | None = None
) -> int:
    """Upload ``directory``, plan and apply it, and watch; the exit code.

    Raises:
        SluiceError: it cannot be uploaded or run.
    """
    return Runner(api, console or _own_console(), options).run(Kind.APPLY, directory)


class Runner:
    """Runs directories and saved plans on one server, told about on one console."""

    def __init__(self, api: Api, console: Console, options: RunOptions) -> None:
        self._api = api
        self._console = console
        self._options = options
        self._clock = SystemClock()

    def run(self, kind: Kind, directory: Path) -> int:
        """Upload a directory and run it; the exit code.

        Raises:
            SluiceError: it cannot be uploaded or run.
        """
        directory = directory.resolve()
        if not directory.is_dir():
            raise InvalidInputError(f"{directory} is no directory.")
        workspace = self._workspace(kind, directory)
        version_id = self._upload(workspace, directory)
        plan = self._options.plan
        body = TaskInput(
            task_type=TaskType.PLAN if kind is Kind.PLAN else TaskType.PLAN_AND_APPLY,
            configuration_version_id=version_id,
            auto_apply=True if self._options.auto_approve else None,
            destroy=plan.destroy or kind is Kind.DESTROY,
            refresh_only=plan.refresh_only,
            refresh=plan.refresh,
            targets=list(plan.targets),
            replace=list(plan.replace),
            variables=list(plan.variables),
            message=plan.message,
        )
        return self._start(workspace, body)

    def apply_saved(self, plan_task_id: str) -> int:
        """Apply the saved plan of an earlier task; the exit code.

        Raises:
            SluiceError: it cannot be run.
        """
        planned = self._api.tasks.get(plan_task_id)
        if planned.workspace_id is None:
            raise InvalidInputError(
                f"{plan_task_id} is a script; give a task that planned."
            )
        workspace = self._api.workspaces.get(planned.workspace_id)
        body = TaskInput(
            task_type=TaskType.APPLY,
            plan_task_id=plan_task_id,
            message=self._options.plan.message,
        )
        return self._start(workspace, body)

    def _start(self, workspace: Workspace, body: TaskInput) -> int:
        task = self._api.tasks.create(workspace.id, body)
        kind = words.task_type(task.task_type, task.options)
        self._console.say(f"Task {self._console.paint(task.id, 'bold')}, {kind}")
        if self._options.detach:
            return self._detached(task)
        return self._conclude(self._watch(task))

    def _workspace(self, kind: Kind, directory: Path) -> Workspace:
        settings = client_settings(url=self._api.url)
        remembered = Remembered(settings.config_directory, self._api.url)
        wanted = self._options.where
        link = link_of(directory, wanted, remembered)
        organization = link.organization or cli_settings().organization
        found = self._found(kind, link, organization)
        self._check(kind, directory, found)
        workspace = found or self._made(link, organization)
        origin = link.origin if found else f"new, {link.origin}"
        self._console.say(
            f"Workspace {self._console.paint(workspace.name, 'bold')} on {self._api.url} "
            f"({origin})"
        )
        remembered.remember(directory, workspace.id)
        return workspace

    def _found(
        self, kind: Kind, link: Link, organization: str | None
    ) -> Workspace | None:
        try:
            return find_workspace(self._api, link.workspace, organization=organization)
        except NotFoundError:
            if kind is Kind.DESTROY:
                raise
            return None

    def _made(self, link: Link, organization: str | None) -> Workspace:
        owner = find_organization(self._api, organization)
        body = WorkspaceInput(name=link.new_name)
        return self._api.workspaces.create(owner.id, body)

    def _check(self, kind: Kind, directory: Path, found: Workspace | None) -> None:
        """Refuse what cannot work before anything is made or uploaded."""
        place = directory / (found.working_directory if found else "")
        if not any(next(place.glob(pattern), None) for pattern in _SOURCES):
            raise InvalidInputError(
                f"{place} has no terraform files (*.tf); give the directory of a configuration."
            )
        if kind is Kind.PLAN:
            return
        if found is not None:
            _check_mode(found)
        if found is None or not found.auto_apply:
            self._check_approval()

    def _check_approval(self) -> None:
        """Refuse what would wait for an answer that nobody can give."""
        free = self._options.auto_approve or self._options.detach
        if not free and not self._may_ask():
            raise InvalidInputError(
                "There is no terminal to confirm the plan at; give --auto-approve, or --detach "
                "to confirm it later."
            )

    def _may_ask(self) -> bool:
        return self._console.interactive and not self._options.json

    def _upload(self, workspace: Workspace, directory: Path) -> str:
        with tempfile.TemporaryDirectory(prefix="sluice-") as scratch:
            archive = Path(scratch) / "configuration.tar.gz"
            try:
                self._console.status("packing")
                with archive.open("wb") as target:
                    packed = create_archive(directory, target)
                size = words.size(archive.stat().st_size)
                self._console.status(f"uploading {size}")
                version = self._api.configurations.upload(workspace.id, archive)
            finally:
                self._console.status("")
        files = words.count(packed.files, "file")
        self._console.hint(f"Uploaded {files} of {directory}, {size}")
        return version.id

    def _watch(self, task: Task) -> Watched:
        asks = WhenPlanWaits.ASK if self._may_ask() else WhenPlanWaits.LEAVE
        options = WatchOptions(
            json=self._options.json, when_plan_waits=asks, stop=self._options.stop
        )
        watch = Watch(
            self._api, self._console, task, clock=self._clock, options=options
        )
        return watch.run()

    def _detached(self, task: Task) -> int:
        if self._options.json:
            self._console.json(task)
        else:
            self._console.line(task.id)
        self._console.hint(f"It goes on on the server: sluice logs -f {task.id}")
        return ExitCode.OK

    def _conclude(self, watched: Watched) -> int:
        task = watched.task
        if self._options.json and watched.ending is not Ending.DETACHED:
            self._console.json_line(task)
        match watched.ending:
            case Ending.DETACHED:
                return ExitCode.INTERRUPTED
            case Ending.LEFT_WAITING:
                self._console.say(_waits(task))
                return ExitCode.NOT_APPLIED
            case Ending.COMPLETED:
                code = code_of_task(task, detailed=self._options.detailed_exitcode)
                well = code in {ExitCode.OK, ExitCode.HAS_CHANGES}
                tell = self._console.good if well else self._console.bad
                tell(sentence(task))
                if found := after_gate(task):
                    self._console.hint(found)
                return code


def _waits(task: Task) -> str:
    if task.blocked:
        return f"{task.reason}.\n{after_gate(task)}"
    return (
        f"The plan waits: sluice task confirm -f {task.id} applies it, "
        f"sluice task discard {task.id} drops it."
    )


def _check_mode(workspace: Workspace) -> None:
    if workspace.execution_mode is ExecutionMode.PLAN_ONLY:
        raise InvalidInputError(
            f"Workspace {workspace.name} only plans; `sluice workspace update "
            f"{workspace.name} --mode plan_and_apply` lets it apply."
        )


def _own_console() -> Console:
    return Console(whole_writes(sys.stdout), sys.stderr, settings=cli_settings())
