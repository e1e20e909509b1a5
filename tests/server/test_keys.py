"""`sluice keys`: everything sealed anew, beside a server, cut off, and where something is broken."""

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Boolean, LargeBinary, update
from typing_extensions import override

from sluice.auth.audit_store import SqlAuditLog
from sluice.auth.keyring import KeyRing, encode_key, parse_key
from sluice.base.clock import SystemClock
from sluice.base.errors import InvalidInputError
from sluice.blobs.store import open_local_blobs
from sluice.db.engine import connection_of, open_database
from sluice.db.types import UtcDateTime
from sluice.server import sealed_places
from sluice.server.key_commands import rotate
from sluice.server.resealing import ResealDeps, Resealed, reseal_all
from sluice.testing.schema import declared_tables
from sluice.workspaces.tables import variables
from tests.agents.house import House
from tests.server.sealed_things import (
    COUNTS,
    Place,
    Things,
    filled_house,
    install,
    open_again,
    read_everything,
    work_of,
)

SOURCES = Path(sealed_places.__file__).parents[1]


def ring(*seeds: int) -> list[bytes]:
    """Keys that are told apart at a glance."""
    return [bytes([seed]) * 32 for seed in seeds]


OLD, NEW, LOST = ring(1, 2, 3)


@pytest.fixture
def place(tmp_path: Path, empty_database_url: str) -> Place:
    return Place(tmp_path / "server", empty_database_url)


async def keys(
    place: Place, *arguments: str, key: bytes, former: tuple[bytes, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """`sluice keys …` with the server's settings."""
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "sluice", "keys", *arguments],
        env=place.environment(key, *former),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@asynccontextmanager
async def deps_of(
    place: Place, *, keyring: KeyRing | None = None
) -> AsyncIterator[ResealDeps]:
    """What the command has, beside a server: a database and blobs of its own."""
    database = open_database(place.database_url)
    blobs = open_local_blobs(place.directory / "blobs")
    keyring = keyring or KeyRing([NEW, OLD])
    try:
        yield ResealDeps(database, blobs, keyring, SqlAuditLog(), SystemClock())
    finally:
        await database.close()


async def reseal(place: Place) -> Resealed:
    async with deps_of(place) as deps:
        return await reseal_all(deps, actor="ann")


def test_a_new_key_is_one() -> None:
    command = [sys.executable, "-m", "sluice", "keys", "new"]
    made = {
        subprocess.run(command, capture_output=True, check=True, text=True).stdout
        for _ in range(2)
    }
    assert len(made) == 2
    for text in made:
        assert text.endswith("\n")
        parse_key(text)


async def test_after_a_rotation_the_former_key_is_not_needed(place: Place) -> None:
    async with filled_house(place.settings(OLD)) as (_, things):
        pass
    done = await keys(place, "rotate", "--json", key=NEW, former=(OLD,))
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said == {
        "counts": COUNTS,
        "unreadable": [],
        "settled": True,
        "done": True,
    }
    again = await keys(place, "rotate", key=NEW, former=(OLD,))
    assert (again.returncode, "sealed anew" in again.stdout) == (0, False)
    assert "may be emptied" in again.stdout
    alone = await keys(place, "rotate", key=NEW)
    assert alone.returncode == 0

    async with open_again(place.settings(NEW), things) as house:
        await read_everything(house, things)
        log = await house.admin.get("/audit?action=keys.rotate")
    assert log["total"] == 3
    first = log["entries"][2]
    assert re.fullmatch(r"\S+ on \S+", first["actor"])
    assert first["detail"] == {
        **{kind: str(number) for kind, number in COUNTS.items()},
        "unreadable": "0",
        "former_keys_needed": "no",
    }


async def test_what_cannot_be_opened_is_named_and_the_rest_goes_on(
    place: Place,
) -> None:
    async with filled_house(place.settings(LOST)) as (house, things):
        lost = await house.admin.get(f"/workspaces/{things.workspace}")
    async with open_again(place.settings(OLD, LOST), things) as house:
        body = {"key": "readable", "value": "x", "sensitive": True}
        await house.admin.post(
            f"/workspaces/{things.workspace}/variables", body, expect=201
        )
    blob = place.directory / "blobs" / "states" / things.states[0]
    blob.unlink()
    done = await keys(place, "rotate", "--json", key=NEW, former=(OLD,))
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["counts"] == {**dict.fromkeys(COUNTS, 0), "variables": 1}
    assert (said["settled"], said["done"]) == (True, False)
    named = {item["name"]: item for item in said["unreadable"]}
    assert len(named) == len(said["unreadable"]) == sum(COUNTS.values())
    variable = named[f"variable:{things.variable}"]
    assert variable["kind"] == "variables"
    assert variable["whose"] == (
        f"variables {things.variable}, key secret, workspace_id {lost['id']}"
    )
    assert "SLUICE_FORMER_ENCRYPTION_KEYS" in variable["reason"]
    assert "missing" in named[f"state:{things.states[0]}"]["reason"]
    assert f"script-default:{things.script}:TOKEN" in named

    told = await keys(place, "rotate", key=NEW, former=(OLD,))
    assert told.returncode == 1
    assert f"unreadable: plan:{things.planned} (tasks {things.planned}" in told.stdout
    assert "keep the former keys" in told.stdout
    whole = await keys(place, "rotate", "--json", key=NEW, former=(OLD, LOST))
    assert whole.returncode == 1
    assert [item["name"] for item in json.loads(whole.stdout)["unreadable"]] == [
        f"state:{things.states[0]}"
    ]


async def test_settings_that_are_not_the_servers_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLUICE_ENCRYPTION_KEY", "SLUICE_CONFIG", "SLUICE_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("SLUICE_DATA_DIR", str(tmp_path / "none"))
    with pytest.raises(InvalidInputError, match=r"no encryption key.*encryption\.key"):
        rotate(as_json=False)
    assert not (tmp_path / "none").exists()

    (tmp_path / "none").mkdir()
    monkeypatch.setenv("SLUICE_ENCRYPTION_KEY", encode_key(NEW))
    monkeypatch.setattr("os.geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(InvalidInputError, match="run it as that user"):
        rotate(as_json=False)


class CutOff(KeyRing):
    """A ring that stops the whole at its nth value."""

    def __init__(self, masters: list[bytes], at: int) -> None:
        super().__init__(masters)
        self.left = at
        self.whole: asyncio.Task[Any] | None = asyncio.current_task()
        self.loop = asyncio.get_running_loop()

    @override
    def reseal(self, sealed: bytes, aad: str) -> bytes:
        self.left -= 1
        if self.left == 0 and self.whole is not None:
            self.loop.call_soon_threadsafe(self.whole.cancel)
        return super().reseal(sealed, aad)


async def cut_off(place: Place, at: int) -> None:
    keyring = CutOff([NEW, OLD], at)
    async with deps_of(place, keyring=keyring) as deps:
        await reseal_all(deps, actor="ann")


async def test_a_rotation_may_be_cut_off_and_run_again(place: Place) -> None:
    async with filled_house(place.settings(OLD)) as (_, things):
        pass
    for at in (1, 3, 4, 2):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(cut_off(place, at))
            await asyncio.wait([task])
        assert task.cancelled()
    # both keys are needed now, and enough
    async with open_again(place.settings(NEW, OLD), things) as house:
        log = await house.admin.get("/audit?action=keys.")
        for version in things.states:
            await house.admin.get(f"/state-versions/{version}/download")
    assert log["total"] == 4
    assert {entry["detail"]["former_keys_needed"] for entry in log["entries"]} == {
        "yes"
    }
    done = await reseal(place)
    assert done.done
    assert 0 < sum(done.counts.values()) < sum(COUNTS.values())
    async with open_again(place.settings(NEW), things) as house:
        await read_everything(house, things)


# --- beside a server that writes -------------------------------------------------------


class Held(KeyRing):
    """A ring that waits at some values, after they were read, until it is let go."""

    def __init__(self, masters: list[bytes], names: Sequence[str]) -> None:
        super().__init__(masters)
        self.reached = {name: threading.Event() for name in names}
        self.go = {name: threading.Event() for name in names}

    @override
    def reseal(self, sealed: bytes, aad: str) -> bytes:
        if aad in self.reached:
            self.reached[aad].set()
            assert self.go[aad].wait(60)
        return super().reseal(sealed, aad)

    @asynccontextmanager
    async def at(self, name: str) -> AsyncIterator[None]:
        """The block runs after the value was read, and before it is put back."""
        assert await asyncio.to_thread(self.reached[name].wait, 60)
        yield
        self.go[name].set()


@asynccontextmanager
async def held_rotation(
    place: Place, *names: str, ended: list[Resealed]
) -> AsyncIterator[Held]:
    """A rotation that waits at these values; where it ends, so does the block."""
    keyring = Held([NEW, OLD], names)
    async with deps_of(place, keyring=keyring) as deps, asyncio.TaskGroup() as group:
        task = group.create_task(reseal_all(deps, actor="ann"))
        try:
            yield keyring
        finally:
            for event in keyring.go.values():
                event.set()
        ended.append(await task)


@asynccontextmanager
async def filled_under_old(place: Place) -> AsyncIterator[tuple[House, Things]]:
    """A server with the new key first, over values that the former one has sealed."""
    async with filled_house(place.settings(OLD)) as (_, things):
        pass
    async with open_again(place.settings(NEW, OLD), things) as house:
        yield house, things


async def test_what_a_server_writes_meanwhile_stays(place: Place) -> None:
    ended: list[Resealed] = []
    async with filled_under_old(place) as (house, things):
        variable = f"variable:{things.variable}"
        default = f"script-default:{things.script}:TOKEN"
        async with held_rotation(place, variable, default, ended=ended) as held:
            async with held.at(variable):
                path = f"/workspaces/{things.workspace}/variables/{things.variable}"
                await house.admin.ask("PATCH", path, json={"value": "newer"})
            async with held.at(default):
                hidden = {"sensitive": True}
                parameters = [
                    {"name": "LICENSE", **hidden},
                    {"name": "TOKEN", "default": "newer", **hidden},
                ]
                path = f"/scripts/{things.script}"
                await house.admin.ask("PATCH", path, json={"parameters": parameters})
    assert ended[0].done
    async with open_again(place.settings(NEW), things) as house:
        await install(house)
        jobs = await work_of(house, 3)
        environments = [job.order["script"] for job in jobs if "script" in job.order]
        tokens = [one["environment"]["TOKEN"] for one in environments if one]
        assert sorted(tokens) == ["def-456", "newer"]
        await house.admin.post(f"/tasks/{things.planned}/confirm")
        apply = await house.work()
        values = {item["key"]: item["value"] for item in apply.order["variables"]}
        assert values == {"secret": "newer", "run": "planned"}


async def test_a_blob_that_is_deleted_meanwhile_does_not_come_back(
    place: Place,
) -> None:
    ended: list[Resealed] = []
    async with filled_under_old(place) as (house, things):
        await house.admin.post(f"/tasks/{things.planned}/discard")
        blobs = place.directory / "blobs"
        assert list(blobs.glob("states/*"))
        state = f"state:{things.states[0]}"
        async with (
            held_rotation(place, state, ended=ended) as held,
            held.at(state),
        ):
            await house.admin.ask(
                "DELETE", f"/workspaces/{things.workspace}?force=true", expect=204
            )
    assert ended[0].unreadable == []
    assert ended[0].done
    assert list(blobs.glob("states/*")) == []
    assert list(blobs.glob("plans/*/*/*")) == []


async def test_a_server_without_the_new_key_is_noticed(place: Place) -> None:
    """One seals with the former key for as long as it runs."""
    async with filled_under_old(place) as (_, things):
        stale = asyncio.Event()

        async def seal_with_the_former_key() -> None:
            former = KeyRing([OLD])
            name = f"variable:{things.variable}"
            async with deps_of(place) as deps:
                while not stale.is_set():
                    async with deps.database.write() as tx:
                        await connection_of(tx).execute(
                            update(variables).values(sealed=former.seal(b"x", name))
                        )
                    await asyncio.sleep(0.002)

        async with asyncio.TaskGroup() as group:
            group.create_task(seal_with_the_former_key())
            done = await reseal(place)
            stale.set()
        assert not done.settled
        assert not done.done
        assert done.unreadable == []
        again = await reseal(place)
        assert again.done


# --- nothing is forgotten --------------------------------------------------------------


def test_every_place_that_seals_is_known() -> None:
    """Who seals something new says where it lies, in `server/sealed_places.py`."""
    seals = re.compile(r"keyring\.seal\b")
    found = {
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob("*.py")
        if seals.search(path.read_text())
    }
    assert found == {
        "auth/issuer_keys.py",
        "notifications/sealing.py",
        "runtasks/sealing.py",
        "scripts/sealing.py",
        "state/sealing.py",
        "tasks/order.py",
        "tasks/task_data.py",
        "workspaces/sealing.py",
    }


def test_every_sealed_column_is_known() -> None:
    places = (*sealed_places.COLUMNS, *sealed_places.BLOBS)
    known = {place.column for place in places}
    declared = {
        column
        for table in declared_tables().tables.values()
        for column in table.columns
        if "seal" in column.name and not isinstance(column.type, Boolean | UtcDateTime)
    }
    assert declared <= known
    # the only other bytes are lines of logs, which are masked before they come
    plain = {
        f"{column.table.name}.{column.name}"
        for table in declared_tables().tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary) and column not in known
    }
    assert plain == {"log_chunks.data", "log_chunks.meta", "late_output_parts.data"}
    assert {place.kind for place in places} == set(COUNTS)
