"""The command's edges: help, errors in one line, exit codes, extras that are missing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sluice.base.errors import (
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidInputError,
    LockedError,
    NotFoundError,
    RateLimitedError,
    SluiceError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)
from sluice.cli.exit_codes import ExitCode, code_of_error
from sluice.cli.lazy import BUILT_IN
from sluice.client.errors import ApiError, StreamBrokenError, UnreachableError
from tests.cli.terminal import Place


@pytest.fixture
def alone(tmp_path: Path) -> Place:
    """The command with no server at all."""
    return Place(tmp_path)


def python(
    code: str, place: Place, *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=place.environment(),
    )


def test_help_lists_every_command_and_loads_none(alone: Place) -> None:
    code = """
import sys
from sluice.cli.main import main
code = main(["--help"])
heavy = {"pydantic", "httpx2", "websockets", "rich", "fastapi", "sqlalchemy", "msgspec"}
print(sorted(heavy & set(sys.modules)), code)
"""
    done = python(code, alone)
    assert done.stdout.splitlines()[-1] == "[] 0", done.stdout + done.stderr
    for name in (*BUILT_IN, "up", "server", "agent", "db"):
        assert f"\n  {name}  " in done.stdout


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_command_has_help_that_fits_its_line(name: str, alone: Place) -> None:
    done = alone.run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: sluice {name} ")
    assert "Please" not in done.stdout


def test_a_group_without_a_command_shows_its_help(alone: Place) -> None:
    assert alone.run().stdout.startswith("Usage: sluice ")
    done = alone.run("workspace")
    assert done.returncode == 0
    assert "force-unlock" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nope"], "error: no such option: --nope; see `sluice --help`\n"),
        (["logs"], "error: missing argument 'TASK'; see `sluice logs --help`\n"),
        (
            ["workspce"],
            (
                "error: no such command 'workspce'. Did you mean 'workspace'?; "
                "see `sluice --help`\n"
            ),
        ),
        (
            ["workspace", "create", "net", "--mode", "none"],
            (
                "error: invalid value for '--mode': 'none' is not one of 'plan_only', "
                "'plan_and_apply'; see `sluice workspace create --help`\n"
            ),
        ),
        (
            ["task", "list", "--limit", "0"],
            (
                "error: invalid value for '--limit': Input should be greater than or "
                "equal to 1; see `sluice task list --help`\n"
            ),
        ),
    ],
)
def test_a_wrong_command_line_is_one_line_and_code_2(
    arguments: list[str], message: str, alone: Place
) -> None:
    done = alone.run(*arguments)
    assert (done.stderr, done.returncode) == (message, 2)
    assert done.stdout == ""


def test_without_a_sign_in_it_says_how_to(alone: Place) -> None:
    done = alone.run("workspace", "list")
    assert done.returncode == 4
    assert done.stderr.startswith("error: Not signed in to http://127.0.0.1:8460; run")


def test_an_unreachable_server_is_code_7(alone: Place) -> None:
    done = alone.run("whoami", "--url", "http://127.0.0.1:9", SLUICE_TOKEN="slu_x")
    assert done.returncode == 7
    assert done.stderr.startswith("error: No answer from http://127.0.0.1:9 (")
    assert done.stderr.count("\n") == 1


def test_an_error_from_the_server_cannot_write_to_the_terminal(alone: Place) -> None:
    done = alone.run("plan", "/tmp/\x1b]0;evil\x07x", SLUICE_TOKEN="slu_x")
    assert done.returncode == 2
    assert "\x1b" not in done.stderr


def test_a_file_that_is_not_there_is_named(alone: Place) -> None:
    done = alone.run("plan", "-var-file", "gone.tfvars", SLUICE_TOKEN="slu_x")
    assert done.returncode == 2
    assert (
        done.stderr == "error: gone.tfvars cannot be read: No such file or directory.\n"
    )


FAULT = """
import sys
from sluice.cli import lazy
from sluice.cli.main import main
def whoami():
    raise RuntimeError("broken")
lazy.load = lambda name: lazy.as_command(name, whoami)
sys.exit(main(["whoami"]))
"""


def test_a_fault_is_one_line_unless_debugging(alone: Place) -> None:
    done = python(FAULT, alone)
    assert done.returncode == 70
    assert "a fault in the command itself (RuntimeError: broken)" in done.stderr
    assert "Traceback" not in done.stderr
    shown = subprocess.run(
        [sys.executable, "-c", FAULT],
        capture_output=True,
        text=True,
        check=False,
        env=alone.environment(SLUICE_DEBUG="1"),
    )
    assert "Traceback" in shown.stderr


REFUSED = """
import sys
from sluice.cli import lazy
from sluice.cli.main import main
from sluice.wire.shapes.workspaces import VariableInput
def whoami():
    VariableInput(key=sys.argv[1], value=sys.argv[2] * int(sys.argv[3]))
lazy.load = lambda name: lazy.as_command(name, whoami)
sys.exit(main(["whoami"]))
"""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bad key", "s3cret", "1"], "key: must match ^[A-Za-z_][A-Za-z0-9_-]*$."),
        (["", "s3cret", "1"], "key: may not be empty."),
        (["key", "s3cret", "99999"], "value: may have at most 262144 characters."),
        (
            ["", "s3cret", "99999"],
            "key: may not be empty; value: may have at most 262144 characters.",
        ),
    ],
)
def test_what_a_request_cannot_hold_is_named_without_its_value(
    arguments: list[str], message: str, alone: Place
) -> None:
    done = python(REFUSED, alone, *arguments)
    assert (done.returncode, done.stderr) == (2, f"error: {message}\n")


MISSING = """
import sys
from importlib.abc import MetaPathFinder
class Without(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"fastapi", "sqlalchemy", "uvicorn", "psutil"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Without())
from sluice.cli.main import main
sys.exit(main([sys.argv[1]] if len(sys.argv) > 1 else ["server"]))
"""


def test_missing_packages_are_named_with_what_to_install(alone: Place) -> None:
    done = python(MISSING, alone)
    assert done.returncode == 2, done.stderr
    assert "`sluice server` needs packages that are not installed" in done.stderr
    assert "pip install 'sluice[server]'" in done.stderr


def test_shell_completion_knows_commands_and_options(alone: Place) -> None:
    def complete(words: str) -> list[str]:
        done = alone.run(
            _SLUICE_COMPLETE="complete_bash",
            COMP_WORDS=words,
            COMP_CWORD=str(len(words.split(" ")) - 1),
        )
        return done.stdout.split()

    assert complete("sluice wor") == ["workspace"]
    assert complete("sluice task c") == ["confirm", "cancel"]
    assert "--auto-approve" in complete("sluice apply --a")
    assert "_SLUICE_COMPLETE" in alone.run("completion", "zsh").stdout


def test_the_version(alone: Place) -> None:
    assert alone.run("--version").stdout.startswith("sluice 0.")


def test_doctor_says_what_to_do_and_fails_without_a_server(alone: Place) -> None:
    done = alone.run("doctor", "--url", "http://127.0.0.1:9", "--json")
    assert done.returncode == 1
    findings = {item["name"]: item for item in json.loads(done.stdout)}
    assert findings["Server"]["verdict"] == "fail"
    assert "sluice up" in findings["Server"]["advice"]
    assert findings["Data directory"]["verdict"] == "ok"
    wrong = alone.run(
        "doctor", TF_CLI_CONFIG_FILE="/nowhere", SLUICE_DATA_DIR="/proc/x"
    )
    assert "warn  Terraform's settings" in wrong.stdout
    assert "fail  Data directory" in wrong.stdout


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInputError, ExitCode.USAGE),
        (TooLargeError, ExitCode.USAGE),
        (UnauthorizedError, ExitCode.NOT_ALLOWED),
        (ForbiddenError, ExitCode.NOT_ALLOWED),
        (NotFoundError, ExitCode.NOT_FOUND),
        (GoneError, ExitCode.NOT_FOUND),
        (ConflictError, ExitCode.CONFLICT),
        (LockedError, ExitCode.CONFLICT),
        (UnavailableError, ExitCode.UNREACHABLE),
        (UnreachableError, ExitCode.UNREACHABLE),
        (RateLimitedError, ExitCode.UNREACHABLE),
        (ApiError, ExitCode.FAILED),
        (StreamBrokenError, ExitCode.FAILED),
        (SluiceError, ExitCode.FAILED),
    ],
)
def test_each_error_has_its_code(error: type[SluiceError], code: ExitCode) -> None:
    assert code_of_error(error("x")) is code
