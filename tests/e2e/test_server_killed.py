"""The server is killed -9 five times while a task writes: nothing is lost or doubled."""

import json
import re
import time

from tests.e2e.stack import Viewer, output_of


def talking_until(stop) -> str:
    """A configuration whose apply prints numbered lines until the file ``stop`` is there."""
    script = (
        f'i=0; while [ ! -e "{stop}" ]; do i=$((i+1)); echo line $i $RANDOM;'
        " sleep 0.005; done"
    )
    return (
        'resource "terraform_data" "talk" {\n'
        '  provisioner "local-exec" {\n'
        '    interpreter = ["/bin/bash", "-c"]\n'
        f"    command = {json.dumps(script)}\n"
        "  }\n}\n"
        # with an output, all that terraform writes ends with a newline
        'output "said" { value = 1 }\n'
    )


def test_log_viewer_and_download_equal_what_the_process_wrote(stack):
    stop = stack.root / "enough"
    stack.tee_terraform()
    stack.start_server()
    stack.start_agent()
    workspace = stack.workspace("killed-server", auto_apply=True)
    stack.upload(workspace["id"], {"main.tf": talking_until(stop)})
    task = stack.task(workspace["id"], "plan_and_apply")
    viewer = Viewer(stack, task["id"])
    viewer.start()

    kills = 0
    try:
        deadline = time.monotonic() + 120
        while kills < 5 and time.monotonic() < deadline:
            seen = len(viewer.lines)
            time.sleep(0.2)
            if len(viewer.lines) > max(seen, 40):
                stack.server.kill9()
                kills += 1
                time.sleep(0.4)
                stack.start_server()
    finally:
        stop.touch()
    done = stack.until(task["id"], "success", seconds=120)
    viewer.join(60)

    assert kills == 5
    assert done["status"] == "success", done
    assert viewer.failure == ""
    assert viewer.completed == "success"
    assert viewer.repeated == 0
    assert viewer.connections >= kills + 1
    truth = stack.truth.read_bytes()
    numbers = [int(number) for number in re.findall(rb"line (\d+) \d+", truth)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 200
    assert viewer.output() == truth
    assert output_of(stack.raw(task["id"]), viewer) == truth
