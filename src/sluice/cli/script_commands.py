"""`sluice script …`: register scripts, and start them by their key."""

import tomllib
from pathlib import Path
from typing import Annotated

import typer

from sluice.base.errors import InvalidInputError, NotFoundError
from sluice.cli import words
from sluice.cli.exit_codes import ExitCode
from sluice.cli.following import follow_to_end
from sluice.cli.groups import new_group
from sluice.cli.keyboard import Interrupts, ask
from sluice.cli.live import WatchOptions
from sluice.cli.options import takes_records
from sluice.cli.session import (
    InOrganization,
    Session,
    organization_of,
    wanted_organization,
)
from sluice.wire.shapes.scripts import (
    InstallInput,
    ParameterInfo,
    ParameterType,
    Script,
    ScriptInput,
    ScriptPatch,
)

app = new_group("Registered scripts: list, create, show, update, delete and run them.")

_BODY_FILE = "body_file"
Key = Annotated[str, typer.Argument(metavar="KEY", help="Key (or id) of the script.")]
Definition = Annotated[
    Path,
    typer.Option(
        "--file",
        "-f",
        metavar="FILE",
        help="TOML with the script's fields; `body_file` names its text, beside the TOML.",
    ),
]


@app.command("list")
@takes_records
def list_scripts(*, where: InOrganization, session: Session) -> None:
    """List the scripts of an organization."""
    found = session.api.scripts.list(organization_of(session, where).id)
    if session.json:
        session.console.json(found)
        return
    if not found:
        session.console.hint(
            "No script is registered yet; `sluice script create -f script.toml` does."
        )
        return
    now = session.clock.now()
    session.console.table(
        ["KEY", "NAME", "PARAMETERS", "CHANGED", "LAST RUN"],
        [
            [
                item.key,
                item.name,
                " ".join(_short(parameter) for parameter in item.parameters) or "-",
                words.ago(item.updated_at, now),
                item.last_task_id or "-",
            ]
            for item in found
        ],
    )


@app.command("create")
@takes_records
def create(*, file: Definition, where: InOrganization, session: Session) -> None:
    """Register a script from a file."""
    body = ScriptInput.model_validate(definition_of(file))
    created = session.api.scripts.create(organization_of(session, where).id, body)
    _tell(session, created, f"Registered {created.key} ({created.id}).")
    session.console.hint(f"`sluice script run {created.key} --follow` starts it.")


@app.command("update")
@takes_records
def update(
    script: Key, *, file: Definition, where: InOrganization, session: Session
) -> None:
    """Change a script to what a file says; what the file does not name stays."""
    patch = ScriptPatch.model_validate(definition_of(file))
    found = find_script(session, script, where)
    changed = session.api.scripts.update(found.id, patch)
    _tell(session, changed, f"Changed {changed.key}; what runs already is not touched.")


@app.command("show")
@takes_records
def show(script: Key, *, where: InOrganization, session: Session) -> None:
    """Show a script: what runs it, and which parameters it takes."""
    found = find_script(session, script, where)
    if session.json:
        session.console.json(found)
        return
    session.console.facts(_facts(found, session))
    if found.parameters:
        session.console.line()
        session.console.table(
            ["PARAMETER", "TYPE", "DEFAULT", "DESCRIPTION"],
            [
                [item.name, _type(item), _default(item), item.description or "-"]
                for item in found.parameters
            ],
        )


@app.command("delete")
@takes_records
def delete(
    script: Key,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    where: InOrganization,
    session: Session,
) -> None:
    """Forget a script; its tasks and their logs stay."""
    found = find_script(session, script, where)
    if not yes:
        _be_sure(session, found)
    session.api.scripts.delete(found.id)
    if session.json:
        session.console.json({"id": found.id, "deleted": True})
        return
    session.console.good(f"Removed the script {found.key}.")


@app.command("run")
@takes_records
def run(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Key of the script.")],
    *,
    version: Annotated[
        str, typer.Option("--version", help="Reaches the script as VERSION.")
    ] = "",
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            "-p",
            metavar="NAME=VALUE",
            help="A declared parameter; may be repeated.",
        ),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            "-f",
            help="Watch it until it ends; then end with 0 if it succeeded, else with 1.",
        ),
    ] = False,
    where: InOrganization,
    session: Session,
) -> int:
    """Start a script by its key, on an agent; its task's id is printed."""
    values: dict[str, object] = dict(_parameters(param or []))
    fixed = {
        "key": key,
        "version": version,
        "organization": wanted_organization(session, where),
    }
    body = InstallInput.model_validate({**values, **fixed})
    task_id = session.api.scripts.start(body)
    if follow:
        session.console.say(f"Task {session.console.paint(task_id, 'bold')}, {key}")
        task = session.api.tasks.get(task_id)
        return follow_to_end(session, task, WatchOptions(json=session.json))
    if session.json:
        session.console.json({"task_id": task_id})
    else:
        session.console.line(task_id)
    session.console.hint(f"It goes on on the server: sluice logs -f {task_id}")
    return ExitCode.OK


def find_script(session: Session, wanted: str, where: InOrganization) -> Script:
    """The organization's script with this key or id.

    Raises:
        NotFoundError: there is none.
    """
    known = session.api.scripts.list(organization_of(session, where).id)
    for script in known:
        if wanted in {script.key, script.id}:
            return script
    keys = ", ".join(script.key for script in known) or "none"
    raise NotFoundError(f"There is no script {wanted!r}; there is {keys}.")


def definition_of(path: Path) -> dict[str, object]:
    """The fields that a file gives, with the text that it names."""
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} is no TOML: {error}.") from None
    named = fields.pop(_BODY_FILE, None)
    if named is None:
        return fields
    if not isinstance(named, str) or "body" in fields:
        raise InvalidInputError(
            f"{path}: {_BODY_FILE} names a file, and stands instead of body."
        )
    return {**fields, "body": (path.parent / named).read_text(encoding="utf-8")}


def _parameters(pairs: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InvalidInputError(f"--param {pair!r}: write it as name=value.")
        if name in {"key", "organization", "version"}:
            raise InvalidInputError(
                f"--param {name}: that is no parameter; there is an option of that name"
                " or the argument."
            )
        found[name] = value
    return found


def _tell(session: Session, script: Script, text: str) -> None:
    if session.json:
        session.console.json(script)
    else:
        session.console.good(text)


def _facts(script: Script, session: Session) -> list[tuple[str, str]]:
    now = session.clock.now()
    lines = words.count(len(script.body.splitlines()), "line")
    place = script.path or f"{lines} of text"
    limit = script.timeout_seconds
    labels = " ".join(f"{key}={value}" for key, value in sorted(script.labels.items()))
    facts = [
        ("Key", script.key),
        ("Name", script.name),
        ("Description", script.description),
        ("Runs", " ".join([*script.interpreter, place])),
        ("Time limit", words.duration(limit) if limit is not None else "none"),
        ("Agents of", script.pool_id or labels or "any pool"),
        ("Registered by", f"{script.created_by}, {words.ago(script.created_at, now)}"),
        ("Last run", script.last_task_id or "never"),
    ]
    return [(name, value) for name, value in facts if value]


def _short(parameter: ParameterInfo) -> str:
    return f"{parameter.name}*" if parameter.required else parameter.name


def _type(parameter: ParameterInfo) -> str:
    kind: str = parameter.type
    if parameter.type is ParameterType.ENUM:
        kind = "|".join(parameter.choices)
    return f"{kind}, sensitive" if parameter.sensitive else kind


def _default(parameter: ParameterInfo) -> str:
    if parameter.required:
        return "(required)"
    if parameter.sensitive:
        return "(set)" if parameter.has_default else "-"
    value = parameter.default
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _be_sure(session: Session, script: Script) -> None:
    console = session.console
    if session.json or not console.interactive:
        raise InvalidInputError(
            f"Removing {script.key} needs --yes where there is no terminal to ask at."
        )
    console.say(
        f"This removes the script {script.key}; its tasks and their logs stay. "
        "Nobody can start it any more."
    )
    with Interrupts() as interrupts:
        answer = ask(console, "Type the script's key to go on: ", interrupts=interrupts)
    if answer != script.key:
        raise InvalidInputError("Nothing was removed: the key was not repeated.")
