"""What services say may be code elsewhere: it is kept as a text, and shown as data."""

import json
import re
from typing import Any

import httpx2

from sluice.edge.security_headers import HEADERS
from sluice.wire.texts import storable
from tests.agents.house import House
from tests.runtasks.services import (
    Call,
    asked,
    call_back,
    document,
    new_task,
    results,
    service,
    task_until,
)
from tests.support.hostile import ALL, HIDDEN, PAGE, TERMINAL

JSON_API = "application/vnd.api+json"
PAIRS = [ALL[at : at + 2] for at in range(0, len(ALL), 2)]
MESSAGE = "\n".join([*PAGE[:4], *TERMINAL[::9], *HIDDEN[:4]])[:1000]
NO_ADDRESSES = [
    "javascript:window.hacked=1",
    "JaVaScRiPt:window.hacked=1",
    " javascript:window.hacked=1",
    " https://evil.invalid/",
    "java\tscript:window.hacked=1",
    "\x01javascript:window.hacked=1",
    "data:text/html,<script>window.hacked=1</script>",
    "vbscript:window.hacked=1",
    "file:///etc/passwd",
    "blob:https://evil.invalid/1",
    "view-source:https://evil.invalid/",
    "//evil.invalid/",
    "/\\evil.invalid/",
    "https:evil.invalid",
    "http:/evil.invalid",
    "https:\\\\evil.invalid",
    "h\nttps://evil.invalid",
    "\u200bhttps://evil.invalid",
    "feed:https://evil.invalid/",
    "ftp://evil.invalid/",
]
ADDRESSES = [
    "https://scan.example.com/a?b=<img src=x onerror=window.hacked=1>",
    "https://scan.example.com/\"'><script>window.hacked=1</script>",
    "HTTP://scan.example.com/#javascript:window.hacked=1",
    "https://scan.example.com/](javascript:window.hacked=1)",
]


def is_data(answer: httpx2.Response, kind: str) -> None:
    """No browser runs, frames, guesses or stores any of it."""
    assert answer.headers.get_list("content-type") == [kind], answer.url
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value], (answer.url, name)


def with_outcomes(body: Any, outcomes: list[Any]) -> Any:
    entries = [{"type": "task-result-outcomes", "attributes": one} for one in outcomes]
    body["data"]["relationships"] = {"outcomes": {"data": entries}}
    return body


def outcome_of(number: int) -> dict[str, Any]:
    """An outcome of two payloads, each in every text that it fits into."""
    first, second = PAIRS[number][0], PAIRS[number][-1]
    return {
        "outcome-id": first[:64],
        "description": second,
        "body": f"# {first}\n\n{second}\r\n[x]({first})",
        "url": ADDRESSES[number % len(ADDRESSES)],
        "tags": {second[:64]: [{"label": first[:32], "level": "error"}]},
    }


async def read(house: House, path: str) -> httpx2.Response:
    headers = {"authorization": f"Bearer {house.admin.token}"}
    answer = await house.http.get(f"/api/v1{path}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


async def test_what_a_service_says_is_shown_as_it_is(house: House) -> None:
    async with service() as checks:
        workspace = await asked(house, checks.url)
        task_id = await new_task(house, workspace)
        call = await checks.call()
        given = [outcome_of(number) for number in range(len(PAIRS))]
        said = with_outcomes(document("failed", MESSAGE, url=ADDRESSES[0]), given)
        answer = await call_back(house, call, said)
        assert answer.status_code == 200, answer.text
        is_data(answer, JSON_API)
        assert answer.json()["data"]["attributes"]["message"] == MESSAGE

        here = f"/workspaces/{workspace}/tasks/{task_id}/run-task-results"
        answer = await read(house, here)
        is_data(answer, "application/json")
        assert not re.search(b"[\x00-\x1f]", answer.content)
        [result] = answer.json()["results"]
        assert (result["message"], result["url"]) == (MESSAGE, ADDRESSES[0])
        assert len(result["outcomes"]) == len(given)
        for one, shown in zip(given, result["outcomes"], strict=True):
            assert shown["outcome_id"] == storable(one["outcome-id"])
            assert shown["description"] == storable(one["description"])
            assert shown["url"] == one["url"]
            [(name, labels)] = one["tags"].items()
            [tag] = shown["tags"]
            assert tag["name"] == storable(name)
            assert tag["labels"] == [
                {**labels[0], "label": storable(labels[0]["label"])}
            ]
        for number in range(0, len(given), 12):
            shown = result["outcomes"][number]
            answer = await read(house, f"{here}/outcomes/{shown['id']}/body")
            is_data(answer, "text/markdown; charset=utf-8")
            wanted = storable(given[number]["body"]).encode()
            assert answer.content == wanted
            assert shown["body_bytes"] == len(wanted)
            assert "content-disposition" not in answer.headers

        await is_told_in_one_line(house, task_id, call)


async def is_told_in_one_line(house: House, task_id: str, call: Call) -> None:
    """The task's own words about it move no terminal, nor does a line of its log."""
    task = await task_until(house, task_id, "failed")
    told = f"run task checks (mandatory) failed: {PAGE[0]}"
    assert task["error"].startswith(told)
    shown = await read(house, f"/tasks/{task_id}/logs?format=text")
    is_data(shown, "text/plain; charset=utf-8")
    assert told in shown.text
    for text in (task["error"], task.get("reason") or "", shown.text):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text), text
    assert "\n" not in task["error"]
    again = await call_back(house, call, document("passed", MESSAGE))
    assert again.status_code == 409
    is_data(again, "application/problem+json")


async def test_only_addresses_of_pages_are_taken(house: House) -> None:
    async with service() as checks:
        workspace = await asked(house, checks.url)
        task_id = await new_task(house, workspace)
        call = await checks.call()
        for url in NO_ADDRESSES:
            for body in (
                document("running", url=url),
                with_outcomes(document("running"), [{**outcome_of(0), "url": url}]),
                {"status": "running", "url": url},
            ):
                answer = await call_back(house, call, body)
                assert answer.status_code == 422, url
                is_data(answer, "application/problem+json")
                assert answer.json()["errors"][0]["field"].endswith("url")
        [result] = await results(house, workspace, task_id)
        assert (result["url"], result["outcomes"]) == ("", [])
        taken = [{**outcome_of(0), "url": url} for url in ADDRESSES]
        answer = await call_back(house, call, with_outcomes(document("running"), taken))
        assert answer.status_code == 200
        [result] = await results(house, workspace, task_id)
        assert [one["url"] for one in result["outcomes"]] == ADDRESSES


async def test_the_plain_form_and_what_is_refused_are_data_too(house: House) -> None:
    async with service() as checks:
        workspace = await asked(house, checks.url)
        task_id = await new_task(house, workspace)
        call = await checks.call()
        plain = {
            "status": "running",
            "message": MESSAGE,
            "resource_results": [
                {"resource_address": text, "status": text[:32], "message": text}
                for text in ALL
            ],
        }
        answer = await call_back(house, call, plain, media="application/json")
        assert answer.status_code == 200, answer.text
        is_data(answer, JSON_API)
        [result] = await results(house, workspace, task_id)
        wanted = [storable(text) for text in ALL]
        assert [one["outcome_id"] for one in result["outcomes"]] == wanted
        assert [one["description"] for one in result["outcomes"]] == wanted

        for text in ALL[::40]:
            level = {"x": [{"label": "x", "level": text}]}
            for content, media in (
                (json.dumps({"status": text}).encode(), JSON_API),
                (text.encode(), JSON_API),
                (json.dumps({"data": text}).encode(), JSON_API),
                (
                    json.dumps(
                        with_outcomes(
                            document("running"), [{**outcome_of(0), "tags": level}]
                        )
                    ).encode(),
                    JSON_API,
                ),
                (b"{}", "text/html; x=1"),
            ):
                answer = await call_back(house, call, content=content, media=media)
                assert answer.status_code in {415, 422}, text
                is_data(answer, "application/problem+json")
                assert not re.search(b"[\x00-\x1f]", answer.content)
        [after] = await results(house, workspace, task_id)
        assert after["outcomes"] == result["outcomes"]
