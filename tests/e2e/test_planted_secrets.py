"""Everything that a whole scenario leaves is searched for the secrets that were in it."""

import gzip
import json
import re
import subprocess
import sys

import httpx2
import pytest

from sluice.auth.keyring import encode_key, new_master_key
from tests.e2e.gates import LOOPBACK
from tests.e2e.planted import Hunt, Watch, forms_of
from tests.e2e.planted_scenario import Receiver, planted, scenario
from tests.e2e.stack import Stack

IN_STATE = frozenset({"text variable", "object variable", "variable of a task"})
IN_THE_CLEAR = (
    # what these routes are for: the state, the plan and the configuration, to who may read them
    "/api/v1/state-versions/{state_version_id}/download",
    "/api/v1/workspaces/{workspace_id}/state-backend",
    "/api/v1/workspaces/{workspace_id}/tasks/{task_id}/plan-json",
)
ENDLESS = (
    "/api/v1/tasks/{task_id}/output/sse",
    "/api/v1/tasks/{task_id}/output/follow",
)


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def hunt():
    return Hunt()


@pytest.fixture
def stack(tmp_path, hunt):
    key = hunt.plant("encryption key", encode_key(new_master_key()))
    made = Stack(
        tmp_path,
        SLUICE_LOG_LEVEL="debug",
        SLUICE_ENCRYPTION_KEY=key,
        SLUICE_S3_SECRET_ACCESS_KEY=planted(hunt, "S3 key"),
        SLUICE_SMTP_PASSWORD=planted(hunt, "SMTP password"),
        SLUICE_OIDC_CLIENT_SECRET=planted(hunt, "OIDC client secret"),
        **LOOPBACK,
    )
    yield made
    made.close()


def test_the_hunter_finds_what_is_there():
    """The search itself, or all else here proves nothing."""
    hunt = Hunt()
    secret = planted(hunt, "s")
    lines = planted(hunt, "several lines", lines=True)
    forms = forms_of(secret)
    for number, form in enumerate(forms):
        hunt.look(str(number), b"before" + form + b"after")
    assert len(hunt.found) == len(forms) >= 12
    hunt.look("gzip", b"junk" + gzip.compress(secret.encode()) + b"junk")
    assert "s in gzip" in hunt.found[-1]
    hunt.look("line", lines.splitlines()[2].encode())
    assert "several lines in line" in hunt.found[-1]
    assert len(hunt.found) == len(forms) + 2
    hunt.look("nothing", b"nothing" * 100)
    hunt.look("allowed", secret.encode(), allowed=["s"])
    assert len(hunt.found) == len(forms) + 2


def test_no_secret_is_found_where_it_does_not_belong(
    stack, receiver, hunt, tmp_path_factory
):
    stack.start_server()
    hunt.plant("administrator's token", stack.token)
    watch = Watch(
        stack.root,
        [
            "agent/phases/*/*.json",
            "agent/phases/*/*.log",
            "agent/phases/*/spool/*",
            "agent/state/*",
        ],
    )
    watch.start()
    witness = tmp_path_factory.mktemp("witness") / "token"
    stack.start_agent(WITNESS=str(witness))
    hunt.plant("pool token", (stack.root / "pool-token").read_text())
    ids = scenario(stack, receiver, hunt)
    token = hunt.plant("identity token", witness.read_text())
    hunt.plant("its signature", token.rpartition(".")[2])
    said = answers(stack, ids, hunt)
    said |= refusals(stack, hunt)
    written = command_line(stack, ids)
    watch.stop()
    assert receiver.tokens
    for number, token in enumerate(receiver.tokens):
        hunt.plant(f"run task's token {number}", token)
    assert len(hunt.secrets) >= 20, sorted(hunt.secrets)

    for where, (data, allowed) in said.items():
        hunt.look(where, data, allowed=allowed)
    for where, data in written.items():
        hunt.look(where, data)
    for command in watch.commands:
        hunt.look("a command line", command)
    assert any(name.endswith(".json") for name, _ in watch.files)
    for name, data in watch.files:
        hunt.look(f"a phase's {name}", data)
    hunt.look_through(stack.root / "server")
    hunt.look_through(stack.root / "agent")
    for log in stack.root.glob("*.log"):
        hunt.look(log.name, log.read_bytes())
    assert_it_would_be_found(stack, said, watch)
    assert hunt.looked_at > 100
    assert hunt.found == []


def assert_it_would_be_found(stack: Stack, said: dict, watch: Watch) -> None:
    """What a task prints and nobody hides is found by the same search, in every place."""
    control = Hunt()
    control.plant("a line", "the scenario has spoken")
    control.look_through(stack.root / "server")
    assert control.found
    control.found = []
    for where, (data, _) in said.items():
        control.look(where, data)
    assert len(control.found) >= 4, control.found
    control.found = []
    for name, data in watch.files:
        control.look(name, data)
    assert control.found


# --- what is looked at ----------------------------------------------------------------


def answers(
    stack: Stack, ids: dict[str, str], hunt: Hunt
) -> dict[str, tuple[bytes, frozenset[str]]]:
    """What an administrator is answered by every route that reads."""
    document = stack.get("/openapi.json")
    ids = dict(ids)
    [agent] = stack.get("/organizations/acme/agents")
    ids["agent_id"] = agent["agent_id"] if "agent_id" in agent else agent["id"]
    [pool] = stack.get("/organizations/acme/pools")
    ids["pool_id"] = pool["id"]
    ids["user_id"] = stack.get("/auth/me")["id"]
    found: dict[str, tuple[bytes, frozenset[str]]] = {}
    as_terraform = httpx2.get(
        f"{stack.url}/api/v1/workspaces/{ids['workspace_id']}/state-backend",
        auth=("terraform", stack.token),
        timeout=30,
        trust_env=False,
    )
    assert as_terraform.status_code == 200, as_terraform.text
    worked = 0
    for path, methods in document["paths"].items():
        if "get" not in methods or path in ENDLESS:
            continue
        tasks = (ids["task_id"], ids["script_task"])
        for task in tasks if "task" in path or path.startswith("/v1/") else tasks[:1]:
            names = {**ids, "task_id": task}
            filled = re.sub(r"\{(\w+)\}", lambda n: names.get(n[1], "none-1"), path)  # noqa: B023
            answer = httpx2.get(
                stack.url + filled,
                params={"task_id": task} if path.startswith("/v1/") else {},
                headers=stack.headers,
                timeout=60,
                trust_env=False,
                follow_redirects=False,
            )
            worked += answer.status_code == 200
            allowed = IN_STATE if path in IN_THE_CLEAR else frozenset()
            whole = answer.content + repr(sorted(answer.headers.items())).encode()
            found[f"GET {filled}"] = (whole, allowed)
    assert worked > 50, worked
    for task in (ids["task_id"], ids["script_task"]):
        for path in ENDLESS:
            filled = path.replace("{task_id}", task)
            answer = httpx2.get(stack.url + filled, headers=stack.headers, timeout=60)
            assert answer.status_code == 200, answer.text
            found[f"GET {filled}"] = (answer.content, frozenset())
        frames = json.dumps(list(stack.follow(task)))
        found[f"follow {task}"] = (frames.encode(), frozenset())
    return found


def refusals(stack: Stack, hunt: Hunt) -> dict[str, tuple[bytes, frozenset[str]]]:
    """What is answered to requests that are wrong, with a secret in them."""
    secret = planted(hunt, "in a bad request")
    bodies: list[tuple[str, str, object]] = [
        ("POST", "/workspaces/none/variables", {"key": "k", "value": secret}),
        ("POST", "/organizations/acme/workspaces", {"name": secret}),
        ("POST", "/auth/login", {"name": "bob", "password": secret}),
        ("POST", "/auth/login", {"name": "bob", "password": [secret]}),
        ("POST", "/auth/login", {"name": "bob", "passwort": secret}),
        ("POST", "/auth/setup", {"token": secret, "name": "eve"}),
        ("POST", "/users", {"name": "x", "password": {"deep": secret}}),
        ("POST", "/run-tasks", {"name": "x", "endpoint_url": 1, "hmac_key": secret}),
        ("POST", "/tokens", {"name": "x", "expires_in_days": secret}),
    ]
    found: dict[str, tuple[bytes, frozenset[str]]] = {}
    for number, (method, path, body) in enumerate(bodies):
        answer = stack.request(method, path, json=body)
        assert answer.status_code >= 400, (path, answer.text)
        found[f"{number} {method} {path}"] = (answer.content, frozenset())
    broken = stack.request("POST", "/tokens", content=b'{"name": "' + secret.encode())
    found["a body that is no JSON"] = (broken.content, frozenset())
    for scheme in ("Bearer", "Basic"):
        answer = httpx2.get(
            f"{stack.url}/api/v1/tokens",
            headers={"authorization": f"{scheme} {secret.encode().hex()}"},
            timeout=30,
        )
        assert answer.status_code == 401
        found[f"a bad {scheme}"] = (answer.content, frozenset())
    return found


def command_line(stack: Stack, ids: dict[str, str]) -> dict[str, bytes]:
    """What `sluice` writes, as people and as programs read it."""
    commands = [
        ["whoami"],
        ["workspace", "show", "planted"],
        ["variable", "list", "planted"],
        ["task", "show", ids["task_id"]],
        ["logs", ids["task_id"]],
        ["logs", ids["script_task"]],
        ["state", "show", "planted"],
        ["state", "outputs", "planted"],
        ["run-task", "show", ids["run_task_id"]],
        ["script", "show", "planted"],
        ["token", "list"],
        ["user", "list"],
        ["audit", "export"],
        ["variable", "set", "none", "k", "v"],
    ]
    env = stack.env() | {"SLUICE_URL": stack.url, "SLUICE_TOKEN": stack.token}
    env |= {"SLUICE_ORGANIZATION": "acme"}
    found = {}
    worked = 0
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "sluice", *command],
            env=env,
            capture_output=True,
            check=False,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
        worked += done.returncode == 0
        found["sluice " + " ".join(command)] = done.stdout + done.stderr
    assert worked == len(commands) - 1, found
    return found
