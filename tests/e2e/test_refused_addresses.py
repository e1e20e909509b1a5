"""Run tasks cannot be pointed at the server's own machine or network: nothing arrives there."""

import socket
import threading

import pytest

from tests.e2e.gates import attach, results, run_task
from tests.e2e.stack import wait_for

INSIDE = (
    "127.0.0.1",
    "localhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "0.0.0.0",
    "2130706433",
    "0177.0.0.1",
    "0x7f000001",
    "127.1",
    "169.254.169.254",
    "10.0.0.1",
    "100.64.0.1",
    "192.0.0.8",
    "[fd00::1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
)


class Canary:
    """Counts whoever connects, on both loopback families; answers with a redirect to itself."""

    def __init__(self, address: str, port: int = 0, location: str = "") -> None:
        self.connections = 0
        self._location = location
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((address, port))
        self._listener.listen()
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                connection.settimeout(5)
                connection.recv(65536)
                head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
                if self._location:
                    head = (
                        f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {self._location}"
                        "\r\nContent-Length: 0\r\n\r\n"
                    )
                connection.sendall(head.encode())

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def canaries():
    first = Canary("127.0.0.1")
    made = [first, Canary("::1", first.port)]
    yield made
    for canary in made:
        canary.close()


def test_no_packet_reaches_the_inside(stack, canaries):
    stack.settings["SLUICE_OUTGOING_ALLOW_HTTP"] = "true"
    stack.start_server()
    workspace = stack.workspace("inside")
    stack.upload(workspace["id"], {"main.tf": 'resource "terraform_data" "one" {}\n'})
    [organization] = stack.get("/organizations")[:1]
    port = canaries[0].port
    made = []
    for number, host in enumerate(INSIDE):
        answer = stack.request(
            "POST",
            "/run-tasks",
            json={
                "organization_id": organization["id"],
                "name": f"inside-{number}",
                "endpoint_url": f"http://{host}:{port}/",
            },
        )
        if answer.status_code == 422:
            problem = answer.json()
            named = "endpoint_url" in problem["detail"]
            assert named or problem["code"] == "address_refused", problem
            continue
        assert answer.status_code == 201, answer.text
        made.append(answer.json()["run_task_id"])
        tested = stack.request("POST", f"/run-tasks/{made[-1]}/test")
        assert tested.status_code == 422, (host, tested.text)
        attach(stack, workspace["id"], made[-1], "pre_plan", "advisory")
    # names are judged when they are called, not when they are stored
    assert made
    task = stack.task(workspace["id"], "plan")
    found = wait_for(
        "all results",
        lambda: _final(results(stack, workspace["id"], task["id"])),
        seconds=120,
    )
    assert {row["status"] for row in found} == {"error"}
    assert len(found) == len(made)
    print(f"\n{len(INSIDE)} addresses, {sum(c.connections for c in canaries)} arrived")
    assert [canary.connections for canary in canaries] == [0, 0]


def test_a_redirect_is_not_followed(stack, canaries):
    stack.settings |= {
        "SLUICE_OUTGOING_ALLOW_HTTP": "true",
        "SLUICE_OUTGOING_ALLOWED_CIDRS": "127.0.0.2/32",
    }
    stack.start_server()
    inside = f"http://127.0.0.1:{canaries[0].port}/"
    outside = Canary("127.0.0.2", location=inside)
    try:
        made = run_task(stack, "redirects", f"http://127.0.0.2:{outside.port}/")
        tested = stack.post(f"/run-tasks/{made}/test")
    finally:
        outside.close()
    assert tested["status_code"] == 307
    assert tested["ok"] is False
    assert outside.connections == 1
    assert canaries[0].connections == 0


def _final(found):
    done = [row for row in found if row["status"] not in ("pending", "running")]
    return done if found and len(done) == len(found) else None
