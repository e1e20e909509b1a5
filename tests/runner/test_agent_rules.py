"""What an agent has room for, how it waits, and how its settings are read."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.base.clock import SystemClock
from sluice.base.errors import InvalidInputError
from sluice.runner import status as status_module
from sluice.runner.backoff import Backoff, jittered
from sluice.runner.drain import Drain
from sluice.runner.settings import load_settings, terraform_environment
from sluice.runner.slots import Load, free_slots, load_of, plan_limit, poll_seconds
from sluice.runner.status import StatusTree
from sluice.runner.workplace import products_of
from sluice.wire.agent import PhaseName, PoolInfo, Slots


def pool(plans: int = 3, *, concurrent: bool = False) -> PoolInfo:
    return PoolInfo(
        pool_id="pool-1",
        name="default",
        max_plan_concurrency=plans,
        allow_apply_concurrent=concurrent,
    )


@pytest.mark.parametrize(
    ("load", "concurrent", "room"),
    [
        (Load(), False, Slots(plan=3, apply=1)),
        (Load(plans=2), False, Slots(plan=1, apply=1)),
        (Load(plans=3), False, Slots(plan=0, apply=1)),
        (Load(plans=5), False, Slots(plan=0, apply=1)),
        (Load(applies=1), False, Slots()),
        (Load(plans=1, applies=1), False, Slots()),
        (Load(applies=1), True, Slots(plan=3, apply=0)),
        (Load(plans=3, applies=1), True, Slots()),
    ],
)
def test_an_apply_is_alone_unless_the_pool_allows_more(load, concurrent, room):
    assert free_slots(pool(concurrent=concurrent), 3, load) == room


def test_scripts_count_as_plans():
    phases = [PhaseName.SCRIPT, PhaseName.PLAN, PhaseName.APPLY]
    assert load_of(phases) == Load(plans=2, applies=1)


def test_the_lower_limit_holds():
    assert plan_limit(pool(3), None) == 3
    assert plan_limit(pool(3), 2) == 2
    assert plan_limit(pool(3), 10) == 3


def test_a_poll_for_a_part_of_the_slots_is_asked_again_soon():
    assert poll_seconds(Slots(plan=3, apply=1), 3) == 30
    assert poll_seconds(Slots(plan=2, apply=1), 3) == 5
    assert poll_seconds(Slots(plan=3, apply=0), 3) == 5


@given(st.floats(0.01, 5), st.floats(5, 60))
def test_delays_grow_to_their_ceiling_with_jitter(first, ceiling):
    backoff = Backoff(first, ceiling)
    delays = [backoff.delay() for _ in range(20)]
    assert first / 2 <= delays[0] <= first
    assert all(delay <= ceiling for delay in delays)
    assert delays[-1] >= ceiling / 2
    backoff.reset()
    assert backoff.delay() <= first
    assert 9 <= jittered(10) <= 11


async def test_drain_by_the_server_can_be_taken_back_but_not_that_of_a_signal():
    drain = Drain(asyncio.Event())
    seen = []
    for wish in (True, False):
        drain.asked_by_server(drain=wish)
        seen.append(drain.draining)
    drain.end()
    drain.asked_by_server(drain=False)
    assert [*seen, drain.draining] == [True, False, True]
    assert not drain.leaving.is_set()
    drain.leave()
    assert drain.leaving.is_set()


async def test_status_is_written_when_it_changes_and_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(status_module, "WRITE_SECONDS", 0.05)
    path = tmp_path / "status.json"
    tree = StatusTree(path, SystemClock())
    async with asyncio.TaskGroup() as group:
        writer = group.create_task(tree.run())
        node = tree.node("phases/task-1")
        node.say("applying")
        await asyncio.sleep(0.02)
        first = json.loads(path.read_text())["loops"]["phases/task-1"]
        assert first["doing"] == "applying"
        node.say("applying")
        await asyncio.sleep(0.1)
        assert json.loads(path.read_text())["loops"]["phases/task-1"] == first
        node.close()
        writer.cancel()
    assert json.loads(path.read_text())["loops"] == {}
    assert path.stat().st_mode & 0o077 == 0


async def test_a_status_that_cannot_be_written_is_no_fault(tmp_path):
    tree = StatusTree(tmp_path / "missing" / "status.json", SystemClock())
    tree.node("x").say("y")
    tree.write()


# --- settings -----------------------------------------------------------------


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("SLUICE_URL", "SLUICE_POOL_TOKEN", "SLUICE_AGENT_NAME"):
        monkeypatch.delenv(name, raising=False)


def test_command_line_beats_environment_beats_file(tmp_path, monkeypatch):
    file = tmp_path / "agent.toml"
    file.write_text(
        'agent_name = "file"\nagent_plan_limit = 2\nurl = "https://file.example"\n'
        '[agent_labels]\nregion = "idc1"\n'
    )
    monkeypatch.setenv("SLUICE_AGENT_NAME", "environment")
    monkeypatch.setenv("SLUICE_URL", "https://environment.example/")
    read = load_settings({"agent_name": "line", "url": None}, config=file)
    assert read.agent_name == "line"
    assert read.url == "https://environment.example"
    assert read.agent_plan_limit == 2
    assert read.agent_labels == {"region": "idc1"}
    assert load_settings({}, config=file).agent_name == "environment"


def test_the_default_file_need_not_be_there_but_a_named_one_must(tmp_path):
    assert load_settings({}).url.startswith("http")
    with pytest.raises(InvalidInputError, match=r"no settings file .*missing\.toml"):
        load_settings({}, config=tmp_path / "missing.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("agent_nme = 'x'", "agent_nme"),
        ("agent_plan_limit = 0", "SLUICE_AGENT_PLAN_LIMIT"),
        ("url = 'ftp://x'", "no address of a server"),
        ("agent_labels = 'region'", "region=idc1"),
        ("agent_name = ", "cannot be read"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, text, said):
    file = tmp_path / "agent.toml"
    file.write_text(text)
    with pytest.raises(InvalidInputError) as refused:
        load_settings({}, config=file)
    assert said in refused.value.detail


def test_labels_from_the_environment(monkeypatch):
    monkeypatch.setenv("SLUICE_AGENT_LABELS", "region=idc1, disk=fast")
    assert load_settings({}).agent_labels == {"region": "idc1", "disk": "fast"}


def test_the_pool_token_may_lie_in_a_file(tmp_path):
    file = tmp_path / "token"
    file.write_text("slp_secret\n")
    assert load_settings({"pool_token_file": file}).token == "slp_secret"
    with pytest.raises(InvalidInputError, match="cannot be read"):
        _ = load_settings({"pool_token_file": tmp_path / "none"}).token


def test_the_pool_token_does_not_show_where_settings_are_shown():
    assert "hush" not in repr(load_settings({"pool_token": "hush"}))


def test_terraform_sees_no_settings_of_ours(monkeypatch):
    monkeypatch.setenv("SLUICE_POOL_TOKEN", "hush")
    monkeypatch.setenv("AWS_REGION", "eu-1")
    seen = terraform_environment()
    assert "hush" not in seen.values()
    assert seen["AWS_REGION"] == "eu-1"


def test_a_key_file_replaces_the_built_in_key(tmp_path):
    file = tmp_path / "key.asc"
    file.write_bytes(b"key")
    own = products_of(load_settings({"terraform_signing_key": file}))
    assert own["terraform"].key == b"key"
    assert b"BEGIN PGP" in own["opentofu"].key
    with pytest.raises(InvalidInputError, match="signing key"):
        products_of(load_settings({"terraform_signing_key": tmp_path / "none"}))


def test_every_setting_says_what_it_is_for():
    from sluice.runner.settings import AgentSettings

    for name, field in AgentSettings.model_fields.items():
        assert field.description, name
