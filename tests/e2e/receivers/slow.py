"""A run task service that takes its time; a process of its own, so that load tests load it.

Usage: python slow.py PORT ACCOUNT-FILE ANSWER-SECONDS VERDICT-SECONDS

Each call is answered after the first pause and called back after the second. The verdict
is in the run task's own query: ``?verdict=passed``, ``failed``, ``odd`` (failed where the
task's message ends in an odd digit) or ``silent`` (never calls back). Each call and each
callback is a line of JSON in the account file.
"""

import asyncio
import json
import sys

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PORT, ACCOUNT = int(sys.argv[1]), sys.argv[2]
ANSWER_SECONDS, VERDICT_SECONDS = float(sys.argv[3]), float(sys.argv[4])
CALLBACKS_AT_ONCE = asyncio.Semaphore(20)


def say(**word: object) -> None:
    """Append to the account, whole lines only."""
    with open(ACCOUNT, "a") as account:
        account.write(json.dumps(word) + "\n")


def verdict_of(wanted: str, body: dict) -> str:
    """The status to call back with, empty for none."""
    if wanted == "odd":
        return "failed" if int(body["run_message"][-1]) % 2 else "passed"
    return "" if wanted == "silent" else wanted


async def call_back(client: httpx2.AsyncClient, body: dict, status: str) -> None:
    """Give the verdict; a server that is away is tried again for a while."""
    await asyncio.sleep(VERDICT_SECONDS)
    document = {
        "data": {
            "type": "task-results",
            "attributes": {"status": status, "message": f"it {status}"},
        }
    }
    for _ in range(60):
        async with CALLBACKS_AT_ONCE:
            try:
                answer = await client.patch(
                    body["task_result_callback_url"],
                    json=document,
                    headers={"Authorization": f"Bearer {body['access_token']}"},
                )
            except httpx2.HTTPError:
                answer = None
        if answer is not None and answer.status_code < 500:
            say(called_back=body["task_result_id"], http=answer.status_code)
            return
        await asyncio.sleep(0.5)
    say(gave_up=body["task_result_id"])


async def take(request: Request) -> Response:
    """One call of the platform."""
    body = await request.json()
    say(
        called=body["task_result_id"],
        token=body["access_token"],
        stage=body["stage"],
        task=body["task_id"],
    )
    await asyncio.sleep(ANSWER_SECONDS)
    status = verdict_of(request.query_params.get("verdict", "passed"), body)
    if not status:
        return Response(status_code=200)
    later = BackgroundTask(call_back, request.app.state.client, body, status)
    return Response(status_code=200, background=later)


async def serve() -> None:
    """Serve until terminated."""
    app = Starlette(routes=[Route("/", take, methods=["POST"])])
    async with httpx2.AsyncClient(timeout=30) as client:
        app.state.client = client
        config = uvicorn.Config(
            app, host="127.0.0.1", port=PORT, log_level="warning", backlog=4096
        )
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(serve())
