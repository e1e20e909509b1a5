"""The command against a real server with a real agent and the real terraform."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from sluice.base.clock import SystemClock
from sluice.client.api import Api
from sluice.client.carriers import SseCarrier, TextCarrier, WebSocketCarrier
from sluice.client.settings import client_settings
from sluice.wire.shapes.people import Me, NewToken, User
from sluice.wire.shapes.pools import Agent, Pool
from sluice.wire.shapes.states import OutputValue, StateVersion
from sluice.wire.shapes.tasks import Task, TaskList, TaskStatus
from sluice.wire.shapes.workspaces import Variable, Workspace
from sluice.wire.stream import Batch, Completed, Connected, Frame, StageMarker
from tests.cli.terminal import ARGV, Place

HELLO = Path(__file__).parents[2] / "examples" / "hello"


@pytest.fixture(scope="module")
def signed_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """`sluice up` on a free port, and a person who redeemed its one-time token."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not on PATH")
    root = tmp_path_factory.mktemp("up")
    place = Place(root)
    (root / "terraformrc").write_text("")
    log = (root / "up.log").open("w+")
    process = subprocess.Popen(
        [*ARGV, "up", "--port", "0", "--data-dir", str(root / "data")],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=root,
        env=place.environment(TF_CLI_CONFIG_FILE=str(root / "terraformrc")),
    )
    try:
        text = ""
        deadline = time.monotonic() + 60
        while "sls_" not in text and time.monotonic() < deadline:
            assert process.poll() is None, text
            time.sleep(0.1)
            text = (root / "up.log").read_text()
        url = re.search(r"http://127\.0\.0\.1:\d+", text)
        token = re.search(r"sls_[A-Za-z0-9_-]+", text)
        assert url, text
        assert token, text
        done = place.run("login", "--url", url[0], "--token", "-", stdin=token[0])
        assert done.returncode == 0, done.stderr
        yield place
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def ok(place: Place, *arguments: str, stdin: str = "") -> str:
    """What a command that succeeds writes to stdout."""
    done = place.run(*arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_signed_in_and_out(signed_in: Place) -> None:
    me = Me.model_validate_json(ok(signed_in, "whoami", "--json"))
    assert me.admin
    stored = signed_in.root / "config" / "sluice" / "credentials.json"
    assert stored.stat().st_mode & 0o077 == 0
    again = stored.read_bytes()
    assert "Forgot" in signed_in.run("logout").stderr
    assert signed_in.run("whoami").returncode == 4
    stored.write_bytes(again)
    bad = signed_in.run("login", "--token", "slu_wrong")
    assert (bad.returncode, bad.stdout) == (4, "")
    assert stored.read_bytes() == again


def test_a_password_signs_in_and_out(signed_in: Place) -> None:
    stored = signed_in.root / "config" / "sluice" / "credentials.json"
    kept = stored.read_bytes()
    ok(signed_in, "user", "create", "hedy")
    password = "a long one for hedy"
    weak = signed_in.run("password", "set", "hedy", stdin="password1234\n")
    assert weak.returncode == 2
    assert "password1234" not in weak.stderr
    ok(signed_in, "password", "set", "hedy", stdin=f"{password}\n")
    wrong = signed_in.run("login", "--user", "hedy", stdin="not that one\n")
    assert (wrong.returncode, wrong.stdout) == (4, "")
    ok(signed_in, "login", "--user", "hedy", stdin=f"{password}\n")
    try:
        assert password not in stored.read_text()
        assert json.loads(ok(signed_in, "whoami", "--json"))["name"] == "hedy"
        own = stored.read_bytes()
        both = f"{password}\nand another long one\n"
        ok(signed_in, "password", "set", stdin=both)
        out = json.loads(ok(signed_in, "logout", "--json"))
        assert (out["signed_out"], out["revoked"]) == (True, True)
        stored.write_bytes(own)
        assert signed_in.run("whoami").returncode == 4
    finally:
        stored.write_bytes(kept)


def test_workspaces_variables_and_pools(signed_in: Place) -> None:
    ok(signed_in, "workspace", "create", "net", "--mode", "plan_only")
    assert signed_in.run("workspace", "create", "net").returncode == 6
    pools = TypeAdapter(list[Pool]).validate_json(
        ok(signed_in, "pool", "list", "--json")
    )
    ok(signed_in, "workspace", "update", "net", "--pool", pools[0].name)
    ok(signed_in, "workspace", "lock", "net", "--reason", "upkeep")
    shown = Workspace.model_validate_json(
        ok(signed_in, "workspace", "show", "net", "--json")
    )
    assert shown.pool_id == pools[0].id
    assert shown.lock is not None
    assert shown.lock.reason == "upkeep"
    assert "upkeep" in ok(signed_in, "workspace", "show", "net")
    ok(signed_in, "workspace", "unlock", "net")
    ok(signed_in, "workspace", "update", "net", "--pool", "any", "--name", "net2")

    ok(
        signed_in,
        "variable",
        "set",
        "net2",
        "secret",
        "-",
        "--sensitive",
        stdin="s3cr3t\n",
    )
    ok(signed_in, "variable", "set", "net2", "HOME_DIR", "/x", "--env")
    ok(signed_in, "variable", "set", "net2", "HOME_DIR", "/y", "--env")
    listed = ok(signed_in, "variable", "list", "net2", "--json")
    found = TypeAdapter(list[Variable]).validate_json(listed)
    assert {item.key: item.value for item in found} == {
        "secret": None,
        "HOME_DIR": "/y",
    }
    assert "s3cr3t" not in listed
    ok(signed_in, "variable", "set", "net2", "text", "-", stdin="a\r\nb\r\n")
    listed = ok(signed_in, "variable", "list", "net2", "--json")
    assert '"a\\r\\nb"' in listed
    broken = signed_in.run("variable", "set", "net2", "names", '["a"', "--hcl")
    assert broken.returncode == 2
    assert "the bracket `[` in line 1, column 1 is not closed" in broken.stderr
    ok(signed_in, "variable", "set", "net2", "names", '["a"]', "--hcl")
    assert signed_in.run("task", "show", "..").returncode == 2
    assert signed_in.run("task", "show", "a/../b?c").returncode == 5
    ok(signed_in, "variable", "delete", "net2", "HOME_DIR", "--env")
    assert signed_in.run("variable", "delete", "net2", "HOME_DIR").returncode == 5

    token = ok(signed_in, "pool", "token", pools[0].name)
    assert re.fullmatch(r"slp_\S+\n", token)
    agents = ok(signed_in, "agents", "--json")
    assert TypeAdapter(list[Agent]).validate_json(agents)[0].name == "up"
    assert signed_in.run("workspace", "delete", "net2").returncode == 2
    ok(signed_in, "workspace", "delete", "net2", "--yes")
    assert signed_in.run("workspace", "show", "net2").returncode == 5


def names_of_users(signed_in: Place) -> set[str]:
    listed = TypeAdapter(list[User]).validate_json(
        ok(signed_in, "user", "list", "--json")
    )
    return {user.name for user in listed}


def test_users_and_their_tokens(signed_in: Place) -> None:
    before = names_of_users(signed_in)
    made = User.model_validate_json(ok(signed_in, "user", "create", "bob", "--json"))
    assert (made.name, made.admin) == ("bob", False)
    assert signed_in.run("user", "create", "bob").returncode == 6
    assert signed_in.run("user", "create", "b b").returncode == 2
    boss = signed_in.run("user", "create", "eve", "--admin")
    assert "Created administrator eve (user-" in boss.stderr
    rows = ok(signed_in, "user", "list").splitlines()
    assert re.search(r"^bob +- ", "\n".join(rows), re.MULTILINE)
    assert re.search(r"^eve +yes ", "\n".join(rows), re.MULTILINE)
    assert names_of_users(signed_in) == before | {"bob", "eve"}

    token = ok(signed_in, "token", "create", "laptop", "--user", "bob").strip()
    assert re.fullmatch(r"slu_\S+", token)
    as_bob = {"SLUICE_TOKEN": token}
    assert "bob" in signed_in.run("whoami", **as_bob).stdout
    assert signed_in.run("user", "list", **as_bob).returncode == 4
    assert signed_in.run("token", "create", "x", "--user", "no").returncode == 5
    own = signed_in.run(
        "token", "create", "ci", "--expires-in-days", "7", "--json", **as_bob
    )
    assert NewToken.model_validate_json(own.stdout).expires_at is not None
    shown = signed_in.run("token", "list", **as_bob).stdout
    assert re.search(r"^laptop .* never +all +tok-", shown, re.MULTILINE), shown
    assert re.search(r"^ci .* 20\d\d-\d\d-\d\d +all +tok", shown, re.MULTILINE), shown
    assert token not in shown

    signed_in.run("token", "create", "ci", **as_bob)
    twice = signed_in.run("token", "revoke", "ci", **as_bob)
    assert (twice.returncode, "2 tokens are called" in twice.stderr) == (6, True)
    ci = NewToken.model_validate_json(own.stdout)
    assert signed_in.run("token", "revoke", ci.id, **as_bob).returncode == 0
    assert signed_in.run("whoami", SLUICE_TOKEN=ci.token).returncode == 4
    assert signed_in.run("token", "revoke", "none", **as_bob).returncode == 5
    ended = signed_in.run("token", "revoke", "laptop", "--json", **as_bob)
    assert json.loads(ended.stdout)["revoked"] is True
    assert signed_in.run("whoami", **as_bob).returncode == 4


def test_a_directory_is_planned_applied_read_back_and_destroyed(
    signed_in: Place,
) -> None:
    quick = ("-var", "pause_seconds=0", "-var", 'names=["Ada"]')
    planned = signed_in.run("plan", str(HELLO), *quick, "--detailed-exitcode")
    assert planned.returncode == 8, planned.stderr
    assert "(new, named after the directory)" in planned.stderr
    assert "✓ Planned: 3 to add, 0 to change, 0 to destroy" in planned.stderr
    assert "Plan: 3 to add" in planned.stdout

    applied = signed_in.run("apply", str(HELLO), *quick, "--auto-approve", "--json")
    assert applied.returncode == 0, applied.stderr
    *lines, last = [json.loads(line) for line in applied.stdout.splitlines()]
    numbers = [line["line_num"] for line in lines if "line_num" in line]
    assert numbers == list(range(1, len(numbers) + 1))
    task = Task.model_validate(last)
    assert task.status == "success"
    assert "✓ Applied: 3 added" in applied.stderr

    text = ok(signed_in, "logs", task.id)
    assert len(text.splitlines()) == len(numbers)
    assert (
        ok(signed_in, "logs", task.id, "--from", "5").splitlines()
        == text.splitlines()[4:]
    )
    stage = ok(signed_in, "logs", task.id, "--stage", "applying").splitlines()
    assert "APPLYING BEGIN" in stage[0]
    assert "APPLYING END" in stage[-1]
    raw = signed_in.root / "log"
    ok(signed_in, "logs", task.id, "--download", str(raw), "--raw")
    assert raw.read_bytes().count(b"\n") == len(numbers)
    piped = ok(signed_in, "logs", task.id, "--raw")
    assert piped == raw.read_text()
    nowhere = signed_in.run("logs", task.id, "--download", "gone/log")
    assert (nowhere.returncode, nowhere.stderr) == (
        2,
        "error: gone/log is no place for a file.\n",
    )
    ok(signed_in, "logs", task.id, "--download", str(raw))
    assert raw.read_text().startswith(f"Task ID: {task.id}\n")

    listed = TaskList.model_validate_json(
        ok(signed_in, "task", "list", "hello", "--json")
    )
    assert [item.task_type for item in listed.tasks] == ["plan_and_apply", "plan"]
    assert task.id in ok(signed_in, "task", "list")
    assert "applying" in ok(signed_in, "task", "show", task.id)
    assert signed_in.run("task", "confirm", task.id).returncode == 6

    versions = TypeAdapter(list[StateVersion]).validate_json(
        ok(signed_in, "state", "list", "hello", "--json")
    )
    assert versions[0].resource_count == 3
    assert "terraform_data.letter" in ok(signed_in, "state", "show", "hello")
    outputs = TypeAdapter(list[OutputValue]).validate_json(
        ok(signed_in, "state", "outputs", "hello", "--json")
    )
    values = {item.name: item.value for item in outputs}
    assert values["greetings"] == ["Hello, Ada!"]
    assert values["badges"] is None
    state = signed_in.root / "state.json"
    state.write_text(ok(signed_in, "state", "pull", "hello"))
    assert json.loads(state.read_text())["lineage"] == versions[0].lineage
    ok(signed_in, "state", "push", "hello", str(state))
    ok(signed_in, "state", "rollback", "hello", str(versions[0].serial))

    gone = signed_in.run("destroy", str(HELLO), "--auto-approve", *quick)
    assert gone.returncode == 0, gone.stderr
    assert "3 destroyed" in gone.stderr
    rows = ok(signed_in, "task", "list", "hello").splitlines()
    assert re.search(r"^task-\S+  destroy +success ", rows[1]), rows
    [newest, *_] = TaskList.model_validate_json(
        ok(signed_in, "task", "list", "hello", "--json")
    ).tasks
    assert newest.options.destroy
    assert re.search(
        r"^Type +destroy$", ok(signed_in, "task", "show", newest.id), re.MULTILINE
    )


def test_a_plan_is_confirmed_or_discarded_from_another_command(
    signed_in: Place,
) -> None:
    arguments = ("-var", "pause_seconds=0", "-w", "later", "--detach")
    first = ok(signed_in, "apply", str(HELLO), *arguments).strip()
    followed = signed_in.start("logs", "-f", first)
    waiting = _until_it_waits(signed_in, first)
    assert waiting.can_confirm
    confirmed = signed_in.run("task", "confirm", first, "-f", "--reason", "fine")
    assert confirmed.returncode == 0, confirmed.stderr
    assert "Apply complete!" in confirmed.stdout
    text, _ = followed.communicate(timeout=30)
    assert followed.returncode == 0
    assert text == confirmed.stdout

    second = ok(signed_in, "destroy", str(HELLO), *arguments).strip()
    _until_it_waits(signed_in, second)
    ok(signed_in, "task", "discard", second)
    assert signed_in.run("logs", "-f", second).returncode == 3


def _until_it_waits(place: Place, task_id: str) -> Task:
    deadline = time.monotonic() + 60
    while True:
        task = Task.model_validate_json(ok(place, "task", "show", task_id, "--json"))
        if task.status == "apply_pending":
            return task
        assert time.monotonic() < deadline, f"{task.status}: {task.reason}"


def test_doctor_is_content(signed_in: Place) -> None:
    done = signed_in.run("doctor")
    assert done.returncode == 0
    assert re.search(r"ok +Signed in +yes", done.stdout)


def test_the_fallbacks_bring_the_same_lines(signed_in: Place) -> None:
    settings = client_settings(
        environ={"XDG_CONFIG_HOME": str(signed_in.root / "config")}
    )
    with Api(settings.url, settings.token) as api:
        listed = api.tasks.list_all("default", status=TaskStatus.SUCCESS)
        task = listed.tasks[0].id
        told = [
            _lines(carrier.frames(task, after))
            for after in (0, 7)
            for carrier in (
                WebSocketCarrier(api.transport),
                SseCarrier(api.transport),
                TextCarrier(api.transport, clock=SystemClock(), task=api.tasks.get),
            )
        ]
        assert told[0] == told[1] == told[2]
        assert told[3] == told[4] == told[5] == told[0][7:]
        assert len(told[0]) == api.logs.lines_so_far(task)
        assert api.logs.stats().count >= 0


def _lines(frames: Iterator[Frame]) -> list[str]:
    """The lines of a stream, which must end with its completion."""
    found: list[str] = []
    for frame in frames:
        match frame:
            case Batch():
                found += [line[3] for line in frame.lines]
            case StageMarker():
                found.append(frame.line)
            case Completed():
                return found
            case _:
                assert isinstance(frame, Connected)
    raise AssertionError("the stream has no end")
