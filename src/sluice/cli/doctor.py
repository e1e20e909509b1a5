"""`sluice doctor`: what this machine has, what it lacks, and what to do about it."""

import asyncio
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sluice.base.errors import SluiceError
from sluice.cli import words
from sluice.cli.exit_codes import ExitCode
from sluice.cli.options import takes_records
from sluice.cli.session import Session, quiet_api
from sluice.cli.settings import (
    data_directory,
    search_path,
    terraform_config_file,
    xdg_data_home,
)

_MIN_FREE = 1_000_000_000
# from here on tarfile's own filter holds what it promises (CVE-2025-4517 and its like)
_SAFE_TARFILE = {(3, 11): (3, 11, 13), (3, 12): (3, 12, 11), (3, 13): (3, 13, 4)}


class Verdict(StrEnum):
    """How one thing stands."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(BaseModel):
    """One thing that was looked at; ``advice`` says what to do where it is not well."""

    model_config = ConfigDict(frozen=True)

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Need:
    """Packages of an extra: a module each stands for, and what they are for."""

    extra: str
    modules: tuple[str, ...]
    purpose: str


_NEEDS = (
    Need("server", ("fastapi", "uvicorn", "sqlalchemy", "obstore"), "to run a server"),
    Need("agent", ("ahocorasick_rs", "pysequoia", "psutil"), "to run an agent"),
    Need("receiver", ("starlette", "uvicorn"), "to answer run tasks"),
    Need("postgres", ("asyncpg",), "for a server on PostgreSQL"),
    Need("redis", ("redis",), "for several server processes"),
)


@takes_records
def doctor(*, session: Session) -> int:
    """Check what this machine lacks, and say what to do about it."""
    findings = list(examine(session))
    failed = [item for item in findings if item.verdict is Verdict.FAIL]
    if session.json:
        session.console.json(findings)
    else:
        _show(session, findings)
    return ExitCode.FAILED if failed else ExitCode.OK


def examine(session: Session) -> Iterator[Finding]:
    """All findings, in the order of a first use."""
    yield _python()
    yield _engine()
    yield from _terraform_config()
    yield _git()
    yield _data_directory()
    yield from (_extra(need) for need in _NEEDS)
    yield from _server(session)


def _show(session: Session, findings: list[Finding]) -> None:
    console = session.console
    colours = {Verdict.OK: "green", Verdict.WARN: "amber", Verdict.FAIL: "red"}
    width = max(len(item.name) for item in findings)
    for item in findings:
        mark = console.paint_out(item.verdict.ljust(4), colours[item.verdict])
        console.line(f"{mark}  {item.name.ljust(width)}  {item.found}")
        if item.advice:
            console.line(f"{' ' * (width + 8)}{console.paint_out(item.advice, 'dim')}")
    counts = [sum(item.verdict is verdict for item in findings) for verdict in Verdict]
    ok, warn, fail = counts
    console.hint(f"\n{ok} ok, {words.count(warn, 'warning')}, {fail} failed")


def _python() -> Finding:
    release = sys.version_info[:3]
    version = ".".join(str(part) for part in release)
    safe = _SAFE_TARFILE.get(release[:2], release)
    if release >= safe:
        return Finding(name="Python", verdict=Verdict.OK, found=version)
    return Finding(
        name="Python",
        verdict=Verdict.WARN,
        found=version,
        advice=f"Upgrade to {'.'.join(str(part) for part in safe)} or newer for a server or "
        "agent: it unpacks archives more strictly.",
    )


def _engine() -> Finding:
    from sluice.terraform.on_path import find_on_path

    found = []
    for program in ("terraform", "tofu"):
        installed = asyncio.run(find_on_path(program))
        if installed is not None:
            found.append(f"{program} {installed.version} ({installed.path})")
    name = "Terraform or OpenTofu"
    if found:
        return Finding(name=name, verdict=Verdict.OK, found=", ".join(found))
    return Finding(
        name=name,
        verdict=Verdict.WARN,
        found="none on PATH",
        advice="An agent here downloads the version a workspace asks for; without a way to "
        "the releases, put terraform or tofu on PATH.",
    )


def _terraform_config() -> Iterator[Finding]:
    path = terraform_config_file()
    if path and not Path(path).is_file():
        yield Finding(
            name="Terraform's settings",
            verdict=Verdict.WARN,
            found=f"TF_CLI_CONFIG_FILE names {path}, which is not there",
            advice="Unset it, or write the file; terraform warns about it in every task.",
        )


def _git() -> Finding:
    path = shutil.which("git", path=search_path())
    if path is None:
        return Finding(
            name="git",
            verdict=Verdict.WARN,
            found="not on PATH",
            advice="Install git where an agent runs: modules from git sources need it.",
        )
    told = subprocess.run(  # noqa: S603 - git itself
        [path, "--version"], capture_output=True, text=True, check=False, timeout=10
    )
    version = told.stdout.strip().removeprefix("git version ")
    return Finding(name="git", verdict=Verdict.OK, found=f"{version} ({path})")


def _data_directory() -> Finding:
    given = data_directory()
    place = Path(given) if given else _default_data_directory()
    present = next(path for path in (place, *place.parents) if path.exists())
    name = "Data directory"
    if not _can_write(present):
        return Finding(
            name=name,
            verdict=Verdict.FAIL,
            found=f"{place} cannot be written",
            advice="Set SLUICE_DATA_DIR to a directory that can.",
        )
    free = shutil.disk_usage(present).free
    found = f"{place}, {words.size(free)} free"
    if free < _MIN_FREE:
        return Finding(
            name=name,
            verdict=Verdict.WARN,
            found=found,
            advice="Make room: logs and states of tasks are kept there.",
        )
    return Finding(name=name, verdict=Verdict.OK, found=found)


def _can_write(directory: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def _default_data_directory() -> Path:
    return xdg_data_home() / "sluice"


def _extra(need: Need) -> Finding:
    missing = [name for name in need.modules if importlib.util.find_spec(name) is None]
    name = f"sluice[{need.extra}]"
    if not missing:
        return Finding(
            name=name, verdict=Verdict.OK, found=f"installed, {need.purpose}"
        )
    return Finding(
        name=name,
        verdict=Verdict.WARN,
        found=f"not installed ({', '.join(missing)})",
        advice=f"Only needed {need.purpose}: pip install 'sluice[{need.extra}]'",
    )


def _server(session: Session) -> Iterator[Finding]:
    settings = session.settings
    with quiet_api(settings.url, settings.token, attempts=1) as api:
        reached = _attempt("Server", settings.url, api.ready)
        yield reached
        if reached.verdict is not Verdict.OK:
            return
        if settings.token is None:
            yield Finding(
                name="Signed in",
                verdict=Verdict.WARN,
                found="no",
                advice="Run `sluice login`.",
            )
            return
        yield _attempt("Signed in", "yes", api.auth.me)


def _attempt(name: str, found: str, ask: Callable[[], object]) -> Finding:
    try:
        ask()
    except SluiceError as error:
        return Finding(
            name=name,
            verdict=Verdict.FAIL,
            found=error.detail,
            advice="`sluice up` starts one here; `sluice login --url URL` names another."
            if name == "Server"
            else "Run `sluice login` again.",
        )
    return Finding(name=name, verdict=Verdict.OK, found=found)
