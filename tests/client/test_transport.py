"""Requests are retried where that is safe, and errors keep their names."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import stamina.instrumentation
from typing_extensions import override

from sluice.base.errors import (
    ConflictError,
    LockedError,
    NotFoundError,
    SluiceError,
    UnauthorizedError,
    UnavailableError,
)
from sluice.client.api import Api
from sluice.client.errors import ApiError, UnreachableError, error_of
from sluice.wire.shapes.base import ReasonInput
from sluice.wire.shapes.tasks import TaskInput, TaskType
from sluice.wire.shapes.workspaces import WorkspacePatch
from tests.client.log_standins import TASK, task


@pytest.fixture(autouse=True)
def quiet_retries() -> Iterator[None]:
    """Retries write nothing."""
    before = stamina.instrumentation.get_on_retry_hooks()
    stamina.instrumentation.set_on_retry_hooks([])
    yield
    stamina.instrumentation.set_on_retry_hooks(before)


@dataclass
class Answers:
    """What a server answers in turn; the last answer stays. None closes without one."""

    turns: list[tuple[int, object] | None]
    seen: list[tuple[str, str, bytes]] = field(default_factory=list)

    def next(self) -> tuple[int, object] | None:
        return self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]


class Handler(BaseHTTPRequestHandler):
    answers: Answers

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""

    def _answer(self) -> None:
        size = int(self.headers.get("content-length", "0"))
        self.answers.seen.append((self.command, self.path, self.rfile.read(size)))
        turn = self.answers.next()
        if turn is None:
            return
        status, content = turn
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815


@contextmanager
def answering(*turns: tuple[int, object] | None) -> Iterator[tuple[Api, Answers]]:
    """A client of a server that answers in turn."""
    answers = Answers(list(turns))
    handler = type("Bound", (Handler,), {"answers": answers})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with Api(f"http://127.0.0.1:{server.server_address[1]}", "slu_x") as api:
            yield api, answers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_read_waits_for_a_server_that_restarts() -> None:
    with answering((503, b""), None, (502, b"<html>"), (200, task())) as (api, answers):
        assert api.tasks.get(TASK).id == TASK
    assert len(answers.seen) == 4


def test_what_changes_something_is_sent_once() -> None:
    with answering((503, b"")) as (api, answers), pytest.raises(UnavailableError):
        api.tasks.create("ws-1", TaskInput(task_type=TaskType.PLAN))
    assert len(answers.seen) == 1
    with answering(None) as (api, answers), pytest.raises(UnreachableError):
        api.tasks.confirm(TASK)
    assert len(answers.seen) == 1


def test_a_server_that_stays_away_is_named() -> None:
    with answering((200, {})) as (api, _):
        url = api.url
    with (
        Api(url, "slu_x", attempts=2) as api,
        pytest.raises(UnreachableError, match="No answer from") as caught,
    ):
        api.tasks.get(TASK)
    assert url in caught.value.detail


def test_an_upload_is_sent_whole_again(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(b"x" * 100_000)
    created = {
        "id": "cv-1",
        "workspace_id": "ws-1",
        "status": "pending",
        "error": "",
        "size_bytes": None,
        "sha256": None,
        "upload_url": "/api/v1/configuration-versions/cv-1/upload",
        "created_at": "2026-11-21T10:00:00Z",
    }
    uploaded = {**created, "status": "uploaded"}
    with answering((201, created), (503, b""), (200, uploaded)) as (api, answers):
        assert api.configurations.upload("ws-1", archive).status == "uploaded"
    bodies = [body for method, _, body in answers.seen if method == "PUT"]
    assert bodies == [archive.read_bytes()] * 2


def test_only_what_was_given_is_sent() -> None:
    with answering((404, {"code": "not_found", "detail": "No."})) as (api, answers):
        with pytest.raises(NotFoundError):
            api.workspaces.update("ws-1", WorkspacePatch(pool_id=None, auto_apply=True))
        with pytest.raises(NotFoundError):
            api.tasks.discard(TASK, "too late")
    assert json.loads(answers.seen[0][2]) == {"pool_id": None, "auto_apply": True}
    assert ReasonInput.model_validate_json(answers.seen[1][2]).reason == "too late"


def test_something_that_is_no_sluice_server_is_named() -> None:
    with answering((200, b"<html>Welcome</html>")) as (api, _):
        with pytest.raises(ApiError, match="check that the URL is that of a Sluice"):
            api.tasks.get(TASK)
        with pytest.raises(ApiError, match="cannot read"):
            api.organizations.list()


@pytest.mark.parametrize(
    ("status", "problem", "error"),
    [
        (401, {"code": "unauthorized", "detail": "x"}, UnauthorizedError),
        (409, {"code": "conflict", "detail": "x"}, ConflictError),
        (423, {"code": "locked", "detail": "x"}, LockedError),
        (409, {"code": "a_code_of_tomorrow", "detail": "x"}, ConflictError),
        (500, {"code": "internal", "detail": "x"}, SluiceError),
        (418, {"code": "teapot", "detail": "x"}, ApiError),
        (404, {}, ApiError),
        (503, {}, UnavailableError),
        (308, {}, ApiError),
    ],
)
def test_errors_keep_their_kind(
    status: int, problem: dict[str, str], error: type[SluiceError]
) -> None:
    named = error_of(status, json.dumps(problem).encode(), what="GET /x")
    assert type(named) is error
    assert named.detail == problem.get("detail", named.detail)


def test_members_of_a_problem_are_kept() -> None:
    body = json.dumps(
        {"code": "conflict", "detail": "x", "committed": 7, "errors": [{"field": "a"}]}
    )
    assert error_of(409, body.encode(), what="x").extra == {"committed": 7}


@pytest.mark.parametrize("token", ["slu_x\r", "slu x", "slu_é", "slu_x\nhost: y"])
def test_a_token_that_no_header_holds_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(UnauthorizedError) as refused:
        Api("http://127.0.0.1:9", token)
    assert "slu" not in refused.value.detail
