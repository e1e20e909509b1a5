from datetime import UTC, datetime

from sluice.cli.pool_commands import load_of
from sluice.wire.shapes.pools import Agent, AgentState

SEEN = Agent(
    id="agent-1",
    pool_id="pool-1",
    name="up",
    version="0.1.0",
    labels={},
    state=AgentState.BUSY,
    plan_tasks_running=1,
    plan_task_limit=3,
    apply_task_running=True,
    current_tasks=["task-1"],
    cpu_usage=0.838,
    mem_usage=0.05,
    last_seen_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def test_an_agent_that_is_away_shows_no_load() -> None:
    assert load_of(SEEN) == ["1/3", "yes", "84%", "5%"]
    away = SEEN.model_copy(update={"state": AgentState.OFFLINE})
    assert load_of(away) == ["-", "-", "-", "-"]
