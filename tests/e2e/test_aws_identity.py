"""The AWS provider by the identity of its task: no stored keys, and another role for plan than apply."""

import base64
import json
import urllib.parse
from pathlib import Path

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from sluice.testing.moto import moto

MIRROR = Path("/opt/tf-plugins")
ROLE = "arn:aws:iam::123456789012:role"
CONFIGURATION = """
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.0"
    }
  }
}

variable "endpoint" { type = string }

provider "aws" {
  region                  = "eu-central-1"
  skip_metadata_api_check = true
  endpoints {
    sts = var.endpoint
    sqs = var.endpoint
  }
}

data "aws_caller_identity" "plan" {}

resource "aws_sqs_queue" "made" { name = "made-by-${var.name}" }
variable "name" { default = "identity" }

# reads only once the queue is there, so in the apply
data "aws_caller_identity" "apply" {
  depends_on = [aws_sqs_queue.made]
}

output "planned_by" { value = data.aws_caller_identity.plan.arn }
output "applied_by" { value = data.aws_caller_identity.apply.arn }
"""


@pytest.fixture
def recording(tmp_path, monkeypatch):
    monkeypatch.setenv("MOTO_RECORDER_FILEPATH", str(tmp_path / "recording"))
    monkeypatch.setenv("MOTO_ENABLE_RECORDING", "true")
    return tmp_path / "recording"


@pytest.fixture
def moto_url(recording):
    with moto() as server:
        yield server.endpoint


def test_a_task_assumes_roles_of_aws_without_any_stored_key(stack, moto_url, recording):
    if not MIRROR.is_dir():
        pytest.skip(f"the AWS provider's mirror {MIRROR} is not on this machine")
    (stack.root / "terraformrc").write_text(
        f'provider_installation {{\n  filesystem_mirror {{ path = "{MIRROR}" }}\n}}\n'
    )
    stack.start_server()
    # keys of the agent's own machine would win, and are not to be used
    stack.start_agent(AWS_ACCESS_KEY_ID="AKIAOFTHEAGENT", AWS_SECRET_ACCESS_KEY="its")
    workspace = stack.workspace("aws")
    stack.upload(workspace["id"], {"main.tf": CONFIGURATION})
    asked = {
        "TFC_AWS_PROVIDER_AUTH": "true",
        "TFC_AWS_PLAN_ROLE_ARN": f"{ROLE}/reads",
        "TFC_AWS_APPLY_ROLE_ARN": f"{ROLE}/writes",
    }
    for key, value in asked.items():
        stack.post(
            f"/workspaces/{workspace['id']}/variables",
            {"key": key, "value": value, "category": "env"},
        )
    stack.post(
        f"/workspaces/{workspace['id']}/variables",
        {"key": "endpoint", "value": moto_url},
    )
    task = stack.task(workspace["id"], "plan_and_apply", auto_apply=True)
    done = stack.until(task["id"], seconds=480)
    assert done["status"] == "success", (done, stack.raw(task["id"]).decode()[-3000:])
    outputs = {
        output["name"]: output["value"]
        for output in stack.get(f"/workspaces/{workspace['id']}/outputs")
    }
    session = f"sluice-{task['id']}"
    assert outputs["planned_by"].endswith(f":assumed-role/reads/{session}"), outputs
    assert outputs["applied_by"].endswith(f":assumed-role/writes/{session}"), outputs

    requests = [json.loads(line) for line in recording.read_text().splitlines()]
    assert "AKIAOFTHEAGENT" not in json.dumps(requests)
    tokens = tokens_of(requests)
    assert set(tokens) == {f"{ROLE}/reads", f"{ROLE}/writes"}
    document = httpx2.get(
        f"{stack.url}/.well-known/openid-configuration", trust_env=False, timeout=30
    ).json()
    keys = KeySet.import_key_set(
        httpx2.get(document["jwks_uri"], trust_env=False, timeout=30).json()
    )
    for role, token in tokens.items():
        claims = jwt.decode(token, keys, algorithms=["RS256"]).claims
        phase = {"reads": "plan", "writes": "apply"}[role.rpartition("/")[2]]
        assert claims["iss"] == document["issuer"] == stack.url
        assert claims["aud"] == "aws.workload.identity"
        assert claims["sub"] == (
            f"organization:acme:project:Default Project:workspace:aws:run_phase:{phase}"
        )

    seen = stack.raw(task["id"]) + stack.server.log.read_bytes()
    seen += stack.agent.log.read_bytes()
    for token in tokens.values():
        assert token.encode() not in seen
        assert token.rpartition(".")[2].encode() not in seen


def tokens_of(requests: list[dict]) -> dict[str, str]:
    """The token with which each role was asked for."""
    found = {}
    for request in requests:
        body = base64.b64decode(request["body"] or "").decode(errors="replace")
        fields = urllib.parse.parse_qs(body)
        if fields.get("Action") == ["AssumeRoleWithWebIdentity"]:
            found[fields["RoleArn"][0]] = fields["WebIdentityToken"][0]
    return found
