"""`sluice run-task serve` against a platform over real HTTP."""

import time
from pathlib import Path

import httpx2
import pytest

from sluice.wire.run_task import TEST_TOKEN
from tests.receiver.far_platform import PATIENCE, FarPlatform, far_platform, send
from tests.receiver.plans import PUBLIC_BUCKET, change, plan_json
from tests.receiver.services import RunningService, running_service

FINE = plan_json(change("aws_x.fine", ["create"], {"acl": "private"}))
BAD = plan_json(PUBLIC_BUCKET)


def slow(seconds: float) -> bytes:
    """A plan over which the rules take their time."""
    return plan_json(change("aws_x.slow", ["create"], {"seconds": seconds}))


def left_over(service: RunningService) -> list[Path]:
    """What reviews left behind, once they had time to clean up."""
    scratch = service.log.parent / "scratch"
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and list(scratch.iterdir()):
        time.sleep(0.02)
    return list(scratch.iterdir())


def test_a_plan_without_findings_passes(
    service: RunningService, platform: FarPlatform
) -> None:
    assert send(service.url, platform.asks("r", FINE)).status_code == 200
    verdict = platform.verdict("r")
    assert verdict.status == "passed"
    assert verdict.message == "5 rules looked at 1 change: nothing found."
    assert verdict.outcomes == []
    assert "running" in {one.status for one in platform.of("r")}
    assert left_over(service) == []


def test_a_finding_fails_and_is_an_outcome(
    service: RunningService, platform: FarPlatform
) -> None:
    send(f"{service.url}/any/path?x=1", platform.asks("r", BAD))
    verdict = platform.verdict("r")
    assert verdict.status == "failed"
    assert verdict.message == "5 rules looked at 1 change: 1 finding."
    (outcome,) = verdict.outcomes
    assert outcome["outcome-id"] == "deny-1"
    assert outcome["description"] == "aws_s3_bucket.logs: is public"
    assert outcome["tags"] == {
        "Status": [{"label": "Failed", "level": "error"}],
        "Severity": [{"label": "High", "level": "error"}],
    }
    assert "`aws_s3_bucket.logs`" in outcome["body"]
    assert "`rules.py:5`" in outcome["body"]


def test_a_warning_is_shown_and_passes(
    service: RunningService, platform: FarPlatform
) -> None:
    plan = plan_json(change("aws_x.old", ["delete"], before={"a": 1}))
    send(service.url, platform.asks("r", plan))
    verdict = platform.verdict("r")
    assert verdict.status == "passed"
    assert [one["tags"]["Status"][0]["label"] for one in verdict.outcomes] == [
        "Warning"
    ]


def test_a_rule_that_raises_is_a_failed_outcome(
    service: RunningService, platform: FarPlatform
) -> None:
    plan = plan_json(change("aws_x.broken", ["create"], {}), PUBLIC_BUCKET)
    send(service.url, platform.asks("r", plan))
    verdict = platform.verdict("r")
    assert verdict.status == "failed"
    texts = [one["description"] for one in verdict.outcomes]
    assert (
        "Rule raises raised KeyError at rules.py:12, looking at aws_x.broken." in texts
    )
    # the other rules went on, and the value is in the log only
    assert "aws_s3_bucket.logs: is public" in texts
    assert "secret-value" not in str(verdict)
    assert service.said("secret-value")


def test_rules_may_look_at_the_task(
    service: RunningService, platform: FarPlatform
) -> None:
    platform.asks("r", FINE)
    send(service.url, platform.payload("r", workspace_name="forbidden"))
    (outcome,) = platform.verdict("r").outcomes
    assert outcome["description"] == "not in this workspace"
    assert outcome["url"] == "https://example.com/why"
    assert outcome["body"].startswith("**never**")


# --- who may call ---------------------------------------------------------------


@pytest.mark.parametrize("prefixed", [False, True])
def test_a_verification_call_is_answered_and_nothing_else(
    service: RunningService, platform: FarPlatform, prefixed: bool
) -> None:
    platform.asks("r", BAD)
    payload = platform.payload("r", access_token=TEST_TOKEN, stage="test")
    assert send(service.url, payload, prefixed=prefixed).status_code == 200
    assert service.said("verified by the platform")
    assert platform.callbacks == []
    assert platform.plans_served == 0


def test_a_signature_must_fit(service: RunningService, platform: FarPlatform) -> None:
    payload = platform.asks("r", BAD)
    refused = [
        send(service.url, payload, key="another"),
        send(service.url, payload, key=""),
        send(service.url, payload, x_tfc_task_signature="sha512="),
        send(service.url, payload, x_tfc_task_signature="0" * 128),
        send(service.url, {**payload, "access_token": TEST_TOKEN}, key="another"),
    ]
    assert [answer.status_code for answer in refused] == [401] * 5
    assert "not signed" in refused[1].json()["detail"]
    assert platform.callbacks == []


def test_a_prefixed_signature_fits(
    service: RunningService, platform: FarPlatform
) -> None:
    send(service.url, platform.asks("r", FINE), prefixed=True)
    assert platform.verdict("r").status == "passed"


def test_an_old_call_is_refused(service: RunningService, platform: FarPlatform) -> None:
    payload = platform.asks("r", FINE)
    now = time.time()
    old = send(service.url, payload, sent_at=now - 301)
    early = send(service.url, payload, sent_at=now + 330)
    moved = send(
        service.url, payload, sent_at=now - 400, webhook_timestamp=str(int(now))
    )
    odd = send(service.url, payload, sent_at=now, webhook_timestamp="soon")
    assert [one.status_code for one in (old, early, moved, odd)] == [401] * 4
    assert "clock" in old.json()["detail"]
    assert platform.callbacks == []
    assert send(service.url, payload, sent_at=now - 100).status_code == 200
    assert platform.verdict("r").status == "passed"


def test_what_is_no_call_is_refused(service: RunningService) -> None:
    answer = send(service.url, {"stage": "post_plan", "access_token": "t"})
    assert answer.status_code == 422
    assert "task_result_id" in answer.json()["detail"]
    large = send(service.url, {"stage": "x" * 2_000_000})
    assert large.status_code == 413
    plain = send(service.url, {}, content_type="text/plain")
    assert (plain.status_code, "Content-Type" in plain.text) == (422, True)
    assert httpx2.get(service.url).status_code == 405
    assert httpx2.get(f"{service.url}/healthz").text == "ok\n"


def test_a_signed_call_needs_a_key(
    tmp_path: Path, rules: Path, platform: FarPlatform
) -> None:
    with running_service(tmp_path, "serve", f"--rule={rules}", signed=False) as service:
        assert send(service.url, platform.asks("r", FINE)).status_code == 422
        assert send(service.url, platform.payload("r"), key="").status_code == 200
        assert platform.verdict("r").status == "passed"


def test_tokens_go_to_the_named_server_only(
    tmp_path: Path, rules: Path, platform: FarPlatform
) -> None:
    options = ["serve", f"--rule={rules}", f"--server={platform.url}/any/path"]
    with running_service(tmp_path, *options) as service:
        platform.asks("r", FINE)
        elsewhere = "http://127.0.0.1:9/x"
        for field in ("plan_json_api_url", "task_result_callback_url"):
            payload = platform.payload("r", **{field: elsewhere})
            assert send(service.url, payload).status_code == 403
            payload = platform.payload("r", **{field: "file:///etc/passwd"})
            assert send(service.url, payload).status_code == 422
        assert send(service.url, platform.payload("r")).status_code == 200
        assert platform.verdict("r").status == "passed"


# --- what it answers at -----------------------------------------------------------


def test_another_stage_fails_in_words(
    service: RunningService, platform: FarPlatform
) -> None:
    platform.asks("r", FINE)
    send(service.url, platform.payload("r", stage="pre_apply"))
    verdict = platform.verdict("r")
    assert verdict.status == "failed"
    assert "answers at post_plan" in verdict.message
    assert "--stage pre_apply" in verdict.message
    assert platform.plans_served == 0


def test_before_the_plan_rules_over_the_task_are_asked(
    tmp_path: Path, rules: Path, platform: FarPlatform
) -> None:
    options = ["serve", f"--rule={rules}", "--stage=pre_plan", "--stage=post_plan"]
    with running_service(tmp_path, *options) as service:
        platform.asks("early")
        early = platform.payload("early", stage="pre_plan", plan_json_api_url=None)
        send(service.url, early)
        verdict = platform.verdict("early")
        assert verdict.status == "passed"
        assert verdict.message == "1 rule looked at the task: nothing found."
        send(service.url, platform.asks("late", BAD))
        assert platform.verdict("late").status == "failed"


# --- trouble ----------------------------------------------------------------------


def test_a_call_that_comes_again_is_worked_on_once(
    service: RunningService, platform: FarPlatform
) -> None:
    payload = platform.asks("r", FINE)
    platform.hold.clear()
    said = [send(service.url, payload).json()["status"] for _ in range(4)]
    assert said == ["new", "under way", "under way", "under way"]
    platform.hold.set()
    assert platform.verdict("r").status == "passed"
    assert service.said('"answered"')
    deadline = time.monotonic() + PATIENCE
    again = ""
    while again != "answered before" and time.monotonic() < deadline:
        again = send(service.url, payload).json()["status"]
    assert again == "answered before"
    assert platform.plans_served == 1


def test_a_platform_that_is_away_is_called_until_it_is_back(
    service: RunningService, platform: FarPlatform
) -> None:
    send(service.url, platform.asks("r", slow(1), refuse_callbacks=[503, 429]))
    assert platform.seen.wait(PATIENCE)
    platform.stop()
    assert service.said("retry_scheduled")
    assert not platform.results["r"].final
    platform.start()
    assert platform.verdict("r").status == "passed"


def test_a_plan_that_is_not_there_yet_is_asked_for_again(
    service: RunningService, platform: FarPlatform
) -> None:
    send(service.url, platform.asks("r", FINE, refuse_plan=[503, 204]))
    assert platform.verdict("r").status == "passed"


def test_a_plan_may_be_kept_elsewhere_and_the_token_stays(
    service: RunningService, platform: FarPlatform
) -> None:
    with far_platform() as store:
        store.blob = BAD
        payload = platform.asks("r", plan_is_at=f"{store.url}/blob")
        send(service.url, payload)
        assert platform.verdict("r").status == "failed"
        assert store.blob_asked_with == [None]


@pytest.mark.parametrize("status", [409, 410])
def test_a_result_nobody_waits_for_is_left(
    service: RunningService, platform: FarPlatform, status: int
) -> None:
    send(service.url, platform.asks("r", FINE, refuse_callbacks=[status, 200]))
    assert service.said("waits no more")
    time.sleep(1.0)
    assert [one.status for one in platform.of("r")].count("passed") == 0


def test_work_nobody_waits_for_is_stopped(
    service: RunningService, platform: FarPlatform
) -> None:
    payload = platform.asks("r", slow(600))
    platform.results["r"].final = True
    send(service.url, payload)
    assert service.said("waits no more")
    assert left_over(service) == []
    assert service.children() == []


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (b"no JSON at all", "no plan JSON"),
        (b"{}", "no plan JSON"),
        (b'{"format_version": "1.2", "resource_changes": 7}', "no plan JSON"),
        (b'{"format_version": "1.2"}', "0 changes"),
    ],
)
def test_what_is_no_plan_does_not_pass(
    service: RunningService, platform: FarPlatform, plan: bytes, told: str
) -> None:
    send(service.url, platform.asks("r", plan))
    verdict = platform.verdict("r")
    assert told in verdict.message
    assert verdict.status == ("passed" if "0 changes" in told else "failed")


def test_a_plan_that_is_refused_fails(
    service: RunningService, platform: FarPlatform
) -> None:
    send(service.url, platform.asks("r", FINE, refuse_plan=[403]))
    verdict = platform.verdict("r")
    assert verdict.status == "failed"
    assert verdict.message == "The plan could not be fetched (HTTP 403)."


def test_rules_that_take_too_long_are_stopped(
    tmp_path: Path, rules: Path, platform: FarPlatform
) -> None:
    with running_service(
        tmp_path, "serve", f"--rule={rules}", "--timeout=2"
    ) as service:
        send(service.url, platform.asks("r", slow(600)))
        verdict = platform.verdict("r")
        assert verdict.status == "failed"
        assert "longer than 2 s" in verdict.message
        assert left_over(service) == []
        assert service.children() == []


def test_rules_that_kill_their_process_fail(
    tmp_path: Path, platform: FarPlatform
) -> None:
    rules = tmp_path / "harsh.py"
    rules.write_text(
        "import os\n"
        "from sluice.receiver.rules import Change, rule\n"
        "@rule\n"
        "def harsh(change: Change):\n"
        "    print('on my way')\n"
        "    os._exit(9)\n"
    )
    with running_service(tmp_path, "serve", f"--rule={rules}") as service:
        send(service.url, platform.asks("r", FINE))
        verdict = platform.verdict("r")
        assert verdict.status == "failed"
        assert "ended with 9" in verdict.message
        assert service.said("on my way")
        # rules that are mended count at once
        rules.write_text(rules.read_text().replace("os._exit(9)", "pass"))
        send(service.url, platform.asks("again", FINE))
        assert platform.verdict("again").status == "passed"


def test_so_many_reviews_run_at_a_time(
    tmp_path: Path, rules: Path, platform: FarPlatform
) -> None:
    with running_service(
        tmp_path, "serve", f"--rule={rules}", "--max-jobs=1"
    ) as service:
        names = [f"r{at}" for at in range(4)]
        for name in names:
            send(service.url, platform.asks(name, slow(0.3)))
        most = 0
        while not all(platform.results[name].final for name in names):
            most = max(most, len(service.children()))
            time.sleep(0.01)
        assert [platform.verdict(name).status for name in names] == ["passed"] * 4
        assert most == 1


# --- stopping ---------------------------------------------------------------------


def test_a_stop_waits_for_what_runs(
    service: RunningService, platform: FarPlatform
) -> None:
    send(service.url, platform.asks("r", slow(2)))
    assert service.said("called")
    assert service.stop() == 0
    assert [one.status for one in platform.of("r")][-1] == "passed"


@pytest.mark.parametrize("quick", [False, True])
def test_a_stop_waits_only_so_long(
    tmp_path: Path, rules: Path, platform: FarPlatform, quick: bool
) -> None:
    wait = "600" if quick else "1"
    options = ["serve", f"--rule={rules}", f"--drain-timeout={wait}"]
    with running_service(tmp_path, *options) as service:
        send(service.url, platform.asks("r", slow(600)))
        assert platform.seen.wait(PATIENCE)
        assert service.stop(quick=quick) == 0
        verdict = platform.verdict("r")
        assert verdict.status == "failed"
        assert "service was stopped" in verdict.message
        assert left_over(service) == []


# --- size -------------------------------------------------------------------------


def test_a_large_plan_does_not_stay_in_memory(
    service: RunningService, platform: FarPlatform
) -> None:
    before = service.peak_memory()
    block = b'"' + b"x" * 1_000_000 + b'",'
    head = b'{"format_version":"1.2","planned_values":['
    # one JSON of about 60 MB: the platform repeats what it is given
    whole = head + block * 60 + b'""],"resource_changes":[]}'
    send(service.url, platform.asks("r", whole))
    assert platform.verdict("r").status == "passed"
    assert service.peak_memory() - before < 30_000_000


def test_a_plan_above_the_cap_fails_in_words(
    tmp_path: Path, rules: Path, platform: FarPlatform
) -> None:
    options = ["serve", f"--rule={rules}", "--max-plan-mib=1"]
    with running_service(tmp_path, *options) as service:
        send(service.url, platform.asks("r", b" " * 100_000, repeat=40))
        verdict = platform.verdict("r")
        assert verdict.status == "failed"
        assert "larger than this service takes (1 MiB)" in verdict.message
        assert left_over(service) == []
