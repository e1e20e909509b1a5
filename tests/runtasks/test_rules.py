"""The pure rules of asking: verdicts, when calls are made, what is sent."""

import json
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.base.ids import (
    ConfigurationVersionId,
    RunTaskId,
    RunTaskResultId,
    RunTaskStageId,
    TaskId,
)
from sluice.runtasks.model import Override, Result
from sluice.runtasks.payload import Subject, payload_of, with_token
from sluice.runtasks.schedule import (
    LEASE,
    LONGEST,
    TRIES,
    Answer,
    begun,
    heard,
    is_open,
    judge,
    may_try_again,
    next_try,
    timed_out,
)
from sluice.runtasks.verdicts import is_alarming, log_line, stops, verdict
from sluice.wire.run_task import (
    FINAL,
    EnforcementLevel,
    ResultStatus,
    RunTaskStage,
    encode_payload,
)
from sluice.wire.shapes.tasks import PlanSummary, TaskType
from tests.runtasks.definitions import make_run_task
from tests.tasks.factory import NOW, ORG, WS, make_task, make_workspace

MANDATORY, ADVISORY = EnforcementLevel.MANDATORY, EnforcementLevel.ADVISORY
PASSED, FAILED = ResultStatus.PASSED, ResultStatus.FAILED
POST_PLAN, POST_APPLY = RunTaskStage.POST_PLAN, RunTaskStage.POST_APPLY


def result(status: ResultStatus = PASSED, **fields: Any) -> Result:
    given_fields: dict[str, Any] = {
        "id": RunTaskResultId("rtr-1"),
        "stage_id": RunTaskStageId("ts-1"),
        "task_id": TaskId("task-abc"),
        "organization_id": ORG,
        "workspace_id": WS,
        "run_task_id": RunTaskId("rt-1"),
        "name": "checks",
        "stage": POST_PLAN,
        "level": MANDATORY,
        "created_at": NOW,
        "status": status,
        **fields,
    }
    return Result(**given_fields)


# --- verdicts ------------------------------------------------------------------


@pytest.mark.parametrize("status", list(ResultStatus))
@pytest.mark.parametrize("level", list(EnforcementLevel))
@pytest.mark.parametrize("stage", list(RunTaskStage))
def test_what_stops_a_task(
    status: ResultStatus, level: EnforcementLevel, stage: RunTaskStage
) -> None:
    one = result(status, level=level, stage=stage)
    bad = {FAILED, ResultStatus.ERROR, ResultStatus.TIMEOUT}
    wanted = status in bad and level is MANDATORY and stage is not POST_APPLY
    assert stops(one) is wanted
    assert not stops(replace(one, override=Override("ann", "why", NOW)))
    if status in FINAL:
        answer = verdict([result(), one])
        assert answer is not None
        assert answer.passed is not wanted
        assert log_line(one)
    else:
        assert verdict([result(), one]) is None


def test_the_strictest_counts_and_is_named() -> None:
    answer = verdict(
        [
            result(),
            result(FAILED, name="cost", message="too\n much"),
            result(FAILED, name="style", level=ADVISORY, message="ugly"),
            result(ResultStatus.TIMEOUT, name="scan"),
        ]
    )
    assert answer is not None
    assert not answer.passed
    assert answer.text == (
        "run task cost (mandatory) failed: too much;"
        " run task scan (mandatory) did not answer in time"
    )
    assert verdict([]) is not None


def test_the_line_in_the_log_is_one_line() -> None:
    assert log_line(result(message="all\r\nwell")) == (
        "run task checks (mandatory) passed: all well"
    )
    assert is_alarming(result(FAILED))
    assert not is_alarming(result(FAILED, level=ADVISORY))
    assert not is_alarming(result())


# --- when calls are made ---------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        *((code, Answer.TAKEN) for code in (200, 201, 202, 204)),
        *((code, Answer.FAILED) for code in (203, 206, 301, 302, 307, 100)),
        *((code, Answer.FAILED) for code in (408, 425, 429, 500, 502, 503, 504, 599)),
        *((code, Answer.REFUSED) for code in (400, 401, 403, 404, 405, 410, 422, 451)),
    ],
)
def test_what_an_answer_means(status: int, answer: Answer) -> None:
    assert judge(status) is answer


def test_the_first_call_starts_the_time_and_others_do_not() -> None:
    first = begun(result(ResultStatus.PENDING, timeout_seconds=60), NOW)
    assert (first.status, first.attempts) == (ResultStatus.RUNNING, 1)
    assert first.timeout_at == NOW + timedelta(seconds=60)
    assert first.last_timeout_at == NOW + LONGEST
    assert first.call_lease_until == NOW + LEASE
    again = begun(first, NOW + timedelta(seconds=30))
    assert again.attempts == 2
    kept = ("timeout_at", "last_timeout_at", "started_at", "issued_at")
    assert [getattr(again, name) for name in kept] == [
        getattr(first, name) for name in kept
    ]


@given(
    timeout=st.integers(60, 3600),
    luck=st.lists(st.floats(0, 1), min_size=TRIES, max_size=TRIES),
)
def test_tries_grow_apart_and_end_in_about_five_minutes(
    timeout: int, luck: list[float]
) -> None:
    one, at = result(ResultStatus.PENDING, timeout_seconds=timeout), NOW
    waits = []
    for draw in luck:
        one = begun(one, at)
        again = next_try(one, at, draw)
        if not may_try_again(one, again):
            break
        waits.append((again - at).total_seconds())
        at = again
    assert one.attempts == TRIES
    assert at - NOW < timedelta(seconds=min(timeout, 300))
    assert all(later > before for before, later in pairwise(waits))
    if timeout >= 300:
        assert at - NOW > timedelta(minutes=2)


def test_no_try_comes_after_the_time_is_over() -> None:
    one = begun(result(ResultStatus.PENDING, timeout_seconds=60), NOW)
    assert may_try_again(one, NOW + timedelta(seconds=59))
    assert not may_try_again(one, NOW + timedelta(seconds=60))


def test_whoever_speaks_has_time_anew_but_not_for_ever() -> None:
    one = begun(result(ResultStatus.PENDING, timeout_seconds=600), NOW)
    later = NOW + timedelta(seconds=599)
    assert is_open(one, later)
    assert heard(one, later).timeout_at == later + timedelta(seconds=600)
    assert heard(one, later).next_call_at is None
    late = heard(one, NOW + timedelta(minutes=59))
    assert late.timeout_at == NOW + LONGEST
    assert timed_out(late, NOW + LONGEST)
    assert not is_open(late, NOW + LONGEST)
    assert not is_open(replace(one, status=PASSED), NOW)
    assert not timed_out(result(ResultStatus.PENDING), NOW + LONGEST)


# --- what is sent ----------------------------------------------------------------

# the sample of HashiCorp's documentation, in its order
HCP_KEYS = [
    "payload_version",
    "stage",
    "access_token",
    "capabilities",
    "configuration_version_download_url",
    "configuration_version_id",
    "is_speculative",
    "organization_name",
    "plan_json_api_url",
    "project_id",
    "project_name",
    "project_app_url",
    "run_app_url",
    "run_created_at",
    "run_created_by",
    "run_id",
    "run_message",
    "task_result_callback_url",
    "task_result_enforcement_level",
    "task_result_id",
    "vcs_branch",
    "vcs_commit_url",
    "vcs_commit_hash",
    "vcs_pull_request_url",
    "vcs_repo_url",
    "workspace_app_url",
    "workspace_id",
    "workspace_name",
    "workspace_working_directory",
]
FROM_PLAN_ON = {"plan_json_api_url", "plan_changes", "resource_changes_api_url"}


def subject(stage: RunTaskStage = POST_PLAN, **fields: Any) -> Subject:
    task = make_task(
        id=TaskId("task-abc"),
        configuration_version_id=ConfigurationVersionId("cv-1"),
        summary=PlanSummary(add=1, change=2, destroy=3),
        message='say "✓" \u2028 <>&',
        **fields,
    )
    return Subject(
        result=result(ResultStatus.RUNNING, stage=stage),
        run_task=make_run_task("checks"),
        task=task,
        workspace=make_workspace(WS),
        organization_name="acme",
        public_url="https://sluice.example.com",
    )


@pytest.mark.parametrize("stage", list(RunTaskStage))
def test_all_that_hcp_sends_is_there_in_its_order(stage: RunTaskStage) -> None:
    payload = with_token(payload_of(subject(stage)), "tok")
    wanted = [
        key
        for key in HCP_KEYS
        if stage is not RunTaskStage.PRE_PLAN or key not in FROM_PLAN_ON
    ]
    assert [key for key in payload if key in HCP_KEYS] == wanted
    assert payload["capabilitites"] == payload["capabilities"] == {"outcomes": True}
    assert (set(payload) >= FROM_PLAN_ON) is (stage is not RunTaskStage.PRE_PLAN)
    assert payload["access_token"] == "tok"
    assert payload["stage"] == stage.value
    for key, value in payload.items():
        if key.endswith("_url") and value is not None:
            assert value.startswith("https://sluice.example.com/"), key


def test_what_is_sent_reads_as_it_is_meant() -> None:
    payload = payload_of(subject(task_type=TaskType.PLAN))
    assert "access_token" not in payload
    assert payload["is_speculative"] is True
    assert payload["run_id"] == "run-abc"
    assert payload["task_id"] == "task-abc"
    assert payload["run_created_at"] == "2026-11-21T10:00:00.000Z"
    assert payload["plan_changes"] == {"add": 1, "change": 2, "destroy": 3}
    assert payload["task_result_callback_url"] == (
        "https://sluice.example.com/api/v1/task-results/rtr-1/callback"
    )
    here = f"https://sluice.example.com/api/v1/workspaces/{WS}/tasks/task-abc"
    assert payload["plan_json_api_url"] == f"{here}/plan-json"
    assert payload["resource_changes_api_url"] == f"{here}/resource-changes"
    assert payload["configuration_version_download_url"] == f"{here}/configuration"
    assert payload_of(subject())["is_speculative"] is False
    body = encode_payload(payload)
    assert "✓".encode() in body
    assert b": " not in body.replace(b'\\"', b"").replace(b"say ", b"")
    assert json.loads(body) == payload
