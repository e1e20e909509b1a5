"""`keruta-agent …` as existing jobs call it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sluice.base.errors import InvalidInputError
from sluice.cli.exec_commands import as_exec

KERUTA_AGENT = shutil.which("keruta-agent", path=f"{Path(sys.prefix)}/bin")


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ("execute --task-id t -- ./s.sh a", "exec --task-id t -- ./s.sh a"),
        (
            "execute --task-id=t --log-level DEBUG -- ./s.sh",
            "exec --task-id t --log-level DEBUG -- ./s.sh",
        ),
        (
            "execute --task-id t --disable-log-streaming -- ./s.sh",
            "exec --task-id t --disable-log-streaming -- ./s.sh",
        ),
        (
            "execute --task-id t --api-url http://k:8080 --script /w/s.sh --verbose",
            "exec --task-id t --url http://k:8080 --verbose -- /w/s.sh",
        ),
        (
            "execute --script=/w/s.sh --auto-cleanup --auto-detect-input=false -- a b",
            "exec -- /w/s.sh a b",
        ),
        (
            "execute --work-dir /work --timeout 300 ./s.sh --timeout 5",
            "exec --work-dir /work --timeout 300 -- ./s.sh --timeout 5",
        ),
        ("--task-id t -v run -- ./s.sh -v", "exec --task-id t --verbose -- ./s.sh -v"),
        ("execute --disable-log-streaming=false -- x", "exec -- x"),
        (
            "execute --drain-timeout 5 --deliver /d",
            "exec --drain-timeout 5 --deliver /d",
        ),
        ("execute --help", "exec --help"),
        ("execute --task-id", "exec --task-id "),
        ("--help", "exec --help"),
        ("--version", "--version"),
        ("", "exec --help"),
    ],
)
def test_arguments_of_jobs(given: str, ours: str) -> None:
    assert as_exec(given.split()) == ours.split(" ")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("server", "'server' is no command of keruta-agent"),
        ("./s.sh --task-id t", "'./s.sh' is no command"),
        ("--task-id t -- execute", "'execute' is no command"),
        ("--task-id t", "There is no command"),
    ],
)
def test_a_job_starts_nothing_but_a_script(given: str, words: str) -> None:
    with pytest.raises(InvalidInputError, match="keruta-agent execute --task-id") as no:
        as_exec(given.split())
    assert words in no.value.detail


@pytest.mark.skipif(KERUTA_AGENT is None, reason="the package is not installed here")
def test_the_program_runs_a_script(tmp_path: Path) -> None:
    script = tmp_path / "s.sh"
    script.write_text('#!/bin/sh\necho "ran $1 for $KERUTA_TASK_ID"; exit 7\n')
    script.chmod(0o755)
    env = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("SLUICE_", "KERUTA_"))
    }
    assert KERUTA_AGENT
    done = subprocess.run(
        [KERUTA_AGENT, "execute", "--task-id", "task123", "--", str(script), "x"],
        env=env | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 7
    assert done.stdout == b"ran x for task123\n"
