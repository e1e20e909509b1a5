"""What `sluice run-task serve` and `checkov` refuse, in one line and with exit code 2."""

import socket
from pathlib import Path

import pytest

from tests.receiver.services import run_command


def refused(*arguments: str, code: int = 2, **environ: str) -> str:
    """The one line that a command says before it gives up."""
    done = run_command(*arguments, **environ)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_rules_must_load(tmp_path: Path, rules: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("from sluice.receiver.rules import deny\ndeny(typo=1)\n")
    assert "broken.py:2: " in refused("serve", f"--rule={rules}", f"--rule={broken}")
    assert "missing option '--rule'" in refused("serve")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--hmac-key-env=NOT_THERE"], "NOT_THERE is empty"),
        (["--hmac-key-file=/nowhere"], "/nowhere cannot be read"),
        (["--hmac-key-env=RUN_TASK_KEY", "--hmac-key-file=x"], "not both"),
        (["--host=0.0.0.0"], "give the run task a key"),
        (["--server=example.com"], "no http or https address"),
        (["--stage=sometime"], "--stage"),
    ],
)
def test_options_must_make_sense(rules: Path, options: list[str], told: str) -> None:
    assert told in refused("serve", f"--rule={rules}", *options)


def test_before_the_plan_there_must_be_something_to_look_at(tmp_path: Path) -> None:
    rules = tmp_path / "rules.py"
    rules.write_text("from sluice.receiver.rules import deny\ndeny(type='x')\n")
    said = refused("serve", f"--rule={rules}", "--stage=pre_plan")
    assert "At pre_plan there is no plan" in said
    assert "At pre_plan" in refused("checkov", "--stage=pre_plan")


def test_a_taken_port_is_told_of(rules: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        said = refused("serve", f"--rule={rules}", f"--port={port}", code=7)
    assert f"Cannot listen on 127.0.0.1:{port}" in said


def test_checkov_must_be_there(tmp_path: Path) -> None:
    said = refused("checkov", f"--checkov={tmp_path / 'none'}")
    assert "uv tool install checkov" in said


@pytest.mark.parametrize("command", ["serve", "checkov"])
def test_missing_packages_are_told_of(
    tmp_path: Path, rules: Path, command: str
) -> None:
    # as where the extra is not installed: these modules cannot be found
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'starlette', 'uvicorn'}:\n"
        "            raise ModuleNotFoundError(f'No module {name}', name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
    )
    options = ["--checkov=true"] if command == "checkov" else [f"--rule={rules}"]
    said = refused(command, *options, PYTHONPATH=str(tmp_path))
    assert "pip install 'sluice[receiver]'" in said
