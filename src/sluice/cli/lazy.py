"""The top of the command: knows every sub-command's name and help, loads only the one asked for."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperCommand
from typing_extensions import override

from sluice.base.errors import InvalidInputError
from sluice.cli.groups import HELP_OPTIONS, HelpGroup

GROUP = "sluice.commands"


@dataclass(frozen=True, slots=True)
class Entry:
    """A sub-command: where it is, its line of help, and its place in the list."""

    target: str
    help: str
    section: str


_RUN, _LOOK, _KEEP = "Run terraform", "Follow and decide", "Set up"
_HERE, _SERVE = "This machine", "Server and agent"

BUILT_IN = {
    "plan": Entry(
        "sluice.cli.run_commands:plan", "Plan a directory and watch it.", _RUN
    ),
    "apply": Entry(
        "sluice.cli.run_commands:apply",
        "Plan a directory, ask, and apply it.",
        _RUN,
    ),
    "destroy": Entry(
        "sluice.cli.run_commands:destroy",
        "Plan the removal of everything, ask, and remove it.",
        _RUN,
    ),
    "task": Entry(
        "sluice.cli.task_commands:app",
        "List, show, confirm, discard and cancel tasks.",
        _LOOK,
    ),
    "logs": Entry(
        "sluice.cli.log_commands:logs", "Read or follow a task's output.", _LOOK
    ),
    "script": Entry(
        "sluice.cli.script_commands:app",
        "Registered scripts: keep them, and run them.",
        _LOOK,
    ),
    "state": Entry(
        "sluice.cli.state_commands:app",
        "Read, store and roll back a workspace's state.",
        _LOOK,
    ),
    "workspace": Entry(
        "sluice.cli.workspace_commands:app", "Workspaces and their locks.", _KEEP
    ),
    "variable": Entry(
        "sluice.cli.variable_commands:app", "Variables of a workspace.", _KEEP
    ),
    "pool": Entry(
        "sluice.cli.pool_commands:app", "Agent pools and their tokens.", _KEEP
    ),
    "agents": Entry(
        "sluice.cli.agent_commands:list_agents", "Agents and what they do now.", _KEEP
    ),
    "user": Entry("sluice.cli.user_commands:app", "Users, for administrators.", _KEEP),
    "token": Entry("sluice.cli.token_commands:app", "API tokens.", _KEEP),
    "organization": Entry(
        "sluice.cli.organization_commands:app", "Organizations.", _KEEP
    ),
    "member": Entry(
        "sluice.cli.member_commands:app", "Members of an organization.", _KEEP
    ),
    "team": Entry(
        "sluice.cli.team_commands:app", "Teams, and what they may do.", _KEEP
    ),
    "access": Entry(
        "sluice.cli.access_commands:app",
        "Who may do what in one workspace.",
        _KEEP,
    ),
    "audit": Entry(
        "sluice.cli.audit_commands:app",
        "The audit log: who did what to what.",
        _KEEP,
    ),
    "run-task": Entry(
        "sluice.cli.run_task_commands:app",
        "Run tasks: services that are asked at gates.",
        _KEEP,
    ),
    "notification": Entry(
        "sluice.cli.notification_commands:app",
        "Notifications: webhooks, Slack messages and e-mail about tasks.",
        _KEEP,
    ),
    "policy": Entry(
        "sluice.cli.policy_commands:app",
        "Policies: rules in Rego that plans have to pass.",
        _KEEP,
    ),
    "price-file": Entry(
        "sluice.cli.price_commands:app",
        "The price file, by which plans are estimated.",
        _KEEP,
    ),
    "login": Entry("sluice.cli.sign_in_commands:login", "Sign in to a server.", _HERE),
    "logout": Entry(
        "sluice.cli.sign_in_commands:logout", "Forget a server's token.", _HERE
    ),
    "password": Entry("sluice.cli.password_commands:app", "Passwords of users.", _HERE),
    "whoami": Entry(
        "sluice.cli.sign_in_commands:whoami", "Show the server and the user.", _HERE
    ),
    "doctor": Entry(
        "sluice.cli.doctor:doctor", "Check what this machine lacks.", _HERE
    ),
    "completion": Entry(
        "sluice.cli.completion:completion", "Print a shell's completion script.", _HERE
    ),
    "agent": Entry(
        "sluice.cli.agent_commands:app",
        "Run an agent; look at agents, drain and resume them.",
        _SERVE,
    ),
}
# the help of commands that other packages bring, so that listing them imports none
_KNOWN_HELP = {
    "exec": "Run a script as a task, and send its output.",
    "up": "Run a server and an agent together, with nothing to set up.",
    "server": "Run a server.",
    "db": "Upgrade the server's database.",
    "keys": "Make encryption keys, and seal what is stored anew.",
}
_EXTRAS = {"agent": "agent", "exec": "agent", "up": "agent,server"}


class LazyGroup(HelpGroup):
    """A group whose sub-commands are imported when they are called, not when listed."""

    @override
    def list_commands(self, ctx: Any) -> list[str]:
        brought = [name for name in _KNOWN_HELP if name in _entry_points()]
        others = sorted(set(_entry_points()) - set(brought) - set(BUILT_IN))
        return [*BUILT_IN, *brought, *others]

    @override
    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in with the name and help only; `resolve_command` gives the real one."""
        entry = BUILT_IN.get(cmd_name)
        if entry is not None:
            return TyperCommand(cmd_name, help=entry.help, rich_markup_mode=None)
        if cmd_name in _entry_points():
            text = _KNOWN_HELP.get(cmd_name, "Brought by another package.")
            return TyperCommand(cmd_name, help=text, rich_markup_mode=None)
        return None

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        # suggestions for a mistyped name are taken from here
        self.commands = dict.fromkeys(self.list_commands(ctx), TyperCommand(None))
        name, stand_in, rest = super().resolve_command(ctx, args)
        return name, load(name) if stand_in is not None and name else None, rest

    @override
    def format_commands(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            section = BUILT_IN[name].section if name in BUILT_IN else _SERVE
            text = self.get_command(ctx, name).help
            sections.setdefault(section, []).append((name, text))
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows, col_max=14, col_spacing=2)


def load(name: str) -> Any:
    """The sub-command itself.

    Raises:
        InvalidInputError: the packages it needs are not installed.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].target.partition(":")
        return as_command(name, getattr(importlib.import_module(module), attribute))
    return load_brought(name)


def load_brought(name: str) -> Any:
    """The command of this name that another package brings.

    Raises:
        InvalidInputError: the packages it needs are not installed.
    """
    try:
        return as_command(name, _entry_points()[name].load())
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "sluice":
            raise
        extra = _EXTRAS.get(name, "server")
        raise InvalidInputError(
            f"`sluice {name}` needs packages that are not installed (the first: {error.name}); "
            f"run: pip install 'sluice[{extra}]'"
        ) from error


def add_brought(app: typer.Typer, group: str) -> None:
    """Add the commands that other packages bring into a group of sub-commands.

    They come by entry points of ``group``, and say themselves which packages they lack.
    """
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        app.command(point.name)(point.load())


def as_command(name: str, target: typer.Typer | Callable[..., Any]) -> Any:
    """A Typer app, or a function, as a command called ``name``."""
    if isinstance(target, typer.Typer):
        app = target
    else:
        app = typer.Typer(
            add_completion=False,
            rich_markup_mode=None,
            context_settings=HELP_OPTIONS,
        )
        app.command(name)(target)
    command = typer.main.get_command(app)
    command.name = name
    return command


def _entry_points() -> dict[str, EntryPoint]:
    if not _found:
        _found.update({point.name: point for point in entry_points(group=GROUP)})
    return _found


_found: dict[str, EntryPoint] = {}
