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
from sluice.runner.slots import (
    ROOM,
    SUSTAINED_SAMPLES,
    Load,
    PlanLimit,
    Sample,
    adapted,
    free_slots,
    load_of,
    plan_limit,
    poll_seconds,
)
from sluice.runner.status import StatusTree
from sluice.runner.workplace import products_of
from sluice.wire.agent import (
    CommandType,
    PhaseName,
    PingResponse,
    PoolInfo,
    RegisterResponse,
    Slots,
)


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


# --- a limit that follows the load ---------------------------------------------

HOT, COOL, WARM = Sample(0.9, 0.1), Sample(0.1, 0.1), Sample(0.8, 0.1)
FULL = Sample(0.1, 0.95)


def adaptive(maximum: int = 5) -> PoolInfo:
    return pool(maximum).model_copy(update={"adaptive_concurrency": True})


def after(*samples: Sample, limit: int = 3, rules: PoolInfo | None = None) -> int:
    """The limit after some samples, beginning with ``limit``."""
    rules = rules or adaptive()
    state = PlanLimit(limit)
    for sample in samples:
        state = adapted(state, rules, rules.max_plan_concurrency, sample)
    return state.limit


@pytest.mark.parametrize(
    ("samples", "limit"),
    [
        ([], 3),
        ([HOT] * (SUSTAINED_SAMPLES - 1), 3),
        ([HOT] * SUSTAINED_SAMPLES, 2),
        ([FULL] * SUSTAINED_SAMPLES, 2),
        ([HOT, FULL] * SUSTAINED_SAMPLES, 1),
        ([HOT] * 50, 1),
        ([COOL] * (SUSTAINED_SAMPLES - 1), 3),
        ([COOL] * SUSTAINED_SAMPLES, 4),
        ([COOL] * 50, 5),
        ([WARM] * 50, 3),
        ([HOT, HOT, WARM] * 20, 3),
        ([HOT, HOT, COOL] * 20, 3),
        ([HOT] * 6 + [COOL] * 3, 2),
    ],
)
def test_the_limit_follows_a_load_that_lasts(samples, limit):
    assert after(*samples) == limit


def test_only_a_pool_that_wants_it_has_the_limit_move():
    assert after(*[HOT] * 50, rules=pool(5)) == 5
    assert after(HOT, rules=pool(2)) == 2


def test_a_lower_maximum_holds_at_once():
    assert after(WARM, limit=5, rules=adaptive(2)) == 2
    assert after(*[COOL] * 50, limit=5, rules=adaptive(2)) == 2


_SHARE = st.floats(0, 1)
_SAMPLES = st.lists(st.builds(Sample, _SHARE, _SHARE), max_size=60)


@given(_SAMPLES, st.integers(1, 100), st.integers(1, 100), _SHARE, _SHARE)
def test_the_limit_stays_within_its_bounds_and_moves_by_one(
    samples, start, maximum, cpu, memory
):
    rules = adaptive(maximum).model_copy(
        update={"cpu_threshold": cpu, "mem_threshold": memory}
    )
    state = PlanLimit(min(start, maximum))
    for sample in samples:
        before = state.limit
        state = adapted(state, rules, maximum, sample)
        assert 1 <= state.limit <= maximum
        assert abs(state.limit - before) <= 1
        if state.limit < before:
            assert sample.cpu > cpu or sample.memory > memory
        if state.limit > before:
            assert sample.cpu < cpu * ROOM
            assert sample.memory < memory * ROOM


# --- versions that differ ------------------------------------------------------


def test_what_a_newer_server_adds_is_ignored():
    """Fields and orders that this agent does not know do not hide those it knows."""
    told = pool().model_dump() | {"mood": "good"}
    answer = PingResponse.model_validate(
        {
            "commands": [
                {"type": "dance", "tempo": 3},
                {"type": "drain", "reason": "ann", "mood": "good"},
            ],
            "pool": told,
            "token": "jwt",
            "token_expires_at": "2026-11-21T10:00:00Z",
            "mood": "good",
        }
    )
    assert [one.type for one in answer.commands] == [CommandType.DRAIN]
    registered = RegisterResponse.model_validate(
        {
            "agent_id": "agent-1",
            "token": "jwt",
            "token_expires_at": "2026-11-21T10:00:00Z",
            "pool": told,
            "server_time": "2026-11-21T10:00:00Z",
            "mood": "good",
        }
    )
    assert registered.pool == pool()


def test_what_an_older_server_leaves_out_has_defaults():
    """As told by a server that knows neither advice nor adaptive concurrency."""
    answer = PingResponse.model_validate(
        {
            "pool": {
                "pool_id": "pool-1",
                "name": "default",
                "max_plan_concurrency": 3,
                "allow_apply_concurrent": False,
            },
            "token": "jwt",
            "token_expires_at": "2026-11-21T10:00:00Z",
        }
    )
    assert (answer.advice, answer.commands) == ("", [])
    assert not answer.pool.adaptive_concurrency


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
        drain.asked_by_server(drain=wish, reason="ann: a disk")
        seen.append((drain.draining, drain.words))
    assert seen == [(True, "draining: ann: a disk"), (False, "")]
    drain.end()
    drain.asked_by_server(drain=False)
    assert (drain.draining, drain.words) == (True, "draining in order to end")
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


def test_the_loops_come_before_the_phases_in_the_tree(tmp_path):
    tree = StatusTree(tmp_path / "status.json", SystemClock())
    for name in ("phases/task-2", "pull", "phases/task-1", "ping"):
        tree.node(name).say(f"{name} works")
    names = [name for name, _, _ in tree.lines()]
    assert names == ["ping", "pull", "phases/task-1", "phases/task-2"]


def test_a_fact_without_a_value_goes(tmp_path):
    tree = StatusTree(tmp_path / "status.json", SystemClock())
    for value in ("", "upgrade"):
        tree.fact("advice", value)
    assert tree.snapshot()["advice"] == "upgrade"
    for _ in range(2):
        tree.fact("advice", "")
    assert "advice" not in tree.snapshot()


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
        ("[agent_labels]\n'a b' = 'x'", "a b"),
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
