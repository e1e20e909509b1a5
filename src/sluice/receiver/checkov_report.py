"""Makes a review of Checkov's report: one outcome a failed check."""

import msgspec

from sluice.receiver.model import Outcome, Review, Severity, Status, counted

POLICY_INDEX = "https://www.checkov.io/5.Policy%20Index/terraform.html"
"""Where a check is explained for which Checkov names no page of its own."""

_SEVERITIES = {str(one): one for one in Severity}


class ReportError(ValueError):
    """The text is no report of Checkov, or one of a scan that failed."""


class _Check(msgspec.Struct):
    check_id: str
    check_name: str = ""
    resource: str = ""
    severity: str | None = None
    guideline: str | None = None
    description: str | None = None


class _Results(msgspec.Struct):
    failed_checks: list[_Check] = []


class _Summary(msgspec.Struct):
    passed: int
    failed: int
    skipped: int = 0
    parsing_errors: int = 0
    resource_count: int = 0
    checkov_version: str = ""


class _Report(msgspec.Struct):
    summary: _Summary
    results: _Results = msgspec.field(default_factory=_Results)


class _Nothing(msgspec.Struct):
    """What Checkov writes where no resource of a plan has checks: a bare summary."""

    passed: int
    failed: int
    parsing_errors: int
    skipped: int = 0
    resource_count: int = 0
    checkov_version: str = ""


def review_of_report(content: bytes, *, exit_code: int) -> Review:
    """The review. Failed checks do no harm where Checkov was told so (`--soft-fail`).

    Args:
        content: what `checkov --output json` wrote.
        exit_code: Checkov's: 0 where its own settings let the failed checks pass.

    Raises:
        ReportError: nothing was scanned that could be judged.
    """
    reports = _read(content)
    if not reports:
        raise ReportError("Checkov wrote no report.")
    if any(report.summary.parsing_errors for report in reports):
        raise ReportError("Checkov could not read the plan.")
    if exit_code not in {0, 1}:
        raise ReportError(f"Checkov ended with {exit_code}.")
    passes = exit_code == 0
    outcomes = [
        _outcome(check, Status.WARNING if passes else Status.FAILED)
        for report in reports
        for check in report.results.failed_checks
    ]
    if not passes and not outcomes:
        raise ReportError("Checkov failed without naming a check.")
    return Review(passed=passes, message=_message(reports, outcomes), outcomes=outcomes)


def _read(content: bytes) -> list[_Report]:
    try:
        found = msgspec.json.decode(content)
        documents = found if isinstance(found, list) else [found]
        return [_report(document) for document in documents]
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ReportError(f"Checkov wrote no report: {error}") from error


def _report(document: object) -> _Report:
    if isinstance(document, dict) and "summary" not in document:
        bare = msgspec.convert(document, _Nothing)
        return _Report(msgspec.convert(bare, _Summary, from_attributes=True))
    return msgspec.convert(document, _Report)


def _message(reports: list[_Report], outcomes: list[Outcome]) -> str:
    passed = sum(report.summary.passed for report in reports)
    skipped = sum(report.summary.skipped for report in reports)
    resources = sum(report.summary.resource_count for report in reports)
    said = [f"{counted(passed, 'check')} passed", f"{len(outcomes)} failed"]
    if skipped:
        said.append(f"{skipped} skipped")
    by = f"Checkov {reports[0].summary.checkov_version}".strip()
    return f"{', '.join(said)} over {counted(resources, 'resource')} ({by})."


def _outcome(check: _Check, status: Status) -> Outcome:
    url = check.guideline or POLICY_INDEX
    rows = [
        f"- check: `{check.check_id}` {check.check_name}".rstrip(),
        f"- resource: `{check.resource}`",
        f"- guideline: <{url}>",
    ]
    parts = [check.description or "", "\n".join(rows)]
    severity = _SEVERITIES.get((check.severity or "").lower(), Severity.UNRATED)
    return Outcome(
        outcome_id=check.check_id,
        description=f"{check.resource}: {check.check_name}",
        status=status,
        severity=severity,
        body="\n\n".join(part for part in parts if part),
        url=url,
    )
