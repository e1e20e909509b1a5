"""The server is killed -9 five times while a task writes: nothing is lost or doubled."""

import re
import time

from tests.e2e.stack import Viewer, output_of, talking


def test_log_viewer_and_download_equal_what_the_process_wrote(stack):
    stack.tee_terraform()
    stack.start_server()
    stack.start_agent()
    workspace = stack.workspace("killed-server", auto_apply=True)
    stack.upload(workspace["id"], {"main.tf": talking(2500, 0.005)})
    task = stack.task(workspace["id"], "plan_and_apply")
    viewer = Viewer(stack, task["id"])
    viewer.start()

    kills = 0
    while kills < 5:
        seen = len(viewer.lines)
        time.sleep(0.2)
        if len(viewer.lines) > max(seen, 40):
            stack.server.kill9()
            kills += 1
            time.sleep(0.4)
            stack.start_server()
    done = stack.until(task["id"], "success", seconds=120)
    viewer.join(60)

    assert done["status"] == "success", done
    assert viewer.failure == ""
    assert viewer.completed == "success"
    assert viewer.repeated == 0
    assert viewer.connections >= kills + 1
    truth = stack.truth.read_bytes()
    assert len(re.findall(rb"line \d+ of 2500 \d+", truth)) == 2500
    assert viewer.output() == truth
    assert output_of(stack.raw(task["id"]), viewer) == truth
