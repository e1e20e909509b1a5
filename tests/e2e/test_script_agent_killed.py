"""The agent is killed -9 in the middle of a script: the script ends by itself, once."""

from tests.e2e.stack import Viewer, counted, numbered, wait_for

LINES = 400


def test_lines_and_exit_code_arrive_after_the_agent_restarts(stack, capsys):
    stack.start_server()
    stack.start_agent()
    ran = stack.root / "ran"
    body = f'echo once >> "{ran}"\n' + numbered(LINES, 0.02) + "exit 7\n"
    stack.script("talk", body)
    task_id = stack.install("talk")
    viewer = Viewer(stack, task_id)
    viewer.start()
    wait_for("the first lines", lambda: len(viewer.lines) > 20)

    stack.agent.kill9()
    stack.start_agent()
    done = stack.until(task_id, "failed")
    viewer.join(30)

    count = counted(stack.raw(task_id), LINES)
    seen = counted(viewer.output(), LINES)
    with capsys.disabled():
        print(f"\nagent killed during a script: stored {count}, seen {seen}")
    assert done["status"] == "failed"
    assert done["exit_code"] == 7
    assert "7" in done["error"]
    assert ran.read_text() == "once\n"
    assert (count.lost, count.twice) == (0, 0)
    assert (seen.lost, seen.twice) == (0, 0)
