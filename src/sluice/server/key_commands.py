"""The commands `sluice keys …`: new keys, and everything sealed anew under one."""

import json
import os
import pwd
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from sluice.auth.keyring import encode_key, new_master_key
from sluice.base.errors import InvalidInputError, UnavailableError
from sluice.cli.groups import new_group
from sluice.edge.logging import configure_logging
from sluice.server.commands import PRIVATE, Config, run_loop
from sluice.server.keys import KEY_FILE
from sluice.server.resealing import ResealDeps, Resealed, reseal_all
from sluice.server.settings import ServerSettings, load_settings

if TYPE_CHECKING:
    from sluice.server.parts import Parts

app = new_group("Make encryption keys, and seal what is stored anew.")


@app.command("new")
def new() -> None:
    """Print a new encryption key; nothing uses it before you set it."""
    typer.echo(encode_key(new_master_key()))


@app.command("rotate")
def rotate(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write JSON: one document.")
    ] = False,
    config: Config = None,
) -> None:
    """Seal everything that is stored anew under the present encryption key.

    Servers may run meanwhile, if all of them have the new key, and the old one in
    SLUICE_FORMER_ENCRYPTION_KEYS. It may be cut off and run again. Exit code 0: nothing
    is sealed with a former key any more; 1: something is.
    """
    settings = load_settings(config=config)
    _refuse_what_would_harm(settings)
    configure_logging(settings.log_format, "warning")
    os.umask(PRIVATE)
    done = run_loop(_rotate(settings))
    if as_json:
        typer.echo(json.dumps({**asdict(done), "done": done.done}))
    else:
        for line in _told(done):
            typer.echo(line)
    if not done.done:
        raise typer.Exit(1)


@app.command("rotate-issuer")
def rotate_issuer(
    *,
    at_once: Annotated[
        bool,
        typer.Option(
            "--at-once",
            help="Forget the present key now: somebody has seen it. Tokens of phases that "
            "run are refused from then on.",
        ),
    ] = False,
    config: Config = None,
) -> None:
    """Make a new key that signs identity tokens of tasks.

    Servers show it at once and sign with it in an hour, when others have fetched it. The
    present one is shown until its last token has expired.
    """
    settings = load_settings(config=config)
    _refuse_what_would_harm(settings)
    configure_logging(settings.log_format, "warning")
    os.umask(PRIVATE)
    made = run_loop(_rotate_issuer(settings, at_once=at_once))
    when = "from now on" if at_once else "in an hour"
    typer.echo(f"Key {made} signs identity tokens {when}.")


async def _rotate(settings: ServerSettings) -> Resealed:
    from sluice.auth.audit_store import SqlAuditLog

    async with _parts(settings) as parts:
        deps = ResealDeps(
            parts.database, parts.blobs, parts.keyring, SqlAuditLog(), parts.clock
        )
        return await reseal_all(deps, actor=_actor())


async def _rotate_issuer(settings: ServerSettings, *, at_once: bool) -> str:
    from sluice.auth.audit_store import SqlAuditLog
    from sluice.auth.workload_issuer import replace_keys, rotate_key
    from sluice.server.concepts import issuer_deps

    async with _parts(settings) as parts:
        deps = issuer_deps(parts)
        change = replace_keys if at_once else rotate_key
        return (await change(deps, audit=SqlAuditLog(), actor=_actor())).id


@asynccontextmanager
async def _parts(settings: ServerSettings) -> AsyncIterator["Parts"]:
    """What a server has, beside one that may run."""
    from sqlalchemy.exc import DBAPIError

    from sluice.db.migrate import require_current
    from sluice.server.parts import open_parts

    parts = open_parts(settings)
    try:
        await require_current(parts.database)
        yield parts
    except (DBAPIError, OSError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        reason = str(cause).strip().split("\n", 1)[0]
        raise UnavailableError(
            f"The database cannot be used ({reason}); run this again, and it goes on."
        ) from error
    finally:
        await parts.close()


def _refuse_what_would_harm(settings: ServerSettings) -> None:
    """A key made by this command opens nothing; files of another user lock the server out."""
    key_file = settings.data_dir / KEY_FILE
    if not settings.encryption_key.get_secret_value() and not key_file.exists():
        raise InvalidInputError(
            f"There is no encryption key: neither SLUICE_ENCRYPTION_KEY nor {key_file}; "
            "give the server's own settings."
        )
    for place in _local_places(settings):
        if place.exists() and place.stat().st_uid != os.geteuid():
            raise InvalidInputError(
                f"{place} belongs to {_user(place.stat().st_uid)}, and what this command "
                "writes there would be yours; run it as that user."
            )


def _local_places(settings: ServerSettings) -> Iterator[Path]:
    """Directories of this machine into which sealing anew writes."""
    blobs = urlsplit(settings.blob_url)
    if blobs.scheme == "file":
        yield Path(blobs.path)
    if not settings.blob_url or not settings.database_url:
        yield settings.data_dir


def _told(done: Resealed) -> Iterator[str]:
    for kind, number in done.counts.items():
        if number:
            yield f"sealed anew: {number} {kind.replace('_', ' ')}"
    for item in done.unreadable:
        yield f"unreadable: {item.name} ({item.whose}): {item.reason}"
    if done.done:
        yield "Nothing is sealed with a former key; SLUICE_FORMER_ENCRYPTION_KEYS may be emptied."
        return
    if done.unreadable:
        yield f"{len(done.unreadable)} values cannot be opened; keep the former keys."
    if not done.settled:
        yield (
            "Values keep coming in under a former key; restart every server with the new "
            "key first, then run this again."
        )


def _actor() -> str:
    return f"{_user(os.geteuid())} on {socket.gethostname()}"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
