"""Has policies judged by child processes: bounded in time, in memory, and in number.

A policy may loop, blow up or crash the engine: it takes a process with it that is nobody
else's. The child sees no environment, so a policy cannot read the server's secrets.
"""

import asyncio
import contextlib
import importlib.util
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from sluice.base.errors import UnavailableError
from sluice.policies.child import OUT_OF_MEMORY
from sluice.policies.model import Finding, FindingKind, Judgement, SourceFault
from sluice.policies.ports import Question
from sluice.policies.source import Outline, outline

MIB = 1024**2
MAX_ANSWER = 8 * MIB
_CHILD = Path(__file__).with_name("child.py")
_MISSING = (
    "policies need a package that is not installed on this server (regopy);"
    " run: pip install 'sluice[policies]'"
)
_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one policy may use over one plan, and how many are judged at once.

    ``seconds`` are of the processor; twice as many may pass on the clock.
    """

    seconds: int = 30
    memory_bytes: int = 2048 * MIB
    at_once: int = 2

    @property
    def wall_seconds(self) -> float:
        """How long a judgement may take on the clock."""
        return 2.0 * self.seconds + 5.0


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a child wrote; or in ``gone`` why it wrote nothing."""

    said: dict[str, Any]
    gone: str = ""


class Judge:
    """Asks the Rego engine in child processes; fulfils `ports.Engine`."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._turns = asyncio.Semaphore(limits.at_once)

    async def faults(self, source: str) -> list[SourceFault]:
        """What is wrong with a policy's text, by line.

        Raises:
            UnavailableError: the engine is not installed.
        """
        drawn = outline(source)
        if isinstance(drawn, SourceFault):
            return [drawn]
        if not installed():
            raise UnavailableError(_MISSING.capitalize())
        order = self._order("faults", source, drawn) | {
            "calls": [[call.name, call.line] for call in drawn.calls]
        }
        answer = await self._ask(order, b"")
        if answer.gone:
            return [SourceFault(1, f"tried on an empty plan, {answer.gone}")]
        return [SourceFault(line, text) for line, text in answer.said["faults"]]

    async def judge(self, question: Question) -> Judgement:
        """What a policy says of a plan."""
        drawn = outline(question.source)
        if isinstance(drawn, SourceFault):
            return Judgement(error=f"line {drawn.line}: {drawn.message}")
        if not installed():
            return Judgement(error=_MISSING)
        order = self._order("judge", question.source, drawn)
        answer = await self._ask(order | {"facts": question.facts}, question.plan)
        if answer.gone or "error" in answer.said:
            return Judgement(error=answer.gone or answer.said["error"])
        findings = [
            Finding(FindingKind(rule), *texts)
            for rule, *texts in answer.said["findings"]
        ]
        return Judgement(findings, answer.said["left_out"])

    def _order(self, what: str, source: str, drawn: Outline) -> dict[str, Any]:
        return {
            "what": what,
            "source": source,
            "package": drawn.package,
            "rules": drawn.rules,
            "seconds": self.limits.seconds,
            "memory_bytes": self.limits.memory_bytes,
        }

    async def _ask(self, order: dict[str, Any], plan: bytes) -> _Answer:
        async with self._turns:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", str(_CHILD)),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env={},
                cwd="/",
                start_new_session=True,
            )
            try:
                async with asyncio.timeout(self.limits.wall_seconds):
                    said = await _exchange(process, json.dumps(order).encode(), plan)
                    code = await process.wait()
            except TimeoutError:
                return _Answer({}, self._too_slow())
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        return self._read(said, code)

    def _read(self, said: bytes, code: int) -> _Answer:
        if code == 0:
            return _Answer(json.loads(said))
        if code == -signal.SIGXCPU:
            return _Answer({}, self._too_slow())
        if code in {OUT_OF_MEMORY, -signal.SIGABRT, -signal.SIGKILL}:
            limit = self.limits.memory_bytes // MIB
            return _Answer({}, f"it needed more than {limit} MiB of memory")
        _logger.error("the policy engine ended without an answer", code=code)
        return _Answer({}, f"the engine ended without an answer (exit code {code})")

    def _too_slow(self) -> str:
        return f"it took more than {self.limits.seconds} s; it may loop"


def installed() -> bool:
    """Whether the engine is there."""
    return importlib.util.find_spec("regopy") is not None


async def _exchange(process: Process, order: bytes, plan: bytes) -> bytes:
    """Write the order and the plan, then read the answer: a child reads all before it writes."""
    assert process.stdin is not None
    # a child that has died has said why by its exit code
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(order + b"\n")
        await process.stdin.drain()
        process.stdin.write(plan)
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()
    return await _answer(process)


async def _answer(process: Process) -> bytes:
    assert process.stdout is not None
    said = bytearray()
    while piece := await process.stdout.read(64 * 1024):
        said += piece
        if len(said) > MAX_ANSWER:
            process.kill()
            break
    return bytes(said)
