"""Agent and viewer at different servers that share PostgreSQL, Redis and a bucket."""

import base64
import secrets

from tests.e2e.stack import Stack, Viewer, output_of, talking, wait_for


def test_a_viewer_elsewhere_sees_every_line_live(
    tmp_path, empty_postgres_url, redis_url, s3_endpoint, s3_bucket
):
    shared = {
        "SLUICE_DATABASE_URL": empty_postgres_url,
        "SLUICE_REDIS_URL": redis_url,
        "SLUICE_AUTO_MIGRATE": "true",
        "SLUICE_ENCRYPTION_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "SLUICE_BLOB_URL": f"s3://{s3_bucket}",
        "SLUICE_S3_ENDPOINT": s3_endpoint,
        "SLUICE_S3_REGION": "us-east-1",
        "SLUICE_S3_ACCESS_KEY_ID": "test",
        "SLUICE_S3_SECRET_ACCESS_KEY": "test",
        "SLUICE_S3_ALLOW_HTTP": "true",
    }
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one = Stack(tmp_path / "one", **shared)
    two = Stack(tmp_path / "two", **shared)
    one.tee_terraform()
    try:
        one.start_server()
        two.token = one.token
        two.start_server()
        one.start_agent()
        workspace = one.workspace("shared", auto_apply=True)
        one.upload(workspace["id"], {"main.tf": talking(300, 0.01)})
        task = one.task(workspace["id"], "plan_and_apply")
        viewer = Viewer(two, task["id"])
        viewer.start()
        wait_for(
            "output of the apply at the other server",
            lambda: any("local-exec" in line[3] for line in viewer.lines.values()),
        )
        assert one.get(f"/tasks/{task['id']}")["status"] == "running"
        assert one.server is not None
        one.server.kill9()
        one.start_server()
        done = two.until(task["id"], "success")
        viewer.join(30)
        assert done["status"] == "success", done
        assert viewer.failure == ""
        assert viewer.connections == 1
        truth = one.truth.read_bytes()
        assert viewer.output() == truth
        assert output_of(one.raw(task["id"]), viewer) == truth
    finally:
        one.close()
        two.close()
