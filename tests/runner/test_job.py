"""Whole phases by the real terraform, against a server that stands in for the task's routes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sluice.runner.job_spec import JobLimits, JobResult
from sluice.runner.job_start import start_job
from sluice.runner.phase_dir import CancelKind, CancelRequest
from sluice.wire.agent import OrderVariable, PhaseName, PhaseOutcome, PlanOptions
from sluice.wire.chunk import Kind, Source
from sluice.wire.events import Note, StageBegin, StageEnd, StageOutcome
from tests.runner.phases import (
    TASK,
    TASK_TOKEN,
    Answer,
    PhaseToRun,
    TaskServer,
    task_server,
)

NewPhase = Callable[..., PhaseToRun]

HELLO = """
variable "name" { default = "world" }
resource "terraform_data" "hello" { input = "hello ${var.name}" }
output "greeting" { value = terraform_data.hello.output }
"""

SLOW = """
resource "terraform_data" "step" {
  count = 3
  input = count.index
  provisioner "local-exec" {
    command = "for i in 1 2 3 4 5 6 7 8; do echo step ${count.index}.$i; sleep 0.25; done"
  }
}
"""

FAILS = """
resource "terraform_data" "good" { input = "made" }
resource "terraform_data" "bad" {
  depends_on = [terraform_data.good]
  provisioner "local-exec" { command = "echo about to fail; exit 3" }
}
"""


@pytest.fixture
def server() -> Iterator[TaskServer]:
    with task_server() as made:
        yield made


@pytest.fixture
def new_phase(tmp_path: Path, server: TaskServer, terraform: str) -> NewPhase:
    def make(**fields: object) -> PhaseToRun:
        return PhaseToRun(tmp_path, server, terraform, **fields)  # type: ignore[arg-type]

    return make


def run(phase: PhaseToRun) -> JobResult:
    """Run a phase to its end."""
    phase.dir.create(phase.order())
    process = start_job(phase.dir, phase.spec())
    assert process.wait(90) == 0, phase.dir.job_log.read_text()
    return phase.wait_for_result()


def planned(new_phase: NewPhase, files: dict[str, str], **fields: object) -> None:
    """Have a stored plan of a configuration."""
    phase = new_phase(**fields)
    phase.server.configuration(files)
    result = run(phase)
    assert result.outcome is PhaseOutcome.SUCCEEDED, (result, phase.log())


def markers(phase: PhaseToRun) -> list[str]:
    return re.findall(r"^=+ (\w+ (?:BEGIN|END)) at .* =+$", phase.log(), re.MULTILINE)


def both(*stages: str) -> list[str]:
    return [f"{stage} {edge}" for stage in stages for edge in ("BEGIN", "END")]


def test_a_plan_then_its_apply(new_phase: NewPhase, server: TaskServer) -> None:
    server.configuration({"main.tf": HELLO})
    plan = new_phase(
        variables=[OrderVariable(key="name", value="${you}", category="terraform")]
    )
    result = run(plan)

    assert result.outcome is PhaseOutcome.SUCCEEDED, plan.log()
    assert (result.exit_code, result.has_changes, result.error) == (0, True, "")
    assert markers(plan) == both("FETCHING", "INIT", "PLANNING", "SAVING_PLAN")
    stages = [(report.stage.value, report.outcome) for report in result.stages]
    done = StageOutcome.COMPLETED
    assert stages == [
        ("fetching", done),
        ("init", done),
        ("planning", done),
        ("saving_plan", done),
    ]
    assert "1 to add" in plan.log()
    assert "\x1b[32m" in plan.log()  # colours are kept
    assert "planned_values" not in plan.log()
    planned_json = json.loads(server.stored[f"{TASK}/plan-json"])
    assert planned_json["variables"]["name"]["value"] == "${you}"
    assert f"{TASK}/state" not in server.stored
    assert not plan.dir.work.exists()

    apply = new_phase(phase=PhaseName.APPLY)
    result = run(apply)

    assert result.outcome is PhaseOutcome.SUCCEEDED, apply.log()
    assert (result.has_changes, result.state_diverged) == (None, False)
    assert markers(apply) == both(
        "FETCHING", "INIT", "RESTORING_PLAN", "APPLYING", "SAVING_STATE"
    )
    assert "Apply complete! Resources: 1 added" in re.sub(
        r"\x1b\[[0-9;]*m", "", apply.log()
    )
    assert server.state["outputs"] == {
        "greeting": {"value": "hello ${you}", "type": "string"}
    }
    assert not apply.dir.work.exists()

    # A second plan starts from the stored state and finds nothing to do.
    server.stored.pop(f"{TASK}/plan-file")
    again = new_phase(phase=PhaseName.PLAN, variables=plan.variables)
    again.root = again.root / "again"
    again.root.mkdir()
    result = run(again)
    assert result.has_changes is False
    assert "No changes" in again.log()
    assert f"{TASK}/plan-file" in server.stored


def test_stage_events_say_phase_and_outcome(
    new_phase: NewPhase, server: TaskServer
) -> None:
    server.configuration({"main.tf": "resource nonsense {"})
    phase = new_phase()
    result = run(phase)
    events = [chunk.event for chunk in phase.chunks() if chunk.kind is Kind.EVENT]
    stages = [event for event in events if isinstance(event, StageBegin | StageEnd)]
    assert [type(event).__name__ for event in stages] == [
        "StageBegin",
        "StageEnd",
        "StageBegin",
        "StageEnd",
    ]
    assert {event.phase for event in stages} == {"plan"}
    last = stages[-1]
    assert isinstance(last, StageEnd)
    assert last.outcome is StageOutcome.FAILED
    assert result.outcome is PhaseOutcome.FAILED
    assert result.exit_code == 1
    assert result.error.startswith("terraform init failed with exit code 1: ")
    notes = [event for event in events if isinstance(event, Note)]
    assert notes == [Note(error=True)]
    assert result.error in phase.log()
    assert "rror" in phase.log(Source.STDERR)


def test_options_and_working_directory_reach_terraform(
    new_phase: NewPhase, server: TaskServer
) -> None:
    server.configuration({"envs/prod/main.tf": HELLO + HELLO_TOO})
    phase = new_phase(
        working_directory="envs/prod",
        options=PlanOptions(targets=["terraform_data.too"]),
    )
    result = run(phase)
    assert result.outcome is PhaseOutcome.SUCCEEDED, phase.log()
    changes = json.loads(server.stored[f"{TASK}/plan-json"])["resource_changes"]
    assert [change["address"] for change in changes] == ["terraform_data.too"]


HELLO_TOO = 'resource "terraform_data" "too" { input = 2 }\n'


@pytest.mark.parametrize("directory", ["envs/none", "..", "/etc", "main.tf"])
def test_a_working_directory_that_is_not_there_is_named(
    new_phase: NewPhase, server: TaskServer, directory: str
) -> None:
    server.configuration({"main.tf": HELLO})
    result = run(new_phase(working_directory=directory))
    assert result.outcome is PhaseOutcome.FAILED
    assert repr(directory) in result.error
    assert [report.stage.value for report in result.stages] == ["fetching"]


@pytest.mark.parametrize(
    "block",
    [
        'terraform {\n  backend "s3" {\n    bucket = "b"\n    key = "k"\n  }\n}\n',
        'terraform {\n  cloud {\n    workspaces { name = "w" }\n  }\n}\n',
        'terraform {\n  backend "local" { path = "elsewhere.tfstate" }\n}\n',
    ],
    ids=["s3", "cloud", "local"],
)
def test_any_backend_gives_way_to_sluices_state(
    new_phase: NewPhase, server: TaskServer, block: str
) -> None:
    files = {
        "main.tf": block + HELLO,
        "x_override.tf": block,
        "terraform.tfstate": '{"version": 4, "serial": 9, "lineage": "not-ours"}',
        ".terraform/environment": "elsewhere",
        ".terraform/terraform.tfstate": '{"version": 3, "backend": {"type": "s3"}}',
    }
    fields = {"environment": {"TF_WORKSPACE": "other", "TF_DATA_DIR": "/nowhere"}}
    planned(new_phase, files, **fields)
    apply = new_phase(phase=PhaseName.APPLY, **fields)
    result = run(apply)
    assert result.outcome is PhaseOutcome.SUCCEEDED, apply.log()
    assert server.state["lineage"] != "not-ours"


def test_sensitive_values_are_in_no_log_and_on_no_disk_afterwards(
    new_phase: NewPhase, server: TaskServer
) -> None:
    secret, key = "pl4nted-s3cret-v4lue", "-----BEGIN-----\nAAAABBBBCCCC\n-----END-----"
    server.configuration(
        {
            "main.tf": 'variable "password" {}\nvariable "key" {}\n'
            'resource "terraform_data" "x" {\n'
            "  input = [var.password, base64encode(var.password), var.key]\n"
            '  provisioner "local-exec" {\n'
            "    command = \"printf '%s' '${substr(var.password, 0, 9)}'; sleep 0.3;"
            " echo '${substr(var.password, 9, -1)}'; env | grep DEPLOY >&2\"\n"
            "  }\n}\n"
        }
    )
    variables = [
        OrderVariable(
            key="password", value=secret, category="terraform", sensitive=True
        ),
        OrderVariable(key="key", value=key, category="terraform", sensitive=True),
        OrderVariable(
            key="DEPLOY_TOKEN", value="env-s3cret-2", category="env", sensitive=True
        ),
        OrderVariable(key="tiny", value="abc", category="terraform", sensitive=True),
    ]
    fields = {"variables": variables, "mask": ["further-secret"]}
    plan = new_phase(**fields)
    assert run(plan).outcome is PhaseOutcome.SUCCEEDED, plan.log()
    apply = new_phase(phase=PhaseName.APPLY, **fields)
    assert run(apply).outcome is PhaseOutcome.SUCCEEDED, apply.log()

    assert "***" in plan.log()
    assert "(local-exec): \x1b[0m\x1b[0m***" in apply.log() or "***" in apply.log()
    assert "DEPLOY_TOKEN=***" in apply.log()
    assert "1 sensitive value(s) of less than 4 characters" in plan.log()
    planted = [secret, "env-s3cret-2", "AAAABBBBCCCC", TASK_TOKEN]
    for path in apply.root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for word in planted:
                assert word.encode() not in content, path
    # They did reach terraform.
    assert secret in server.stored[f"{TASK}/state"].decode()


def test_a_failed_apply_stores_its_state_and_names_the_error(
    new_phase: NewPhase, server: TaskServer
) -> None:
    planned(new_phase, {"main.tf": FAILS})
    apply = new_phase(phase=PhaseName.APPLY)
    result = run(apply)
    assert result.outcome is PhaseOutcome.FAILED
    assert result.error == (
        "terraform apply failed with exit code 1: local-exec provisioner error"
    )
    assert not result.state_diverged
    resources = server.state["resources"]
    assert isinstance(resources, list)
    assert {resource["name"] for resource in resources} == {"good", "bad"}
    assert markers(apply)[-4:] == both("APPLYING", "SAVING_STATE")


def test_a_state_the_server_refuses_is_kept_and_said_to_be(
    new_phase: NewPhase, server: TaskServer
) -> None:
    planned(new_phase, {"main.tf": HELLO})
    server.instead["PUT", f"{TASK}/state"] = Answer(409)
    apply = new_phase(phase=PhaseName.APPLY)
    result = run(apply)
    kept = apply.kept / "ws-1" / "task-1.tfstate"
    assert result.outcome is PhaseOutcome.FAILED
    assert result.state_diverged
    assert str(kept) in result.error
    assert "said the test" in result.error
    assert str(kept) in apply.log()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "greeting" in json.loads(kept.read_bytes())["outputs"]
    assert server.requests.count(("PUT", f"{TASK}/state")) == 1
    assert result.stages[-1].outcome is StageOutcome.FAILED
    assert not apply.dir.work.exists()


def test_a_failed_apply_whose_state_is_refused_tells_both(
    new_phase: NewPhase, server: TaskServer
) -> None:
    planned(new_phase, {"main.tf": FAILS})
    server.instead["PUT", f"{TASK}/state"] = Answer(503)
    limits = JobLimits(upload_deadline=1.5)
    apply = new_phase(phase=PhaseName.APPLY, limits=limits)
    apply = new_phase(phase=PhaseName.APPLY, limits=limits)
    result = run(apply)
    assert result.state_diverged
    assert result.state_kept
    assert result.exit_code == 1
    assert "local-exec provisioner error" in result.error
    assert "Storing the state failed" in result.error
    assert (apply.kept / "ws-1" / "task-1.tfstate").exists()


def test_a_server_that_is_away_for_a_while_is_waited_for(
    new_phase: NewPhase, server: TaskServer
) -> None:
    server.instead["GET", f"{TASK}/configuration"] = Answer(502, times=2)
    planned(new_phase, {"main.tf": HELLO})
    server.instead["PUT", f"{TASK}/state"] = Answer(503, times=1)
    apply = new_phase(phase=PhaseName.APPLY, limits=JobLimits(upload_deadline=20))
    result = run(apply)
    assert result.outcome is PhaseOutcome.SUCCEEDED
    assert "Storing the state failed (503, said the test); trying again" in apply.log()
    assert "Storing the state succeeded at attempt 2." in apply.log()


def test_an_apply_that_changes_no_state_uploads_none(
    new_phase: NewPhase, server: TaskServer
) -> None:
    stale = 'resource "terraform_data" "bad" {\n  input = file("missing")\n}\n'
    planned(new_phase, {"main.tf": HELLO})
    server.configuration({"main.tf": stale})
    server.stored[f"{TASK}/state"] = b"""{"version": 4, "terraform_version": "1.11.4",
        "serial": 7, "lineage": "another", "outputs": {}, "resources": []}"""
    result = run(new_phase(phase=PhaseName.APPLY))
    assert "stale" in result.error
    assert ("PUT", f"{TASK}/state") not in server.requests


def test_what_the_server_refuses_to_give_is_said(
    new_phase: NewPhase, server: TaskServer
) -> None:
    server.instead["GET", f"{TASK}/configuration"] = Answer(404)
    phase = new_phase()
    result = run(phase)
    assert result.error == (
        "Fetching the configuration was refused by the server (404): said the test"
    )
    assert result.error in phase.log()
    server.instead.clear()
    server.stored[f"{TASK}/configuration"] = b"no archive"
    other = new_phase(phase=PhaseName.APPLY)
    assert run(other).outcome is PhaseOutcome.FAILED


def test_a_missing_program_is_a_sentence(
    new_phase: NewPhase, server: TaskServer
) -> None:
    server.configuration({"main.tf": HELLO})
    phase = new_phase(binary_problem="terraform 9.9.9 is not to be had.")
    result = run(phase)
    assert result.error == "terraform 9.9.9 is not to be had."
    assert result.error in phase.log()
    assert markers(phase) == both("FETCHING", "INIT")

    missing = new_phase(phase=PhaseName.APPLY)
    missing.terraform = "/nowhere/terraform"
    server.stored[f"{TASK}/plan-file"] = b"no zip"
    assert "no plan file" in run(missing).error


def start(phase: PhaseToRun) -> subprocess.Popen[bytes]:
    phase.dir.create(phase.order())
    return start_job(phase.dir, phase.spec())


def test_cancel_stops_terraform_at_a_safe_point_and_stores_its_state(
    new_phase: NewPhase, server: TaskServer
) -> None:
    planned(new_phase, {"main.tf": SLOW})
    apply = new_phase(phase=PhaseName.APPLY)
    process = start(apply)
    apply.wait_for_log("step 0.")
    apply.dir.request_cancel(CancelRequest(CancelKind.CANCEL, "by ann: wrong region"))
    assert process.wait(60) == 0
    result = apply.wait_for_result()
    assert result.outcome is PhaseOutcome.CANCELED
    assert result.error == "The phase was canceled by ann: wrong region."
    log = apply.log()
    assert "Cancel requested (by ann: wrong region): interrupt sent; up to 300 s" in log
    assert "Gracefully shutting down" in log
    assert markers(apply)[-4:] == both("APPLYING", "SAVING_STATE")
    assert server.state["resources"]
    assert not result.state_diverged


def test_force_cancel_kills_and_still_stores_the_state(
    new_phase: NewPhase, server: TaskServer
) -> None:
    planned(new_phase, {"main.tf": HELLO + SLOW.replace("input = count.index", "")})
    apply = new_phase(phase=PhaseName.APPLY)
    process = start(apply)
    apply.wait_for_log("hello: Creation complete")
    apply.wait_for_log("step 0.")
    started = time.monotonic()
    apply.dir.request_cancel(CancelRequest(CancelKind.FORCE_CANCEL, "bob"))
    assert process.wait(30) == 0
    assert time.monotonic() - started < 5
    result = apply.wait_for_result()
    assert result.outcome is PhaseOutcome.CANCELED
    assert result.exit_code == -signal.SIGKILL
    assert "Force-cancel requested (bob)" in apply.log()
    resources = server.state["resources"]
    assert isinstance(resources, list)
    assert "hello" in {resource["name"] for resource in resources}


def test_a_state_that_was_never_written_is_said_in_words(
    new_phase: NewPhase, server: TaskServer, tmp_path: Path
) -> None:
    planned(new_phase, {"main.tf": SLOW})
    apply = new_phase(phase=PhaseName.APPLY)
    process = start(apply)
    apply.wait_for_log("step 0.1")
    apply.dir.request_cancel(CancelRequest(CancelKind.FORCE_CANCEL, "by bob"))
    assert process.wait(30) == 0
    result = apply.wait_for_result()
    assert result.outcome is PhaseOutcome.CANCELED
    assert result.state_diverged
    assert not result.state_kept, "there is nothing to keep"
    assert "Terraform ended before it wrote its state" in result.error
    assert "Terraform ended before it wrote its state" in apply.log()
    assert not list(tmp_path.rglob("*.tfstate"))


def test_a_cancel_between_stages_begins_no_further_one(
    new_phase: NewPhase, server: TaskServer
) -> None:
    phase = new_phase()
    server.configuration({"main.tf": HELLO})
    server.instead["GET", f"{TASK}/state"] = Answer(503)
    process = start(phase)
    phase.wait_for_log("trying again")
    phase.dir.request_cancel(CancelRequest(CancelKind.CANCEL))
    assert process.wait(20) == 0
    result = phase.wait_for_result()
    assert result.outcome is PhaseOutcome.CANCELED
    assert markers(phase) == both("FETCHING")


STAND_IN = """
import sys, time
from pathlib import Path
from sluice.runner.job_spec import JobSpec
from sluice.runner.job_start import start_job
from sluice.runner.phase_dir import PhaseDir
phase, spec = PhaseDir(Path(sys.argv[1])), JobSpec.model_validate_json(sys.stdin.read())
phase.create(spec.order)
start_job(phase, spec)
time.sleep(600)
"""


def test_the_death_of_the_agent_is_not_noticed_by_an_apply(
    new_phase: NewPhase, server: TaskServer
) -> None:
    """kill -9 of the agent's whole group; then what its terminal might send to the job."""
    planned(new_phase, {"main.tf": SLOW})
    apply = new_phase(phase=PhaseName.APPLY)
    agent = subprocess.Popen(
        [sys.executable, "-c", STAND_IN, str(apply.dir.root)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    assert agent.stdin is not None
    agent.stdin.write(apply.spec().model_dump_json().encode())
    agent.stdin.close()
    apply.wait_for_log("step 0.1")
    os.killpg(agent.pid, signal.SIGKILL)
    agent.wait()
    job = apply.dir.read_pid()
    assert job is not None
    assert apply.dir.job_is_alive()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        os.kill(job.pid, number)
    result = apply.wait_for_result()
    assert result.outcome is PhaseOutcome.SUCCEEDED, apply.log()
    resources = server.state["resources"]
    assert isinstance(resources, list)
    assert len(resources[0]["instances"]) == 3
    for step in range(3):
        assert f"step {step}.8" in apply.log()


def test_a_spec_that_was_cut_short_runs_nothing(
    new_phase: NewPhase, server: TaskServer
) -> None:
    phase = new_phase()
    phase.dir.create(phase.order())
    process = subprocess.Popen(
        [sys.executable, "-m", "sluice.runner.job", str(phase.dir.root)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    spec = phase.spec().model_dump_json().encode()
    _, said = process.communicate(spec[: len(spec) // 2])
    assert process.returncode == 2
    assert TASK_TOKEN.encode() not in said
    assert not phase.dir.result.exists()
    assert not server.requests
    assert not phase.dir.job_is_alive()


def test_a_phase_has_one_job(new_phase: NewPhase, server: TaskServer) -> None:
    server.configuration({"main.tf": HELLO})
    phase = new_phase()
    process = start(phase)
    with pytest.raises(BlockingIOError):
        start_job(phase.dir, phase.spec())
    assert process.wait(60) == 0


def test_the_order_on_disk_has_no_secrets(new_phase: NewPhase) -> None:
    variables = [OrderVariable(key="a", value="v4lue", category="env", sensitive=True)]
    phase = new_phase(variables=variables)
    phase.dir.create(phase.order())
    text = phase.dir.order.read_text()
    assert TASK_TOKEN not in text
    assert "v4lue" not in text
    order = phase.dir.read_order()
    assert order is not None
    assert order.task_id == "task-1"
    assert order.log == phase.order().log


TALKS = """
resource "terraform_data" "talk" {
  provisioner "local-exec" { command = "python3 talk.py" }
}
"""


def test_the_log_is_what_terraform_wrote_byte_for_byte(
    new_phase: NewPhase, server: TaskServer, tmp_path: Path
) -> None:
    """A wrapper tees what terraform writes; masking has nothing to do here."""
    wrapper = tmp_path / "terraform"
    truth = tmp_path / "truth"
    real = new_phase().terraform
    wrapper.write_text(
        "#!/bin/bash\n"
        f'[ "$1" = show ] && exec {real} "$@"\n'
        f'exec > >(tee -a {truth}) 2>&1\n{real} "$@"\n'
    )
    wrapper.chmod(0o755)
    talk = "import os\nos.write(1, os.urandom(200000) + b'\\0\\r50%\\r' + b'y' * 3000000)\n"
    server.configuration({"main.tf": TALKS, "talk.py": talk})
    plan = new_phase()
    plan.terraform = str(wrapper)
    assert run(plan).outcome is PhaseOutcome.SUCCEEDED, plan.log()
    truth.unlink()
    apply = new_phase(phase=PhaseName.APPLY)
    apply.terraform = str(wrapper)
    assert run(apply).outcome is PhaseOutcome.SUCCEEDED
    shown = b"".join(
        chunk.data for chunk in apply.chunks() if chunk.kind is Kind.OUTPUT
    )
    assert shown == truth.read_bytes()
    assert len(shown) > 200_000  # terraform itself shortens the 3 MB line
