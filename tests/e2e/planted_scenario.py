"""A scenario in which secrets of every kind are planted: people, variables, gates, a script."""

import http.server
import json
import secrets
import threading

import httpx2
from typing_extensions import override

from tests.e2e.gates import attach, run_task
from tests.e2e.planted import Hunt
from tests.e2e.stack import Stack

CONFIGURATION = """
variable "text" {
  type      = string
  sensitive = true
}
variable "object" {
  type      = object({ key = string })
  sensitive = true
}
variable "at_start" {
  type      = string
  sensitive = true
}

resource "terraform_data" "keeps" {
  input = { a = var.text, b = var.object.key, c = var.at_start }
}

resource "terraform_data" "shows" {
  triggers_replace = timestamp()
  provisioner "local-exec" {
    interpreter = ["/bin/sh", "-c"]
    command     = <<-EOT
      echo "the scenario speaks"
      env
      printf %s "$PLANTED_ENV" | base64 -w0; echo
      printf 'x%s' "$PLANTED_ENV" | base64 -w0; echo
      printf 'xy%s' "$PLANTED_ENV" | base64 -w0; echo
      printf %s "$PLANTED_ENV" | od -An -v -tx1 | tr -d ' \\n'; echo
      printf %s "$PLANTED_ENV" | cut -c1-9 | tr -d '\\n'; sleep 1
      printf %s "$PLANTED_ENV" | cut -c10-; echo
      cat "$TFC_WORKLOAD_IDENTITY_TOKEN_PATH"; echo
      cut -d. -f3 "$TFC_WORKLOAD_IDENTITY_TOKEN_PATH" >&2
      cp "$TFC_WORKLOAD_IDENTITY_TOKEN_PATH" "$WITNESS"
      echo "the scenario has spoken"
    EOT
  }
}

output "kept" {
  value     = terraform_data.keeps.output
  sensitive = true
}
"""
SCRIPT = """#!/bin/sh
# not echo: dash's reads backslashes
printf '%s and %s\\n' "$LICENSE" "$SERIAL"
printf %s "$LICENSE" | base64 -w0
echo
env
"""


class Receiver:
    """A service that says yes as a run task, and takes webhooks; it keeps what it was sent."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.tokens: list[str] = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"] or 0))
                receiver.bodies.append(body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()
                receiver.answer(json.loads(body))

            @override
            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    def answer(self, call: dict) -> None:
        callback = call.get("task_result_callback_url")
        if not callback or "access_token" not in call:
            return
        self.tokens.append(call["access_token"])
        said = {"status": "passed", "message": "fine"}
        httpx2.patch(
            callback,
            content=json.dumps({"data": {"type": "task-results", "attributes": said}}),
            headers={
                "authorization": f"Bearer {call['access_token']}",
                "content-type": "application/vnd.api+json",
            },
            timeout=30,
            trust_env=False,
        )

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


def planted(hunt: Hunt, name: str, *, lines: bool = False) -> str:
    """A secret with characters that encoders change."""
    if lines:
        body = "\n".join(secrets.token_urlsafe(30) for _ in range(3))
        return hunt.plant(name, f"-----BEGIN {secrets.token_hex(6)}-----\n{body}")
    return hunt.plant(name, f'pl<{secrets.token_hex(8)}&"+/é\\{secrets.token_hex(4)}')


def scenario(stack: Stack, receiver: Receiver, hunt: Hunt) -> dict[str, str]:
    """A task through all gates with every kind of secret; ids by names of path parameters."""
    ids = {"organization": "acme", "id_or_name": "acme"}
    workspace = stack.workspace("planted")["id"]
    ids["workspace_id"] = workspace
    variables(stack, workspace, hunt)
    ids["run_task_id"] = run_task(
        stack,
        "judge",
        receiver.url + "/judge",
        hmac_key=planted(hunt, "HMAC key"),
    )
    attach(stack, workspace, ids["run_task_id"], "post_plan", "advisory")
    path = secrets.token_urlsafe(24)
    hunt.plant("notification's path", path)
    made = stack.post(
        f"/workspaces/{workspace}/notifications",
        {
            "name": "hook",
            "kind": "webhook",
            "endpoint_url": f"{receiver.url}/{path}",
            "secret": planted(hunt, "notification secret"),
            "triggers": ["task:completed"],
        },
    )
    ids["notification_id"] = made["notification_id"]
    people(stack, hunt)

    ids["configuration_version_id"] = stack.upload(
        workspace, {"main.tf": CONFIGURATION}
    )
    of_task = planted(hunt, "variable of a task")
    task = stack.task(
        workspace,
        "plan_and_apply",
        auto_apply=True,
        variables=[{"key": "at_start", "value": of_task}],
    )
    done = stack.until(task["id"], seconds=240)
    log = stack.raw(task["id"])
    assert done["status"] == "success", (done, log.decode()[-2000:])
    assert b"the scenario has spoken" in log
    assert b"TFC_WORKLOAD_IDENTITY_TOKEN=***" in log
    ids["task_id"] = task["id"]
    [version, *_] = stack.get(f"/workspaces/{workspace}/state-versions")
    ids["state_version_id"] = version["id"]
    script(stack, hunt, ids)
    return ids


def variables(stack: Stack, workspace: str, hunt: Hunt) -> None:
    inner = planted(hunt, "object variable")
    given = [
        ("text", planted(hunt, "text variable"), "terraform", False),
        ("object", json.dumps({"key": inner}), "terraform", True),
        ("at_start", "replaced", "terraform", False),
        ("PLANTED_ENV", planted(hunt, "environment variable"), "env", False),
        ("PLANTED_PEM", planted(hunt, "several lines", lines=True), "env", False),
    ]
    for key, value, category, hcl in given:
        stack.post(
            f"/workspaces/{workspace}/variables",
            {
                "key": key,
                "value": value,
                "category": category,
                "hcl": hcl,
                "sensitive": True,
            },
        )
    stack.post(
        f"/workspaces/{workspace}/variables",
        {
            "key": "TFC_WORKLOAD_IDENTITY_AUDIENCE",
            "value": "vault",
            "category": "env",
        },
    )


def people(stack: Stack, hunt: Hunt) -> None:
    """A user with a password, an API token, and a session."""
    password = planted(hunt, "password")
    bob = stack.post("/users", {"name": "bob"})
    answer = stack.request(
        "POST", f"/users/{bob['id']}/password", json={"new_password": password}
    )
    assert answer.status_code == 204, answer.text
    made = stack.post(f"/users/{bob['id']}/tokens", {"name": "planted"})
    hunt.plant("API token", made["token"])
    with httpx2.Client(base_url=stack.url, trust_env=False, timeout=30) as page:
        answer = page.post(
            "/api/v1/auth/login", json={"name": "bob", "password": password}
        )
        assert answer.status_code == 200, answer.text
        cookie = next(c.value for c in page.cookies.jar if len(c.value or "") > 20)
        assert cookie is not None
        hunt.plant("session cookie", cookie)
        page.get("/api/v1/auth/session")
    made = stack.post("/auth/tickets")
    hunt.plant("ticket", made["ticket"])


def script(stack: Stack, hunt: Hunt, ids: dict[str, str]) -> None:
    hidden = {"type": "string", "sensitive": True}
    made = stack.script(
        "planted",
        SCRIPT,
        parameters=[
            {
                "name": "LICENSE",
                "default": planted(hunt, "default of a parameter"),
                **hidden,
            },
            {"name": "SERIAL", **hidden},
        ],
    )
    ids["script_id"] = made["id"]
    ids["script_task"] = install(stack, planted(hunt, "parameter of a script"))
    done = stack.until(ids["script_task"], seconds=120)
    assert done["status"] == "success", done
    assert b"*** and ***" in stack.raw(ids["script_task"])


def install(stack: Stack, value: str) -> str:
    answer = httpx2.post(
        f"{stack.url}/v1/soft/install",
        json={"key": "planted", "organization": "acme", "SERIAL": value},
        headers=stack.headers,
        timeout=30,
    )
    assert answer.status_code < 300, answer.text
    return answer.json()["task_id"]
