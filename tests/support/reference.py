"""Writes the tables in docs/reference from the code: `make docs`, checked by tests/house.

A page holds ``<!-- generated: name -->`` … ``<!-- end -->``; what stands between is
replaced, everything around it is written by hand.
"""

import ast
import asyncio
import functools
import importlib
import inspect
import pkgutil
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import sluice
from sluice.base.errors import SluiceError

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "reference"
BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def modules() -> Iterator[ModuleType]:
    """Every module of the package, except those that run on import."""
    for found in pkgutil.walk_packages(sluice.__path__, "sluice."):
        if "__main__" not in found.name and ".migrations" not in found.name:
            yield importlib.import_module(found.name)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def prose(text: str) -> str:
    """A docstring on one line, as a table cell takes it."""
    return " ".join(text.replace("``", "`").split()).replace("|", "\\|")


def summary(text: str | None) -> str:
    """A docstring's text before its sections (`Args:` and the like)."""
    kept = re.split(r"\n\s*(?:Args|Attributes|Raises|Returns):", text or "")[0]
    return prose(kept)


# --- errors -------------------------------------------------------------------


def error_classes() -> list[type[SluiceError]]:
    """All errors with a name, by status and code."""
    list(modules())
    found: set[type[SluiceError]] = {SluiceError}
    todo = [SluiceError]
    while todo:
        for child in todo.pop().__subclasses__():
            if child not in found and child.__module__.startswith("sluice."):
                found.add(child)
                todo.append(child)
    return sorted(found, key=lambda one: (one.status, one.code, one.__name__))


def errors() -> str:
    """Codes, statuses and meanings; classes that share a code stand in one row."""
    rows: dict[tuple[str, int], list[str]] = {}
    for one in error_classes():
        rows.setdefault((one.code, one.status), []).append(summary(one.__doc__))
    return table(
        ["Code", "Status", "Meaning"],
        [
            [f"`{code}`", str(status), " ".join(dict.fromkeys(meanings))]
            for (code, status), meanings in rows.items()
        ],
    )


# --- exit codes ---------------------------------------------------------------


def exit_codes() -> str:
    """The members of `ExitCode` with the text below each."""
    module = importlib.import_module("sluice.cli.exit_codes")
    tree = ast.parse(inspect.getsource(module.ExitCode))
    body = tree.body[0].body  # type: ignore[attr-defined]
    rows = []
    for at, node in enumerate(body):
        if isinstance(node, ast.Assign):
            name = node.targets[0].id  # type: ignore[attr-defined]
            text = ast.literal_eval(body[at + 1].value)
            rows.append([str(int(module.ExitCode[name])), f"`{name}`", prose(text)])
    return table(["Code", "Name", "Meaning"], rows)


# --- settings -----------------------------------------------------------------


def default(field: FieldInfo) -> str:
    """A default as it is written in the environment."""
    if field.default_factory is not None:
        return "see right"
    match field.default:
        case value if value is PydanticUndefined:
            return "must be given"
        case None | "" | () | [] | {}:
            return "none"
        case SecretStr():
            return "none"
        case bool(flag):
            return f"`{str(flag).lower()}`"
        case PurePath() as path:
            return f"`{path}`"
        case value:
            return f"`{value}`"


def settings(model: type[BaseModel]) -> str:
    """The fields of a settings class, as environment variables."""
    prefix = str(model.model_config.get("env_prefix", "SLUICE_"))
    return table(
        ["Environment", "Default", "Meaning"],
        [
            [
                f"`{prefix}{name.upper()}`",
                default(field),
                prose(field.description or ""),
            ]
            for name, field in model.model_fields.items()
        ],
    )


def agent_settings() -> str:
    """The agent's settings."""
    from sluice.runner.settings import AgentSettings

    return settings(AgentSettings)


def exec_settings() -> str:
    """The settings of `sluice exec`."""
    from sluice.runner.exec_settings import ExecSettings

    return settings(ExecSettings)


def server_settings() -> str:
    """The server's settings."""
    from sluice.server.settings import ServerSettings

    return settings(ServerSettings)


# --- what a server offers -----------------------------------------------------


@functools.cache
def server() -> tuple[Any, Any]:
    """A server's application and its metrics' registry; it listens on nothing."""
    from sluice.edge.stopping import Stopping
    from sluice.server.app import build_app
    from sluice.server.concepts import build_concepts
    from sluice.server.parts import open_parts
    from sluice.server.settings import ServerSettings

    async def build() -> tuple[Any, Any]:
        with tempfile.TemporaryDirectory(prefix="sluice-reference-") as folder:
            parts = open_parts(ServerSettings(data_dir=Path(folder)))
            app = build_app(parts, build_concepts(parts), Stopping(lambda: None))
            await parts.close()
            return app, parts.registry

    # in a thread, since a test's own loop may be running
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, build()).result()


def metrics() -> str:
    """What a server counts, beside what the Prometheus client counts by itself."""
    _, registry = server()
    rows = [
        [
            f"`{family.name}{'_total' if family.type == 'counter' else ''}`",
            family.type,
            prose(family.documentation),
        ]
        for family in registry.collect()
        if not family.name.startswith(("process_", "python_"))
    ]
    return table(["Name", "Type", "Meaning"], sorted(rows))


def http_api() -> str:
    """Every route with its permission and what it does."""
    from sluice.auth.guard import permission_of

    app, _ = server()
    rows = []
    for route in app.router.routes:
        methods = sorted((getattr(route, "methods", None) or {"WebSocket"}) - {"HEAD"})
        permission = permission_of(route)
        rows.append(
            [
                f"`{route.path}`",
                ", ".join(methods),
                f"`{permission.value}`" if permission else "nobody",
                summary(getattr(route.endpoint, "__doc__", "")),
            ]
        )
    return table(["Path", "Method", "Permission", "What it does"], sorted(rows))


# --- commands -----------------------------------------------------------------


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its path, groups left out."""
    import typer

    from sluice.cli.lazy import load
    from sluice.cli.main import app

    root = typer.main.get_command(app)
    with root.make_context("sluice", [], resilient_parsing=True) as context:
        names = root.list_commands(context)  # type: ignore[attr-defined]
    todo = [(f"sluice {name}", load(name)) for name in names]
    while todo:
        path, command = todo.pop(0)
        below = getattr(command, "commands", None)
        if below is None:
            yield path, command
        else:
            if hasattr(command, "alone"):
                yield path, command.alone()
            todo += [(f"{path} {name}", child) for name, child in below.items()]


_EVERYWHERE = {"--json", "--color", "--url", "--help", "-h"}


def cli() -> str:
    """Usage, help and options of every command."""
    parts = []
    for path, command in sorted(commands(), key=lambda one: one[0]):
        with command.make_context(path, [], resilient_parsing=True) as context:
            arguments = [argument_name(one) for one in command.params]
            records = [
                one.get_help_record(context)
                for one in command.params
                if not _EVERYWHERE & set(one.opts)
            ]
        words = [path, *(name for name in arguments if name)]
        text = f"### `{' '.join(words)}`\n\n{help_text(command.help)}\n"
        rows = [
            [f"`{names.replace('|', ', ')}`", prose(meaning)]
            for names, meaning in (record for record in records if record)
        ]
        parts.append(text + ("\n" + table(["", "Meaning"], rows) if rows else ""))
    return "\n".join(parts)


def argument_name(parameter: Any) -> str:
    """How an argument is written; empty for an option."""
    if parameter.param_type_name != "argument":
        return ""
    name = (parameter.metavar or parameter.name).strip("{}[]").upper()
    return name if parameter.required else f"[{name}]"


def help_text(text: str | None) -> str:
    """A command's help as paragraphs."""
    paragraphs = inspect.cleandoc((text or "").replace("``", "`")).split("\n\n")
    return "\n\n".join(" ".join(one.split()) for one in paragraphs)


BLOCKS: dict[str, Callable[[], str]] = {
    "errors": errors,
    "exit-codes": exit_codes,
    "agent-settings": agent_settings,
    "exec-settings": exec_settings,
    "server-settings": server_settings,
    "metrics": metrics,
    "cli": cli,
    "http-api": http_api,
}


def render(text: str) -> str:
    """A page with every generated block as the code has it now."""

    def block(match: re.Match[str]) -> str:
        return f"{match[1]}\n{BLOCKS[match[2]]()}\n{match[3]}"

    return BLOCK.sub(block, text)


def pages() -> list[Path]:
    """The reference pages that hold generated blocks."""
    return [
        page for page in sorted(PAGES.glob("*.md")) if BLOCK.search(page.read_text())
    ]


def main() -> None:
    """Write all generated blocks anew."""
    for page in pages():
        before = page.read_text()
        after = render(before)
        if after != before:
            page.write_text(after)
            sys.stdout.write(f"{page.relative_to(ROOT)} written\n")


if __name__ == "__main__":
    main()
