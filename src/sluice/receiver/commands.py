"""The commands `sluice run-task serve` and `sluice run-task checkov`."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sluice.base.errors import InvalidInputError, SluiceError
from sluice.receiver.calls import Trust, is_loopback, origin
from sluice.receiver.settings import (
    environment_of_checkov,
    environment_of_rules,
    found_program,
    key_of,
)
from sluice.wire.run_task import RunTaskStage

if TYPE_CHECKING:
    from sluice.receiver.ports import Reviewer

DEFAULT_PORT = 8470
_MIB = 1024**2

Stages = Annotated[
    list[RunTaskStage] | None,
    typer.Option(
        "--stage",
        metavar="STAGE",
        help="Gate to answer at: pre_plan, post_plan, pre_apply or post_apply; may be"
        " repeated. By default post_plan.",
    ),
]
Host = Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")]
Port = Annotated[
    int,
    typer.Option(
        metavar="PORT", min=0, max=65535, help="Port to listen on; 0 takes a free one."
    ),
]
KeyName = Annotated[
    str | None,
    typer.Option(
        "--hmac-key-env",
        metavar="NAME",
        help="Environment variable with the run task's key.",
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--hmac-key-file",
        metavar="FILE",
        help="File with the run task's key (its first line).",
    ),
]
Server = Annotated[
    str,
    typer.Option(
        metavar="URL", help="Only send tokens to this server; anywhere by default."
    ),
]
MaxJobs = Annotated[
    int,
    typer.Option(
        metavar="COUNT", min=1, max=100, help="At most so many reviews at a time."
    ),
]
MaxPlan = Annotated[
    int,
    typer.Option(
        metavar="MIB", min=1, max=4096, help="No larger plan JSON is taken, in MiB."
    ),
]
Timeout = Annotated[
    float, typer.Option(metavar="SECONDS", min=1, help="What one review may take.")
]
Drain = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", min=0, help="How long SIGTERM waits for reviews that run."
    ),
]


@dataclass(frozen=True, slots=True)
class _Given:
    """The options that both commands share."""

    stages: frozenset[RunTaskStage]
    host: str
    port: int
    trust: Trust
    max_jobs: int
    max_plan_mib: int
    timeout: float
    drain: float


def serve(  # noqa: PLR0913 - one parameter an option
    *,
    rule: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="File of rules; may be repeated."),
    ],
    stage: Stages = None,
    host: Host = "127.0.0.1",
    port: Port = DEFAULT_PORT,
    hmac_key_env: KeyName = None,
    hmac_key_file: KeyFile = None,
    server: Server = "",
    max_jobs: MaxJobs = 4,
    max_plan_mib: MaxPlan = 256,
    timeout: Timeout = 600.0,
    drain_timeout: Drain = 60.0,
) -> None:
    """Answer run tasks by rules written in Python.

    Listens for the calls of Sluice or HCP Terraform, checks their signatures, runs the
    rules over each plan, and calls back with what they find.
    """
    from sluice.receiver.loading import load_rules

    given = _Given(
        stages=_stages(stage),
        host=host,
        port=port,
        trust=_trust(key_of(hmac_key_env, hmac_key_file), server, host),
        max_jobs=max_jobs,
        max_plan_mib=max_plan_mib,
        timeout=timeout,
        drain=drain_timeout,
    )
    _check_rules(load_rules(rule), given.stages)
    try:
        from sluice.receiver.rule_review import RuleReviewer
    except ModuleNotFoundError as error:
        raise _missing(error, "serve") from error
    reviewer = RuleReviewer(rule, environment_of_rules(hmac_key_env))
    _run(given, reviewer, "serve")


def checkov(  # noqa: PLR0913 - one parameter an option
    *,
    program: Annotated[
        str,
        typer.Option(
            "--checkov", metavar="PATH", help="The program; looked for on PATH."
        ),
    ] = "checkov",
    argument: Annotated[
        list[str] | None,
        typer.Option(
            "--checkov-arg",
            metavar="ARGUMENT",
            help="An argument more for it, such as --checkov-arg=--skip-check=CKV_AWS_18;"
            " may be repeated.",
        ),
    ] = None,
    online: Annotated[
        bool,
        typer.Option(
            "--online",
            help="Let it ask its maker's service for links to guidelines.",
        ),
    ] = False,
    stage: Stages = None,
    host: Host = "127.0.0.1",
    port: Port = DEFAULT_PORT,
    hmac_key_env: KeyName = None,
    hmac_key_file: KeyFile = None,
    server: Server = "",
    max_jobs: MaxJobs = 2,
    max_plan_mib: MaxPlan = 256,
    timeout: Timeout = 600.0,
    drain_timeout: Drain = 60.0,
) -> None:
    """Answer run tasks by Checkov: one outcome a failed check.

    Checkov is a program of its own (`uv tool install checkov`). It runs offline, over the
    plan JSON in a directory that is deleted afterwards.
    """
    given = _Given(
        stages=_stages(stage),
        host=host,
        port=port,
        trust=_trust(key_of(hmac_key_env, hmac_key_file), server, host),
        max_jobs=max_jobs,
        max_plan_mib=max_plan_mib,
        timeout=timeout,
        drain=drain_timeout,
    )
    if RunTaskStage.PRE_PLAN in given.stages:
        raise InvalidInputError("At pre_plan there is no plan that Checkov could scan.")
    try:
        from sluice.receiver.checkov_review import CheckovReviewer
    except ModuleNotFoundError as error:
        raise _missing(error, "checkov") from error
    reviewer = CheckovReviewer(
        program=found_program(program),
        arguments=argument or [],
        environment=environment_of_checkov(hmac_key_env),
        online=online,
    )
    _run(given, reviewer, "checkov")


def _run(given: _Given, reviewer: "Reviewer", name: str) -> None:
    try:
        from sluice.receiver.own_log import configure_logging
        from sluice.receiver.serving import Service, serve_until_stopped
        from sluice.receiver.work import Limits
    except ModuleNotFoundError as error:
        raise _missing(error, name) from error
    configure_logging()
    service = Service(
        reviewer=reviewer,
        stages=given.stages,
        trust=given.trust,
        host=given.host,
        port=given.port,
        at_once=given.max_jobs,
        max_plan_bytes=given.max_plan_mib * _MIB,
        drain_seconds=given.drain,
        limits=Limits(seconds=given.timeout),
    )
    try:
        asyncio.run(serve_until_stopped(service))
    except ExceptionGroup as group:
        raise _named(group) from group


def _named(error: Exception) -> Exception:
    """The error with a name inside nested groups; the group itself where there are more."""
    inner = error
    while isinstance(inner, ExceptionGroup) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    return inner if isinstance(inner, SluiceError) else error


def _stages(given: Sequence[RunTaskStage] | None) -> frozenset[RunTaskStage]:
    return frozenset(given or [RunTaskStage.POST_PLAN])


def _trust(key: str, server: str, host: str) -> Trust:
    if server and not origin(server):
        raise InvalidInputError(f"--server {server} is no http or https address.")
    if not key and not is_loopback(host):
        raise InvalidInputError(
            f"Whoever reaches {host} could make this service call any address; give the run"
            " task a key (--hmac-key-env or --hmac-key-file), or listen on 127.0.0.1."
        )
    return Trust(key=key, server=server)


def _check_rules(rules: Sequence[object], stages: frozenset[RunTaskStage]) -> None:
    from sluice.receiver.facts import Task
    from sluice.receiver.rules import Rule

    over = {rule.over for rule in rules if isinstance(rule, Rule)}
    if RunTaskStage.PRE_PLAN in stages and Task not in over:
        raise InvalidInputError(
            "At pre_plan there is no plan, and none of the rules looks at the task alone;"
            " write one that takes a Task, or leave --stage pre_plan out."
        )


def _missing(error: ModuleNotFoundError, name: str) -> InvalidInputError:
    """What to install.

    Raises:
        ModuleNotFoundError: it is one of ours.
    """
    if error.name is None or error.name.split(".")[0] == "sluice":
        raise error
    return InvalidInputError(
        f"`sluice run-task {name}` needs packages that are not installed (the first:"
        f" {error.name}); run: pip install 'sluice[receiver]'"
    )
