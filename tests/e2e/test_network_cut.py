"""The network between agent and server swallows every byte for 30 s, both ways, half open."""

import time

from tests.e2e.cutting_proxy import CuttingProxy
from tests.e2e.stack import Viewer, counted, numbered, wait_for

LINES = 1500
CUT_SECONDS = 30.0


def test_thirty_seconds_without_a_network_lose_nothing(stack, capsys):
    stack.start_server()
    proxy = CuttingProxy(stack.port)
    proxy.start()
    try:
        stack.start_agent(SLUICE_URL=proxy.url)
        stack.script("talk", numbered(LINES, 0.03))
        task_id = stack.install("talk")
        viewer = Viewer(stack, task_id)
        viewer.start()
        wait_for("the first lines", lambda: len(viewer.lines) > 20)

        proxy.cut()
        time.sleep(1.0)  # what was under way has arrived or never will
        before = len(viewer.lines)
        time.sleep(CUT_SECONDS)
        during = len(viewer.lines) - before
        proxy.heal()
        done = stack.until(task_id, "success", seconds=180)
        viewer.join(60)
    finally:
        proxy.close()

    count = counted(stack.raw(task_id), LINES)
    seen = counted(viewer.output(), LINES)
    with capsys.disabled():
        print(
            f"\nnetwork cut for {CUT_SECONDS:.0f} s: {during} lines during the cut,"
            f" {proxy.swallowed_bytes} bytes swallowed; stored {count}, seen {seen}"
        )
    assert done["status"] == "success", done
    assert during == 0
    assert (count.lost, count.twice) == (0, 0)
    assert (seen.lost, seen.twice) == (0, 0)
