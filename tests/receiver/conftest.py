"""A platform, and services that it calls."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.receiver.far_platform import FarPlatform, far_platform
from tests.receiver.services import RunningService, running_service

RULES = """
import time
from sluice.receiver.rules import Change, Finding, Task, deny, rule, warn

deny(type="aws_s3_bucket", attribute={"acl": "public-*"}, message="is public", severity="high")
warn(action="delete", message="goes away")


@rule
def raises(change: Change):
    if change.address == "aws_x.broken":
        return {}["secret-value"]


@rule(level="warn")
def slow(change: Change):
    if change.address == "aws_x.slow":
        time.sleep(float(change.after["seconds"]))


@rule
def weekdays(task: Task):
    if task.workspace == "forbidden":
        yield Finding("not in this workspace", body="**never**", url="https://example.com/why")
"""


@pytest.fixture
def platform() -> Iterator[FarPlatform]:
    """A platform of this test's own."""
    with far_platform() as running:
        yield running


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A file of rules."""
    path = tmp_path / "rules.py"
    path.write_text(RULES)
    return path


@pytest.fixture
def service(tmp_path: Path, rules: Path) -> Iterator[RunningService]:
    """`sluice run-task serve` with these rules."""
    with running_service(tmp_path, "serve", f"--rule={rules}") as running:
        yield running
