"""Identity tokens in a real phase: where programs find them, and where nobody else does."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typing_extensions import override

from sluice.runner.job_spec import JobResult
from sluice.runner.job_start import start_job
from sluice.wire.agent import OrderIdentity, OrderVariable, PhaseName, PhaseOrder
from tests.runner.phases import PhaseToRun, TaskServer, task_server

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwbGFuIn0.c2lnbmF0dXJlLW9mLXRva2Vu"
OTHER = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhd3MifQ.YW5vdGhlci1zaWduYXR1cmU"
SHOWS = """
resource "terraform_data" "shows" {
  provisioner "local-exec" {
    interpreter = ["/bin/sh", "-c"]
    command     = <<-EOT
      echo "variable <$TFC_WORKLOAD_IDENTITY_TOKEN>"
      echo "file <$(cat "$TFC_WORKLOAD_IDENTITY_TOKEN_PATH")>"
      echo "signature <$(cat "$AWS_WEB_IDENTITY_TOKEN_FILE" | cut -d. -f3)>"
      echo "encoded <$(base64 -w0 "$TFC_WORKLOAD_IDENTITY_TOKEN_PATH")>"
      echo "sha <$(sha256sum < "$TFC_WORKLOAD_IDENTITY_TOKEN_PATH" | cut -c1-64)>"
      echo "mode <$(stat -c %a "$AWS_WEB_IDENTITY_TOKEN_FILE")>"
      echo "path <$AWS_WEB_IDENTITY_TOKEN_FILE>"
      echo "here <$PWD>"
      echo "role <$AWS_ROLE_ARN>"
      echo "key <$AWS_ACCESS_KEY_ID>"
      echo "own <$AWS_SESSION_TOKEN>"
      echo "$AWS_WEB_IDENTITY_TOKEN_FILE" > "$WITNESS"
    EOT
  }
}
"""


@dataclass
class PhaseWithIdentity(PhaseToRun):
    """A phase whose order carries two tokens."""

    identities: list[OrderIdentity] = field(default_factory=list)

    @override
    def order(self) -> PhaseOrder:
        return super().order().model_copy(update={"identities": self.identities})


@pytest.fixture
def server() -> Iterator[TaskServer]:
    with task_server() as made:
        yield made


def run(phase: PhaseToRun) -> JobResult:
    phase.dir.create(phase.order())
    process = start_job(phase.dir, phase.spec())
    assert process.wait(90) == 0, phase.dir.job_log.read_text()
    result = phase.wait_for_result()
    assert result.exit_code == 0, phase.log()
    return result


def test_programs_find_their_tokens_and_nobody_else_does(
    tmp_path: Path, server: TaskServer, terraform: str
) -> None:
    server.configuration({"main.tf": SHOWS})
    run(PhaseToRun(tmp_path, server, terraform))
    phase = PhaseWithIdentity(
        tmp_path,
        server,
        terraform,
        phase=PhaseName.APPLY,
        environment={
            "AWS_ACCESS_KEY_ID": "of-the-agent",
            "AWS_SESSION_TOKEN": "kept",
            "WITNESS": str(tmp_path / "witness"),
        },
        variables=[
            # the workspace's own word does not win over what the server has signed
            OrderVariable(key="AWS_ROLE_ARN", value="mine", category="env")
        ],
        identities=[
            OrderIdentity(
                name="token",
                token=TOKEN,
                token_variables=["TFC_WORKLOAD_IDENTITY_TOKEN"],
                path_variables=["TFC_WORKLOAD_IDENTITY_TOKEN_PATH"],
            ),
            OrderIdentity(
                name="aws",
                token=OTHER,
                path_variables=["AWS_WEB_IDENTITY_TOKEN_FILE"],
                environment={"AWS_ROLE_ARN": "arn:role"},
                instead_of=["AWS_ACCESS_KEY_ID"],
            ),
        ],
    )
    run(phase)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", phase.log())
    said = dict(re.findall(r"\(local-exec\): (\w+) <(.*)>$", plain, re.MULTILINE))
    assert said["variable"] == said["file"] == said["signature"] == "***"
    assert base64.b64encode(TOKEN.encode())[8:-8].decode() not in said["encoded"]
    assert len(said["sha"]) == 64
    assert said["mode"] == "600"
    assert (said["role"], said["key"], said["own"]) == ("arn:role", "", "kept")
    assert not Path(said["path"]).is_relative_to(said["here"])
    assert Path(said["path"]).is_relative_to(phase.dir.root)
    assert (tmp_path / "witness").read_text().strip() == said["path"]

    assert not Path(said["path"]).exists()
    left = b"".join(
        path.read_bytes() for path in phase.dir.root.rglob("*") if path.is_file()
    )
    stored = b"".join(server.stored.values())
    for token in (TOKEN, OTHER):
        for piece in (token, token.rpartition(".")[2]):
            assert piece.encode() not in left + stored


def test_an_order_does_not_show_its_tokens() -> None:
    identity = OrderIdentity(name="token", token=TOKEN)
    assert TOKEN not in f"{identity!r} {identity}"
