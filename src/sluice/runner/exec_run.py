"""`sluice exec` from its options to the script's exit code.

Step by step: (1) a directory for the spool is made; (2) the script runs in a thread, its
output printed and spooled, signals passed on to it; (3) beside it the run is begun on the
server and the spool uploaded; (4) when the script has ended, what is left is delivered,
for as long as the drain time-out says or until a signal asks us to end. Nothing but the
script decides the exit code.
"""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from sluice.base.clock import SystemClock
from sluice.base.ids import random_id
from sluice.runner.capture import Graces
from sluice.runner.exec_child import ENDING, Child, heard
from sluice.runner.exec_dir import ExecDir, RunRecord, new_exec_dir, remove_run
from sluice.runner.exec_printer import Printer
from sluice.runner.exec_script import ExecScript, Kept, Script, Wishes
from sluice.runner.exec_settings import (
    ExecSettings,
    Loaded,
    Server,
    find_server,
    host_name,
    lasting_directory,
    passing_directories,
    script_environment,
    secrets_in_environment,
)
from sluice.runner.spool import SpoolLimits
from sluice.wire.exec import TaskName

DRAIN_SECONDS = 5.0
REFUSED_SECONDS = 2.0
LOOK_SECONDS = 0.25

_task_names = TypeAdapter(TaskName)

_NOBODY = (
    "no server is set (SLUICE_URL and SLUICE_TOKEN, or `sluice login`); the script runs,"
    " and its output is sent nowhere."
)
_NO_TASK = (
    "no task is named (--task-id or SLUICE_TASK_ID); the script runs, and its output is"
    " sent nowhere."
)


class Progress(Protocol):
    """What is asked of a delivery while it is under way."""

    refused: bool

    @property
    def problem(self) -> str:
        """Why it is not done yet, in words."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for on the command line.

    Attributes:
        argv: the script and its arguments.
        name: what people call it; empty: after its file.
        directory: where it runs; None: here.
        timeout: how long it may run; None: as long as it takes.
        own_log: least level of what the delivery says of itself.
    """

    argv: list[str]
    name: str = ""
    directory: Path | None = None
    timeout: float | None = None
    own_log: str = "error"


def is_task_name(text: str) -> bool:
    """Whether a task can have this id."""
    try:
        _task_names.validate_python(text)
    except ValidationError:
        return False
    return True


async def run_exec(asked: Asked, loaded: Loaded) -> int:
    """Run a script as a task; its own exit code, whatever becomes of the rest."""
    with Printer() as printer:
        run = ExecRun(asked, loaded.settings, printer)
        for problem in loaded.problems:
            printer.say(problem)
        with run.signals():
            return await run.to_end()


class ExecRun:
    """One run.

    Args:
        asked: what to run.
        settings: how, and whom to tell.
        printer: prints what the script prints.
    """

    def __init__(self, asked: Asked, settings: ExecSettings, printer: Printer) -> None:
        self._asked = asked
        self._settings = settings
        self._printer = printer
        self._clock = SystemClock()
        self._child = Child()
        self._wishes = Wishes()
        self._enough = asyncio.Event()
        self._started = asyncio.Event()
        self._delivery: Progress | None = None
        self._fault = ""
        self._name = asked.name or Path(asked.argv[0]).name
        self._script = ExecScript(
            self._script_to_run(),
            child=self._child,
            printer=printer,
            wishes=self._wishes,
            clock=self._clock,
        )

    def _script_to_run(self) -> Script:
        settings = self._settings
        return Script(
            argv=self._asked.argv,
            name=self._name,
            directory=self._asked.directory or Path(),
            environment=script_environment(settings.task_id),
            secrets=secrets_in_environment(settings),
            timeout=self._asked.timeout,
            graces=Graces(
                interrupt=settings.exec_grace_seconds,
                terminate=settings.exec_terminate_grace_seconds,
                drain=DRAIN_SECONDS,
            ),
        )

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Pass signals on to the script; once it has ended, those that end us do."""
        loop = asyncio.get_running_loop()
        added = heard()
        for number in added:
            loop.add_signal_handler(number, self._heard, number)
        loop.add_signal_handler(signal.SIGCHLD, self._child.look)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGCHLD)
            for number in added:
                loop.remove_signal_handler(number)
                # all that is left to do is to end with the script's exit code
                signal.signal(number, signal.SIG_IGN)

    def _heard(self, number: signal.Signals) -> None:
        if not self._child.ended:
            self._child.forward(number)
        elif number in ENDING:
            self._enough.set()
            self._printer.abandon()

    async def to_end(self) -> int:
        """Run the script, deliver what can be delivered; the script's exit code."""
        kept = await asyncio.to_thread(self._keep)
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(self._look_after())
            if kept is None:
                code = await asyncio.to_thread(self._script.run)
            else:
                code = await self._run_and_deliver(*kept)
            await asyncio.to_thread(self._printer.flush)
            looking.cancel()
        return code

    async def _look_after(self) -> None:
        """Adopted children end without telling us in time; look now and then."""
        while True:
            self._child.look()
            await asyncio.sleep(LOOK_SECONDS)

    # --- whether and where output is kept ------------------------------------------

    def _keep(self) -> tuple[ExecDir, Kept, Server] | None:
        """Where output is kept for the server; None, and a word, where it cannot be."""
        settings = self._settings
        server = find_server(settings)
        if server is None or not settings.task_id:
            self._printer.say(_NOBODY if server is None else _NO_TASK)
            return None
        if not is_task_name(settings.task_id):
            self._printer.say(
                f"{settings.task_id!r} cannot be the id of a task (letters, digits and"
                " `_.-`, at most 90); the script runs, and its output is sent nowhere."
            )
            return None
        run_id = random_id("run")
        run = new_exec_dir(
            run_id,
            lasting=lasting_directory(settings),
            passing=passing_directories(),
        )
        why = "no directory can be written to"
        if run is not None:
            try:
                return run, self._kept_in(run, run_id, server), server
            except OSError as error:
                why = str(error)
                remove_run(run)
        self._printer.say(
            f"output cannot be spooled ({why}; SLUICE_EXEC_DIR names another place); the"
            " script runs, and its output is sent nowhere."
        )
        return None

    def _kept_in(self, run: ExecDir, run_id: str, server: Server) -> Kept:
        settings = self._settings
        run.lock()  # until we end, however we end
        record = RunRecord(
            task_id=settings.task_id,
            run_id=run_id,
            url=server.url,
            name=self._name,
            script_path=self._asked.argv[0],
            floor=settings.log_level,
            host=host_name(),
            organization=settings.organization,
        )
        run.write_record(record)
        return Kept(
            run,
            record,
            output=settings.log_streaming_enabled,
            limits=SpoolLimits(settings.exec_spool_bytes),
            clock=self._clock,
        )

    # --- the script, and its delivery beside it -------------------------------------

    async def _run_and_deliver(self, run: ExecDir, kept: Kept, server: Server) -> int:
        loop = asyncio.get_running_loop()

        def started() -> None:
            loop.call_soon_threadsafe(self._started.set)

        async with asyncio.TaskGroup() as group:
            delivering = group.create_task(self._deliver(run, server))
            code = await asyncio.to_thread(
                self._script.run_kept, kept, on_start=started
            )
            self._started.set()
            await asyncio.to_thread(self._printer.flush)
            delivered = await self._drain(delivering)
            delivering.cancel()
        if delivered:
            await asyncio.to_thread(remove_run, run)
        else:
            self._printer.say(
                f"not everything could be delivered to {server.url} ({self._problem()});"
                f" the rest is kept: `sluice exec --deliver {run.root}` delivers it."
            )
        return code

    async def _deliver(self, run: ExecDir, server: Server) -> bool:
        """Deliver everything; False where that cannot even be tried."""
        await self._started.wait()
        try:
            module = await asyncio.to_thread(_load_delivery, self._asked.own_log)
            async with module.opened(
                run, server, self._settings, on_command=self._wishes.command
            ) as delivery:
                self._delivery = delivery
                await delivery.run()
        except Exception as error:  # noqa: BLE001 - no fault of a delivery may end the script; it is told at the end
            self._fault = f"{type(error).__name__}: {error}"
            return False
        return True

    async def _drain(self, delivering: asyncio.Task[bool]) -> bool:
        """Wait for the rest to be delivered, within bounds; whether it was."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._settings.drain_timeout
        refused_at: float | None = None
        while not delivering.done() and not self._enough.is_set():
            now = loop.time()
            refused = self._delivery is not None and self._delivery.refused
            refused_at = (refused_at or now) if refused else None
            borne = refused_at is None or now - refused_at < REFUSED_SECONDS
            if now >= end or not borne:
                break
            await asyncio.wait({delivering}, timeout=min(LOOK_SECONDS, end - now))
        return delivering.done() and delivering.result()

    def _problem(self) -> str:
        why = "" if self._delivery is None else self._delivery.problem.rstrip(".")
        return self._fault or why or "there was no time for it"


def _load_delivery(log_level: str) -> ModuleType:
    """All that talks to a server: loaded beside the script, which is not to wait for it."""
    from sluice.runner import exec_delivery
    from sluice.runner.own_log import configure_logging

    configure_logging(log_level)
    return exec_delivery
