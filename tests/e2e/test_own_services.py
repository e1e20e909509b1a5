"""`sluice run-task serve` and `checkov` at gates of real plans: what they find stops a task."""

import pytest

from tests.e2e.gates import LOOPBACK, attach, results, run_task
from tests.receiver.far_platform import KEY
from tests.receiver.services import ROOT, running_service

RULES = ROOT / "examples" / "run-tasks" / "rules.py"
CHECKOV = ROOT / ".checkov" / "bin" / "checkov"


def configuration(text: str) -> dict[str, str]:
    """A greeting."""
    return {"main.tf": f'resource "terraform_data" "one" {{\n  input = "{text}"\n}}\n'}


def test_rules_stop_a_task_and_let_the_next_one_pass(stack, tmp_path):
    stack.settings |= LOOPBACK
    stack.start_server()
    stack.start_agent()
    workspace = stack.workspace("ruled", auto_apply=True)
    options = [
        "serve",
        f"--rule={RULES}",
        "--stage=post_plan",
        "--stage=pre_apply",
        f"--server={stack.url}",
    ]
    with running_service(tmp_path, *options) as service:
        named = run_task(stack, "rules", service.url, hmac_key=KEY)
        tested = stack.post(f"/run-tasks/{named}/test")
        assert tested["status_code"] == 200, tested
        for stage in ("post_plan", "pre_apply"):
            attach(stack, workspace["id"], named, stage, "mandatory")

        stack.upload(workspace["id"], configuration("damn"))
        refused = stack.task(workspace["id"], "plan_and_apply")
        stack.until(refused["id"], "failed", seconds=120)
        stack.upload(workspace["id"], configuration("hello"))
        taken = stack.task(workspace["id"], "plan_and_apply")
        stack.until(taken["id"], "success", seconds=120)
        of_refused = results(stack, workspace["id"], refused["id"])
        of_taken = results(stack, workspace["id"], taken["id"])

    assert [(row["stage"], row["status"]) for row in of_refused] == [
        ("post_plan", "failed"),
        ("pre_apply", "skipped"),
    ]
    (outcome,) = of_refused[0]["outcomes"]
    assert outcome["description"] == "terraform_data.one: swears"
    assert "5 rules looked at 1 change: 1 finding." in of_refused[0]["message"]
    assert [(row["stage"], row["status"]) for row in of_taken] == [
        ("post_plan", "passed"),
        ("pre_apply", "passed"),
    ]


@pytest.mark.skipif(not CHECKOV.exists(), reason="no .checkov: `make test` installs it")
def test_checkov_scans_the_plan_of_a_task(stack, tmp_path):
    stack.settings |= LOOPBACK
    stack.start_server()
    stack.start_agent()
    workspace = stack.workspace("scanned")
    stack.upload(workspace["id"], configuration("hello"))
    options = ["checkov", f"--checkov={CHECKOV}", f"--server={stack.url}"]
    with running_service(tmp_path, *options) as service:
        named = run_task(stack, "checkov", service.url, hmac_key=KEY)
        attach(stack, workspace["id"], named, "post_plan", "mandatory")
        task = stack.task(workspace["id"], "plan")
        stack.until(task["id"], "success", seconds=120)
        (result,) = results(stack, workspace["id"], task["id"])
    assert result["status"] == "passed"
    assert "0 failed over 0 resources (Checkov 3." in result["message"]
