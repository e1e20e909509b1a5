"""`sluice run-task checkov` with the real Checkov, and its reports as tables."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sluice.receiver.checkov_report import POLICY_INDEX, ReportError, review_of_report
from sluice.receiver.model import Severity, Status
from tests.receiver.far_platform import FarPlatform, send
from tests.receiver.plans import PUBLIC_BUCKET, change, plan_json
from tests.receiver.services import ROOT, RunningService, running_service

OWN = ROOT / ".checkov" / "bin" / "checkov"
TERRAFORM = shutil.which("terraform")


@pytest.fixture(scope="module")
def program() -> str:
    """The real Checkov: `make test` installs it."""
    found = str(OWN) if OWN.exists() else shutil.which("checkov")
    if found is None:
        pytest.skip("no Checkov: `make .checkov/.installed` installs it")
    return found


@pytest.fixture
def scanner(tmp_path: Path, program: str) -> Iterator[RunningService]:
    """`sluice run-task checkov`; what it would find in its environment is set too."""
    options = ["checkov", f"--checkov={program}"]
    with running_service(tmp_path, *options, BC_API_KEY="not-for-checkov") as service:
        yield service


def test_a_public_bucket_fails(scanner: RunningService, platform: FarPlatform) -> None:
    private = change("aws_s3_bucket.other", ["create"], {"bucket": "b"})
    send(scanner.url, platform.asks("r", plan_json(PUBLIC_BUCKET, private)))
    verdict = platform.verdict("r")
    assert verdict.status == "failed"
    assert "over 2 resources (Checkov 3." in verdict.message
    assert " checks passed, " in verdict.message
    texts = [one["description"] for one in verdict.outcomes]
    public = [text for text in texts if "public READ" in text]
    assert [text.partition(":")[0] for text in public] == ["aws_s3_bucket.logs"]
    for outcome in verdict.outcomes:
        assert outcome["outcome-id"].startswith("CKV")
        assert outcome["tags"]["Status"] == [{"label": "Failed", "level": "error"}]
        assert outcome["tags"]["Severity"] == [{"label": "Unrated", "level": "none"}]
        assert outcome["url"] == POLICY_INDEX
        assert outcome["outcome-id"] in outcome["body"]
    assert list((scanner.log.parent / "scratch").glob("sluice-run-task-*")) == []


def test_checkov_takes_more_arguments(
    tmp_path: Path, program: str, platform: FarPlatform
) -> None:
    options = ["checkov", f"--checkov={program}", "--checkov-arg=--soft-fail"]
    with running_service(tmp_path, *options) as service:
        send(service.url, platform.asks("r", plan_json(PUBLIC_BUCKET)))
        verdict = platform.verdict("r")
    assert verdict.status == "passed"
    assert {one["tags"]["Status"][0]["label"] for one in verdict.outcomes} == {
        "Warning"
    }


@pytest.mark.skipif(TERRAFORM is None, reason="no terraform on PATH")
def test_a_plan_of_the_real_terraform_passes(
    tmp_path: Path, scanner: RunningService, platform: FarPlatform
) -> None:
    (tmp_path / "main.tf").write_text(
        'resource "terraform_data" "x" {\n  input = "hello"\n}\n'
    )
    assert TERRAFORM is not None
    (tmp_path / "terraform.rc").touch()

    def terraform(*arguments: str) -> bytes:
        return subprocess.run(
            [TERRAFORM, *arguments],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            env={"PATH": "/usr/bin:/bin", "TF_CLI_CONFIG_FILE": "terraform.rc"},
        ).stdout

    terraform("init", "-input=false")
    terraform("plan", "-input=false", "-out=plan")
    send(scanner.url, platform.asks("r", terraform("show", "-json", "plan")))
    verdict = platform.verdict("r")
    assert verdict.status == "passed"
    assert verdict.message.startswith("0 checks passed, 0 failed over 0 resources")


@pytest.mark.parametrize("plan", [b"{}", b"", b"no JSON", b'{"resource_changes": []}'])
def test_what_checkov_would_pass_unread_fails(
    scanner: RunningService, platform: FarPlatform, plan: bytes
) -> None:
    send(scanner.url, platform.asks("r", plan))
    verdict = platform.verdict("r")
    assert verdict.status == "failed"
    assert "no plan JSON" in verdict.message


def test_a_program_that_is_no_checkov_fails(
    tmp_path: Path, platform: FarPlatform
) -> None:
    with running_service(tmp_path, "checkov", "--checkov=true") as service:
        send(service.url, platform.asks("r", plan_json(PUBLIC_BUCKET)))
        verdict = platform.verdict("r")
    assert verdict.status == "failed"
    assert "Checkov wrote no report" in verdict.message
    assert "(exit code 0)" in verdict.message


# --- reports ----------------------------------------------------------------------


def report(*checks: dict[str, Any], **summary: int) -> bytes:
    """A report as Checkov writes it."""
    counts = {"passed": 3, "failed": len(checks), "skipped": 0, "parsing_errors": 0}
    whole = {
        "check_type": "terraform_plan",
        "results": {"failed_checks": list(checks)},
        "summary": {**counts, "resource_count": 2, "checkov_version": "3.9", **summary},
    }
    return json.dumps(whole).encode()


RATED = {
    "check_id": "CKV_AWS_20",
    "check_name": "No public bucket",
    "resource": "aws_s3_bucket.logs",
    "severity": "HIGH",
    "guideline": "https://example.com/s3",
}


def test_a_check_is_an_outcome() -> None:
    review = review_of_report(report(RATED, skipped=1), exit_code=1)
    assert not review.passed
    assert review.message == (
        "3 checks passed, 1 failed, 1 skipped over 2 resources (Checkov 3.9)."
    )
    (outcome,) = review.outcomes
    assert outcome.severity is Severity.HIGH
    assert outcome.url == "https://example.com/s3"
    assert outcome.status is Status.FAILED


def test_several_reports_are_one_review() -> None:
    both = b"[" + report(RATED) + b"," + report(RATED) + b"]"
    review = review_of_report(both, exit_code=0)
    assert review.passed
    assert len(review.outcomes) == 2
    assert review.message.startswith("6 checks passed, 2 failed over 4 resources")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", 0),
        (b"{}", 0),
        (b"[7]", 0),
        (b"[]", 0),
        (b"Traceback", 2),
        (report(), 2),
        (report(), 1),
        (report(parsing_errors=1), 0),
    ],
)
def test_what_is_no_report_never_passes(content: bytes, code: int) -> None:
    with pytest.raises(ReportError):
        review_of_report(content, exit_code=code)
