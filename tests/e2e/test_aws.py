"""The AWS provider against moto: plan, confirm, apply, state, destroy."""

from pathlib import Path

import pytest

from sluice.testing.moto import moto

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "aws"
MIRROR = Path("/opt/tf-plugins")


@pytest.fixture
def moto_url():
    with moto() as server:
        yield server.endpoint


def test_a_network_with_storage_and_a_queue_lives_and_dies(stack, moto_url):
    if not MIRROR.is_dir():
        pytest.skip(f"the AWS provider's mirror {MIRROR} is not on this machine")
    (stack.root / "terraformrc").write_text(
        f'provider_installation {{\n  filesystem_mirror {{ path = "{MIRROR}" }}\n}}\n'
    )
    stack.start_server()
    stack.start_agent()
    workspace = stack.workspace("aws")
    stack.upload(
        workspace["id"], {path.name: path.read_text() for path in EXAMPLE.glob("*.tf")}
    )
    stack.post(
        f"/workspaces/{workspace['id']}/variables",
        {"key": "aws_endpoint", "value": moto_url},
    )
    task = stack.task(workspace["id"], "plan_and_apply")
    planned = stack.until(task["id"], "apply_pending", seconds=120)
    assert planned["status"] == "apply_pending", planned
    assert planned["summary"]["add"] >= 6
    assert planned["can_confirm"]
    changes = stack.get(
        f"/workspaces/{workspace['id']}/tasks/{task['id']}/resource-changes"
    )
    types = {change["type"] for change in changes["resource_changes"]}
    assert {"aws_s3_bucket", "aws_sqs_queue", "aws_vpc", "aws_subnet"} <= types

    stack.post(f"/tasks/{task['id']}/confirm", {"reason": "looks right"})
    done = stack.until(task["id"], seconds=180)
    assert done["status"] == "success", done
    state = stack.get(f"/workspaces/{workspace['id']}/state-versions/current")
    assert state["resource_count"] >= planned["summary"]["add"]
    assert stack.get(f"/workspaces/{workspace['id']}/outputs")

    gone = stack.task(workspace["id"], "plan_and_apply", destroy=True, auto_apply=True)
    done = stack.until(gone["id"], seconds=180)
    assert done["status"] == "success", done
    assert done["summary"]["destroy"] == planned["summary"]["add"]
    state = stack.get(f"/workspaces/{workspace['id']}/state-versions/current")
    assert state["resource_count"] == 0
