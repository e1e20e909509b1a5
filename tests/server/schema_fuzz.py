"""Runs schemathesis over the OpenAPI document of a server, as somebody, within bounds."""

import asyncio
import json
import re
import shlex
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

SEED = 20
REQUEST_SECONDS = 20
"""A stream that is followed for longer is a failure: every route answers or ends by then."""

# Meaning is judged behind the schema (a pool of another organization, HCL, Rego, an archive,
# a lock), so 422 and 423 answer what fits the schema, too, and 413 what is too large for it.
CONFIG = f"""
[generation]
database = "none"

# one strange method a path says as much as seven
[phases.coverage]
unexpected-methods = ["TRACE"]

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "410", "422", "423", "429"]

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "410", "413", "415", "422", "423", "429"]

[output.sanitization]
enabled = false

# LOCK and UNLOCK are taken there, and OpenAPI 3.1 has no place for them
[[operations]]
include-path = "/api/v1/workspaces/{{workspace_id}}/state-backend"
checks.allow_header_conformance.enabled = false
request-timeout = {REQUEST_SECONDS}

# 400 is what its pages expect for a name that no log can have
[[operations]]
include-path = "/v1/soft/getlog"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "403", "404", "410", "416", "422"]
"""
# What ends a credential or an account is called by somebody else, and with made-up ids
# alone: a run must not shut itself out.
CAREFUL = """
[[operations]]
include-operation-id = {operation_id}
headers = {{ Authorization = "Bearer {spare}" }}
phases.coverage.extra-data-sources.responses = false
phases.fuzzing.extra-data-sources.responses = false
phases.stateful.enabled = false
"""
# What is followed until its task ends is called for a task that has ended: with any other a
# right answer does not end.
FOLLOWED = """
[[operations]]
include-operation-id = {operation_id}
parameters = {{ "path.task_id" = "{ended}" }}
phases.stateful.enabled = false
"""
_OWN = ("/auth/", "/tokens/", "/users/", "/members/", "/organizations/{id_or_name}")
_STREAMS = ("/output/sse", "/output/follow")


@dataclass(frozen=True)
class Run:
    """What one run did."""

    exit_code: int
    output: str
    again: str
    wanted: int

    @property
    def tried(self) -> int:
        """How many operations were called."""
        found = re.search(r"Tested: (\d+)", self.output)
        return int(found[1]) if found else 0

    @property
    def failures(self) -> str:
        """What it found, and how to see it again."""
        _, _, found = self.output.partition("= FAILURES =")
        _, _, errors = self.output.partition("= ERRORS =")
        told = errors[:8_000] + found[:30_000] or self.output[-8_000:]
        return f"{told}\n\nAgain: {self.again}"


@dataclass(frozen=True)
class Caller:
    """Who calls.

    Attributes:
        token: the caller's.
        spare: another's, who may do as much, for what ends credentials.
        ended: a task that has ended.
    """

    token: str
    spare: str
    ended: str


@dataclass(frozen=True)
class Depth:
    """How much is tried.

    Attributes:
        phases: schemathesis' phases; `coverage` alone is the same each time.
        examples: of each operation, in phases that make them up.
        seconds: when it ends at the latest.
        seed: of all that is made up.
    """

    phases: Sequence[str] = ("coverage",)
    examples: int = 1
    seconds: int = 300
    seed: int = SEED
    more: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class Share:
    """Which operations are called.

    Attributes:
        permissions: those that declare one of these, or all.
        part: those of every so manieth path, from 0.
        parts: in how many parts the paths are split.
    """

    permissions: frozenset[str] | None = None
    part: int = 0
    parts: int = 1

    def has(self, path: str, permission: str | None) -> bool:
        """Whether an operation is called."""
        if zlib.crc32(path.encode()) % self.parts != self.part:
            return False
        return self.permissions is None or permission in self.permissions


EVERYTHING = Share()


def operations_of(
    document: dict[str, Any], share: Share = EVERYTHING
) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Operation ids with method, path and operation.

    A WebSocket is none: what it takes and refuses is tried by tests of its own.
    """
    found = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method.startswith("x-") or operation.get("x-websocket"):
                continue
            if share.has(path, operation.get("x-permission")):
                found[operation["operationId"]] = (method, path, operation)
    return found


async def try_all(
    url: str,
    caller: Caller,
    directory: Path,
    *,
    depth: Depth,
    share: Share = EVERYTHING,
    document: Path | None = None,
) -> Run:
    """Call every operation of a share.

    ``document`` is taken in the place of the server's own.
    """
    async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=40) as http:
        own = (await http.get("/api/v1/openapi.json")).json()
    wanted = operations_of(own, share)
    config = directory / "schemathesis.toml"
    config.write_text(CONFIG + "".join(_special(wanted, caller)))
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
        *("run", str(document or f"{url}/api/v1/openapi.json"), "--url", url),
        *("--checks", "all"),
        *("--phases", ",".join(depth.phases), "--seed", str(depth.seed)),
        *("--max-examples", str(depth.examples), "--max-time", str(depth.seconds)),
        *("--no-color", "--warnings", "off"),
        *("--request-timeout", str(REQUEST_SECONDS), "--no-shrink"),
        *(
            "--suppress-health-check",
            "all",
            "--header",
            f"Authorization: Bearer {caller.token}",
        ),
        *depth.more,
    ]
    for operation_id in wanted:
        command += ["--include-operation-id", operation_id]
    started = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await started.communicate()
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()
    again = "FUZZ=1" if len(depth.phases) > 1 else ""
    again = f"{again} pytest tests/server/test_schema_fuzz.py  # {shlex.join(command)}"
    return Run(started.returncode or 0, output.decode(), again.strip(), len(wanted))


def _special(
    wanted: dict[str, tuple[str, str, dict[str, Any]]], caller: Caller
) -> Iterator[str]:
    """The settings of operations that need care."""
    for operation_id, (method, path, _) in wanted.items():
        name = json.dumps(operation_id)
        if method != "get" and any(part in path for part in _OWN):
            yield CAREFUL.format(operation_id=name, spare=caller.spare)
        if path.endswith(_STREAMS):
            yield FOLLOWED.format(operation_id=name, ended=caller.ended)
