"""Watching a task: lines, breaks, the question, Ctrl-C; on a terminal and with pipes."""

import io
import json
import signal
import tarfile
from pathlib import Path

import pytest

from tests.cli.scripted_server import ScriptedServer
from tests.cli.terminal import Place
from tests.client.log_standins import TASK

GREEN, OFF = "\x1b[32m", "\x1b[0m"


def plan(script: ScriptedServer) -> None:
    """A plan phase that runs through."""
    script.is_now("running", stage="planning")
    for stage in ("fetching", "init"):
        script.stage(stage, "begin")
        script.stage(stage, "end")
    script.stage("planning", "begin")
    script.say(
        f"  {GREEN}+{OFF} resource", "Plan: 2 to add, 0 to change, 1 to destroy."
    )
    script.stage("planning", "end")
    script.stage("saving_plan", "begin")
    script.stage("saving_plan", "end")


def plan_that_waits(script: ScriptedServer) -> None:
    """A plan phase, and then the wait for confirmation."""
    plan(script)
    script.changes = [
        {
            "address": "aws_vpc.old",
            "type": "aws_vpc",
            "name": "old",
            "actions": ["delete"],
            "before": {},
            "after": None,
        }
    ]
    script.is_now(
        "apply_pending",
        can_confirm=True,
        can_discard=True,
        summary={"add": 2, "change": 0, "destroy": 1, "import": 0},
    )


def apply_phase(script: ScriptedServer) -> None:
    """An apply phase that succeeds."""
    script.is_now("running", stage="applying", can_confirm=False)
    script.stage("applying", "begin")
    script.say("aws_vpc.old: Destruction complete after 1s")
    script.stage("applying", "end")
    script.end(duration=12.0, has_changes=True)


def test_an_apply_on_a_terminal_asks_and_goes_on(
    place: Place, script: ScriptedServer, configuration: Path
) -> None:
    plan_that_waits(script)
    with place.terminal("apply", str(configuration)) as terminal:
        terminal.expect("Workspace network on ")
        terminal.expect("(new, named after the directory)")
        terminal.expect("── planning ──")
        terminal.expect("+ resource")
        terminal.expect("2 to add, 0 to change, 1 to destroy")
        terminal.expect("- aws_vpc.old will be destroyed")
        terminal.expect("yes applies, no discards, later leaves it waiting: ")
        terminal.send("y\n")
        terminal.expect("Type yes, no or later.")
        terminal.expect("later leaves it waiting: ")
        terminal.send("yes\n")
        script.wait_for_call("/confirm")
        apply_phase(script)
        terminal.expect("Destruction complete")
        terminal.expect("✓ Applied: 2 added, 0 changed, 1 destroyed · 12s")
        assert terminal.wait() == 0
    assert f"{GREEN}+{OFF}" in terminal.raw
    assert script.created is not None
    assert script.created["task_type"] == "plan_and_apply"
    with tarfile.open(fileobj=io.BytesIO(script.uploaded)) as packed:
        assert packed.getnames() == ["main.tf"]


def test_no_discards(place: Place, script: ScriptedServer, configuration: Path) -> None:
    plan_that_waits(script)
    with place.terminal("apply", str(configuration)) as terminal:
        terminal.expect("leaves it waiting: ")
        terminal.send("no\n")
        script.wait_for_call("/discard")
        script.end("discarded", reason="discarded by ann")
        terminal.expect("✗ Discarded by ann")
        assert terminal.wait() == 3


def test_later_leaves_the_plan_waiting(
    place: Place, script: ScriptedServer, configuration: Path
) -> None:
    plan_that_waits(script)
    with place.terminal("apply", str(configuration)) as terminal:
        terminal.expect("leaves it waiting: ")
        terminal.send("later\n")
        terminal.expect(f"sluice task confirm -f {TASK}")
        assert terminal.wait() == 3
    assert not [path for _, path, _ in script.calls if path.endswith("/confirm")]


def test_what_was_typed_before_the_question_does_not_answer_it(
    place: Place, script: ScriptedServer, configuration: Path
) -> None:
    script.is_now("running", stage="planning")
    with place.terminal("apply", str(configuration)) as terminal:
        terminal.expect("Workspace network on ")
        terminal.send("yes\nyes\n")
        # shown by the terminal itself: the keys lie in its queue now
        terminal.expect("yes")
        terminal.expect("yes")
        plan_that_waits(script)
        terminal.expect("leaves it waiting: ")
        terminal.send("later\n")
        terminal.expect(f"sluice task confirm -f {TASK}")
        assert terminal.wait() == 3
    assert not [path for _, path, _ in script.calls if path.endswith("/confirm")]


def test_somebody_else_may_confirm_meanwhile(
    place: Place, script: ScriptedServer, configuration: Path
) -> None:
    plan_that_waits(script)
    with place.terminal("apply", str(configuration)) as terminal:
        terminal.expect("leaves it waiting: ")
        apply_phase(script)
        terminal.expect("Somebody else has decided.")
        terminal.expect("✓ Applied")
        assert terminal.wait() == 0


def test_ctrl_c_at_the_question_leaves_the_plan_waiting(
    place: Place, script: ScriptedServer, configuration: Path
) -> None:
    plan_that_waits(script)
    with place.terminal("apply", str(configuration)) as terminal:
        terminal.expect("leaves it waiting: ")
        terminal.send("\x03")
        terminal.expect(f"Left {TASK}, whose plan waits: sluice task confirm -f {TASK}")
        assert terminal.wait() == 130


def watching(script: ScriptedServer) -> None:
    """A task in the middle of its apply."""
    script.is_now("running", stage="applying", can_cancel=True)
    script.stage("applying", "begin")
    script.say("aws_vpc.a: Creating...")


REASON = "blocked at pre_apply: run task scan (mandatory) failed: 3 findings"


def blocked(script: ScriptedServer) -> None:
    """A task that a run task keeps from being applied."""
    script.has_workspace("network")
    script.stage("pre_apply", "begin")
    script.is_now(
        "running",
        stage="pre_apply",
        gate="pre_apply",
        blocked=True,
        reason=REASON,
        can_discard=True,
        can_cancel=True,
    )


def test_a_blocked_task_is_left_where_nobody_can_wait(
    place: Place, script: ScriptedServer
) -> None:
    blocked(script)
    done = place.run("apply", "--plan", TASK)
    assert done.returncode == 3, done.stderr
    assert REASON in done.stderr
    assert f"sluice run-task override {TASK} NAME" in done.stderr
    assert f"sluice task discard {TASK}" in done.stderr
    assert done.stderr.count(REASON) == 1


def test_what_may_be_done_about_a_blocked_task_is_shown_with_it(
    place: Place, script: ScriptedServer
) -> None:
    blocked(script)
    done = place.run("task", "show", TASK)
    assert f"sluice run-task override {TASK} NAME" in done.stderr
    assert f"sluice task discard {TASK}" in done.stderr


@pytest.mark.parametrize(
    ("gate", "told"), [("post_plan", True), ("policy_check", False), (None, False)]
)
def test_what_a_run_task_stopped_says_where_its_findings_are(
    place: Place, script: ScriptedServer, gate: str | None, told: bool
) -> None:
    script.end("failed")
    script.is_now("failed", gate=gate, error="stopped")
    done = place.run("logs", "-f", TASK)
    assert done.returncode == 1
    assert (f"sluice run-task results {TASK}" in done.stderr) is told


def test_a_blocked_task_is_watched_on_a_terminal_until_it_goes_on(
    place: Place, script: ScriptedServer
) -> None:
    blocked(script)
    with place.terminal("apply", "--plan", TASK) as terminal:
        terminal.expect("run task scan (mandatory) failed: 3 findings")
        terminal.expect(f"`sluice run-task override {TASK} NAME --reason WHY`")
        terminal.expect("blocked at pre apply")
        script.stage("pre_apply", "end")
        script.is_now("running", stage="applying", blocked=False)
        apply_phase(script)
        terminal.expect("✓ Applied")
        assert terminal.wait() == 0


def test_ctrl_c_explains_and_leaves_by_default(
    place: Place, script: ScriptedServer
) -> None:
    watching(script)
    with place.terminal("logs", "-f", TASK) as terminal:
        terminal.expect("Creating...")
        terminal.send("\x03")
        terminal.expect("The task goes on on the server; it is in applying now.")
        terminal.expect("d leave it and end here (default), w keep watching: ")
        terminal.send("\n")
        terminal.expect(f"Left {TASK}")
        assert terminal.wait() == 130
    assert not script.calls


def test_a_second_ctrl_c_leaves(place: Place, script: ScriptedServer) -> None:
    watching(script)
    with place.terminal("logs", "-f", TASK) as terminal:
        terminal.expect("Creating...")
        terminal.send("\x03")
        terminal.expect("keep watching: ")
        terminal.send("\x03")
        terminal.expect(f"Left {TASK}")
        assert terminal.wait() == 130


def test_ctrl_c_can_go_on_watching_and_then_cancel(
    place: Place, script: ScriptedServer
) -> None:
    watching(script)
    with place.terminal("logs", "-f", TASK) as terminal:
        terminal.expect("Creating...")
        terminal.send("\x03")
        terminal.expect("c cancel it")
        terminal.expect("keep watching: ")
        script.say("said while asked")
        terminal.send("w\n")
        terminal.expect("said while asked")
        terminal.send("\x03")
        terminal.expect("keep watching: ")
        terminal.send("c\n")
        script.wait_for_call("/cancel")
        terminal.expect("its state is kept")
        script.is_now(
            "running", stage="applying", can_cancel=False, can_force_cancel=True
        )
        terminal.send("\x03")
        terminal.expect("f kill it (state may be lost)")
        terminal.expect("keep watching: ")
        terminal.send("w\n")
        script.end("canceled", reason="canceled by ann")
        terminal.expect("✗ Canceled by ann")
        assert terminal.wait() == 3


def test_ctrl_c_without_a_terminal_leaves_at_once(
    place: Place, script: ScriptedServer
) -> None:
    watching(script)
    with place.start("logs", "-f", TASK) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "APPLYING BEGIN" in process.stdout.readline()
        assert process.stdout.readline() == "aws_vpc.a: Creating...\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert f"sluice logs -f {TASK}" in process.stderr.read()


def test_a_broken_connection_loses_and_repeats_nothing(
    place: Place, script: ScriptedServer
) -> None:
    script.is_now("running", stage="planning")
    with place.start("logs", "-f", TASK) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = []
        for block in range(3):
            script.say(*(f"line {block * 10 + number}" for number in range(10)))
            lines += [process.stdout.readline() for _ in range(10)]
            script.cut()
            script.say(f"said while cut {block}")
            lines.append(process.stdout.readline())
        script.end()
        lines += process.stdout.readlines()
        assert len(lines) == 33
        assert [line for line in lines if "cut" not in line] == [
            f"line {number}\n" for number in range(30)
        ]
        errors = process.stderr.read()
        assert process.wait(10) == 0
    assert "The connection is lost" in errors
    assert "Connected again; going on at line" in errors
    assert script.opened[0] == 0
    assert len(script.opened) > 1


def test_it_goes_on_by_events_where_websockets_are_blocked(
    place: Place, script: ScriptedServer
) -> None:
    script.websockets = False
    script.is_now("running")
    script.say("one", "two")
    script.end()
    done = place.run("logs", "-f", TASK)
    assert (done.stdout, done.returncode) == ("one\ntwo\n", 0)
    assert "server-sent events" in done.stderr


def test_with_pipes_output_is_plain_and_words_go_to_stderr(
    place: Place, script: ScriptedServer, configuration: Path
) -> None:
    plan(script)
    script.say("\x1b]0;evil\x07title", "10%\r100%")
    script.end(
        has_changes=True, summary={"add": 2, "change": 0, "destroy": 1, "import": 0}
    )
    done = place.run("plan", str(configuration), "--detailed-exitcode")
    assert done.returncode == 8, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("========== FETCHING BEGIN")
    assert lines[-2:] == ["title", "100%"]
    assert "  + resource" in lines
    assert "Planned: 2 to add, 0 to change, 1 to destroy" in done.stderr
    coloured = place.run("logs", "-f", TASK, "--color", "always")
    assert f"{GREEN}+{OFF}" in coloured.stdout
    assert "evil" not in coloured.stdout
    bare = place.terminal("logs", "-f", TASK, NO_COLOR="1")
    with bare:
        assert bare.wait() == 0
        assert GREEN not in bare.raw


def test_json_lines_end_with_the_task(
    place: Place, script: ScriptedServer, configuration: Path
) -> None:
    script.stage("planning", "begin")
    script.say("one", "two")
    script.say("bad", source="stderr", level="error")
    script.end("failed", error="terraform plan ended with exit code 1")
    done = place.run("plan", str(configuration), "--json")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    kinds = [record.get("type", "task") for record in records]
    assert kinds == ["stage_marker", "output", "output", "error", "completed", "task"]
    assert [record.get("line_num") for record in records[:4]] == [1, 2, 3, 4]
    assert records[-1]["id"] == TASK
    assert "Failed: terraform plan ended with exit code 1" in done.stderr


def test_one_stage_from_a_line_on(place: Place, script: ScriptedServer) -> None:
    plan(script)
    script.end()
    only = place.run("logs", TASK, "--stage", "planning")
    assert len(only.stdout.splitlines()) == 4
    assert "PLANNING BEGIN" in only.stdout
    later = place.run("logs", TASK, "--from", "7")
    assert later.stdout.splitlines()[0].startswith("Plan: 2 to add")


def test_logs_of_a_running_task_end_at_its_last_line(
    place: Place, script: ScriptedServer
) -> None:
    watching(script)
    done = place.run("logs", TASK)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "aws_vpc.a: Creating..."
    assert f"sluice logs -f --from 3 {TASK}" in done.stderr


def test_what_came_late_is_shown_apart_from_the_log(
    place: Place, script: ScriptedServer
) -> None:
    watching(script)
    nothing = place.run("logs", TASK, "--late")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "Nothing came late." in nothing.stderr
    script.late = {"lease-1": b"one\ntwo\n", "lease-2": b"\x00three"}
    done = place.run("logs", TASK, "--late")
    assert done.returncode == 0
    assert done.stdout.startswith("one\ntwo\n")
    assert done.stdout.endswith("three")
    assert "builder, received at" in done.stderr
    assert "2 lines (lease-1)" in done.stderr
    listed = json.loads(place.run("logs", TASK, "--late", "--json").stdout)
    assert [kept["lease_id"] for kept in listed] == ["lease-1", "lease-2"]
    mixed = place.run("logs", TASK, "--late", "--raw", "--from", "3")
    assert mixed.returncode == 2
    assert "leave out --from and --raw" in mixed.stderr


def test_raw_writes_the_logs_bytes_and_nothing_else(
    place: Place, script: ScriptedServer
) -> None:
    watching(script)
    done = place.run("logs", TASK, "--raw")
    assert (done.returncode, done.stdout, done.stderr) == (0, "line\nline\nbegun", "")
    assert place.run("logs", TASK, "--raw", "--download", "-").stdout == done.stdout
    to_file = place.run("logs", TASK, "--raw", "--download", "x.log", "--json")
    assert to_file.returncode == 0, to_file.stderr
    assert (place.root / "x.log").read_text() == done.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--raw", "-f"], "--raw gives the stored log as it is; leave out --follow."),
        (["--raw", "--stage", "init", "--from", "2"], "leave out --from and --stage."),
        (["--raw", "--json"], "leave out --json."),
        (["--download", "x.log", "-f"], "--download gives the stored log as it is"),
    ],
)
def test_what_chooses_lines_does_not_go_with_the_whole_log(
    place: Place, arguments: list[str], named: str
) -> None:
    done = place.run("logs", TASK, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr


def test_the_status_line_shows_how_far_it_is(
    place: Place, script: ScriptedServer
) -> None:
    script.is_now("pending", reason="2nd in the workspace's queue")
    with place.terminal("logs", "-f", TASK) as terminal:
        terminal.expect("Waiting: 2nd in the workspace's queue")
        terminal.expect("waiting · ")
        plan(script)
        script.stage("applying", "begin")
        script.say("aws_vpc.a: Creation complete after 1s [id=1]")
        terminal.expect("apply 4/5 applying ▓▓▓▓░░░░░░░░ 1/3 · ")
        script.stage("applying", "end")
        script.end()
        assert terminal.wait() == 0


def test_at_a_gate_it_says_what_is_waited_for(
    place: Place, script: ScriptedServer
) -> None:
    script.stage("saving_plan", "begin")
    script.stage("saving_plan", "end")
    script.stage("post_plan", "begin")
    script.is_now("running", stage="post_plan", reason="waits for run tasks: checkov")
    with place.terminal("logs", "-f", TASK) as terminal:
        terminal.expect("Waiting for run tasks: checkov")
        terminal.expect("waiting at post plan")
        script.stage("post_plan", "end")
        script.stage("pre_apply", "begin")
        script.is_now("running", stage="pre_apply", reason="waits for run tasks: ann")
        terminal.expect("Waiting for run tasks: ann")
        script.stage("pre_apply", "end")
        script.end("success")
        assert terminal.wait() == 0


def test_a_plan_that_was_let_pass_at_its_gate_says_how_to_apply_it(
    place: Place, script: ScriptedServer, configuration: Path
) -> None:
    place.run("apply", str(configuration), "--detach")
    facts = {"stage": "post_plan", "reason": "failed: checkov", "gate": "post_plan"}
    script.is_now("failed", **facts)
    assert "let pass" not in place.run("task", "show", TASK).stderr
    script.is_now("failed", **facts, gate_overridden=True)
    shown = place.run("task", "show", TASK)
    assert shown.returncode == 0
    assert f"let pass at post_plan: `sluice apply --plan {TASK}`" in shown.stderr


def test_a_cancel_after_the_apply_says_that_it_is_applied(
    place: Place, script: ScriptedServer
) -> None:
    script.is_now("success", reason="applied")
    done = place.run("task", "cancel", TASK)
    assert f"{TASK} was applied before" in done.stderr


def test_a_reader_that_goes_away_is_no_error(
    place: Place, script: ScriptedServer
) -> None:
    script.say(*(f"line {number}" for number in range(50_000)))
    script.end()
    with place.start("logs", TASK) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "line 0\n"
        process.stdout.close()
        assert process.wait(10) == 141
        assert process.stderr.read() == ""


def test_a_plan_that_nobody_can_confirm_is_refused_before_anything_is_made(
    place: Place, script: ScriptedServer, configuration: Path
) -> None:
    done = place.run("apply", str(configuration))
    assert done.returncode == 2
    assert "--auto-approve" in done.stderr
    assert script.calls == []
    assert script.uploaded == b""


def test_a_workspace_that_only_plans_takes_no_upload_to_apply(
    place: Place, script: ScriptedServer, configuration: Path
) -> None:
    assert place.run("plan", str(configuration), "--detach").returncode == 0
    script.workspaces[0]["execution_mode"] = "plan_only"
    script.calls.clear()
    script.uploaded = b""
    done = place.run("apply", str(configuration), "--auto-approve")
    assert done.returncode == 2
    assert "update network --mode plan_and_apply` lets it apply" in done.stderr
    assert script.calls == []
    assert script.uploaded == b""


def test_a_directory_without_configuration_makes_no_workspace(
    place: Place, script: ScriptedServer, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    done = place.run("plan", str(tmp_path / "empty"))
    assert done.returncode == 2
    assert "has no terraform files" in done.stderr
    assert script.calls == []


def test_detached_it_prints_the_id_alone(
    place: Place, script: ScriptedServer, configuration: Path
) -> None:
    done = place.run("apply", str(configuration), "--detach")
    assert (done.stdout, done.returncode) == (f"{TASK}\n", 0)
    assert f"sluice logs -f {TASK}" in done.stderr


def test_options_reach_the_task(
    place: Place, script: ScriptedServer, configuration: Path
) -> None:
    (configuration / "x.tfvars").write_text('b = ["1"]\n')
    done = place.run(
        "apply",
        str(configuration),
        "-target=aws_vpc.a",
        "-target",
        "aws_vpc.b",
        "-replace=aws_vpc.c",
        "-var",
        "a=1",
        f"-var-file={configuration / 'x.tfvars'}",
        "-auto-approve",
        "--message",
        "why",
        "--detach",
    )
    assert done.returncode == 0, done.stderr
    assert script.created == {
        "task_type": "plan_and_apply",
        "configuration_version_id": "cv-1",
        "auto_apply": True,
        "destroy": False,
        "refresh_only": False,
        "refresh": True,
        "targets": ["aws_vpc.a", "aws_vpc.b"],
        "replace": ["aws_vpc.c"],
        "variables": [
            {"key": "b", "value": '["1"]', "hcl": True},
            {"key": "a", "value": "1", "hcl": False},
        ],
        "message": "why",
    }


def test_login_asks_for_the_token_without_showing_it(
    place: Place, script: ScriptedServer
) -> None:
    with place.terminal("login", "--url", script.url, SLUICE_TOKEN="") as terminal:
        terminal.expect(f"Token for {script.url}: ")
        terminal.send("slu_secret\n")
        terminal.expect(f"Signed in to {script.url} as ann")
        assert terminal.wait() == 0
        assert "slu_secret" not in terminal.raw
    assert place.run("whoami", SLUICE_TOKEN="", SLUICE_URL="").returncode == 0
