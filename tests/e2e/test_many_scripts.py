"""The server is killed and started again under 50 running scripts."""

from tests.e2e.stack import counted, numbered, wait_for

TASKS = 50
LINES = 400


def test_a_server_restart_under_fifty_scripts_loses_and_doubles_nothing(stack, capsys):
    stack.start_server()
    stack.patch_pool(max_plan_concurrency=TASKS)
    stack.start_agent()
    stack.script("talk", numbered(LINES, 0.1))
    task_ids = [stack.install("talk") for _ in range(TASKS)]

    def running() -> bool:
        tasks = [stack.get(f"/tasks/{task_id}") for task_id in task_ids]
        return all(task["status"] == "running" for task in tasks)

    wait_for("all scripts to run", running, 180)
    stack.server.kill9()
    stack.start_server()
    ended = [stack.until(task_id, "success", seconds=240) for task_id in task_ids]

    counts = [counted(stack.raw(task_id), LINES) for task_id in task_ids]
    lost = sum(count.lost for count in counts)
    twice = sum(count.twice for count in counts)
    with capsys.disabled():
        print(
            f"\nserver killed under {TASKS} scripts: {TASKS * LINES} lines written,"
            f" {sum(count.found for count in counts)} stored, {lost} lost, {twice} twice"
        )
    assert [task["status"] for task in ended] == ["success"] * TASKS
    assert (lost, twice) == (0, 0)
