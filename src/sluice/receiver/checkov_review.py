"""Reviews plans by Checkov, a program of its own (docs/decisions/0013)."""

import asyncio
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sluice.receiver.checkov_report import ReportError, review_of_report
from sluice.receiver.facts import PlanError, check_plan
from sluice.receiver.model import Review
from sluice.receiver.ports import Order, ReviewError
from sluice.receiver.program import Program, run_program

_MAX_REPORT = 64 * 1024 * 1024
_OFFLINE = "--skip-download"


@dataclass(frozen=True, slots=True)
class CheckovReviewer:
    """Runs Checkov over a plan.

    Attributes:
        program: its path.
        arguments: more arguments for it.
        environment: what it sees.
        online: whether it may ask its maker's service for links to guidelines.
    """

    program: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    online: bool = False

    async def review(self, order: Order) -> Review:
        """What Checkov says.

        Raises:
            ReviewError: there is no plan, or no report.
        """
        if order.plan is None:
            raise ReviewError("Checkov needs a plan, and there is none yet.")
        order.say("Running Checkov.")
        await asyncio.to_thread(_check, order.plan)
        report = order.directory / "report.json"
        code = await run_program(
            Program(
                argv=self._command(order.plan),
                directory=order.directory,
                environment=self.environment,
                output=report,
            )
        )
        try:
            return await asyncio.to_thread(_read, report, code)
        except ReportError as error:
            raise ReviewError(f"{error} (exit code {code}).") from error

    def _command(self, plan: Path) -> list[str]:
        fixed = "--framework terraform_plan --output json --compact --quiet"
        switches = fixed.split() if self.online else [*fixed.split(), _OFFLINE]
        return [self.program, "--file", plan.name, *switches, *self.arguments]


def _check(plan: Path) -> None:
    # Checkov passes what it cannot read
    try:
        with (
            plan.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
            memoryview(content) as view,
        ):
            check_plan(view)
    except (PlanError, ValueError):
        raise ReviewError("The platform sent something that is no plan JSON.") from None


def _read(report: Path, code: int) -> Review:
    if report.stat().st_size > _MAX_REPORT:
        raise ReportError("Checkov's report is too large")
    return review_of_report(report.read_bytes(), exit_code=code)
