"""Services written for HCP Terraform, in Node, answer at gates of a real plan and apply."""

import pytest

from tests.e2e.gates import KEY, LOOPBACK, attach, receiving, results, run_task
from tests.e2e.stack import Viewer

CONFIGURATION = 'resource "terraform_data" "one" {\n  input = "✓ <>&"\n}\n'
MESSAGE = 'umlauts äöü, ✓ <>& \u2028 \U0001f600 and a tab\t, "quoted" \\ back'


@pytest.mark.parametrize("program", ["reserialises.mjs", "calls_back_first.mjs"])
def test_a_node_service_passes_at_two_gates(stack, program):
    stack.settings |= LOOPBACK
    stack.start_server()
    stack.start_agent()
    workspace = stack.workspace("node", auto_apply=True)
    stack.upload(workspace["id"], {"main.tf": CONFIGURATION})
    with receiving(stack, program, KEY, "{account}") as service:
        named = run_task(stack, "node", service.url + "?failOn=low", hmac_key=KEY)
        tested = stack.post(f"/run-tasks/{named}/test")
        assert tested["status_code"] == 200, tested
        for stage in ("post_plan", "pre_apply"):
            attach(stack, workspace["id"], named, stage, "mandatory")
        task = stack.task(workspace["id"], "plan_and_apply", message=MESSAGE)
        viewer = Viewer(stack, task["id"])
        viewer.start()
        done = stack.until(task["id"], "success", seconds=120)
        viewer.join(60)
        found = results(stack, workspace["id"], task["id"])
        account = service.account

    assert done["status"] == "success", (done, account)
    assert [(row["stage"], row["status"]) for row in found] == [
        ("post_plan", "passed"),
        ("pre_apply", "passed"),
    ]
    assert not [line for line in account if "refused" in line or "error" in line]
    taken = [line["taken"] for line in account if "taken" in line]
    assert taken[1:] == [row["result_id"] for row in found]
    assert all(line["http"] == 200 for line in account if "called" in line)
    assert viewer.failure == ""
    said = [line[3] for _, line in sorted(viewer.lines.items())]
    order = [
        next(at for at, line in enumerate(said) if wanted in line)
        for wanted in (
            "SAVING_PLAN END",
            "POST_PLAN BEGIN",
            "POST_PLAN END",
            "PRE_APPLY BEGIN",
            "PRE_APPLY END",
            "APPLYING BEGIN",
        )
    ]
    assert order == sorted(order)
    assert sum("run task node" in line for line in said) == 2
