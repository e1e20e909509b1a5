"""The real terraform keeps its state here by its `http` backend."""

import asyncio
import json
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn

from sluice.db.engine import Database
from sluice.state.actions import current_state, read_state
from sluice.testing.processes import free_port
from sluice.wire.shapes.workspaces import LockHolderKind
from tests.conftest import Backing
from tests.workspaces.rig import WS, Rig, build_rig

pytestmark = pytest.mark.skipif(
    shutil.which("terraform") is None, reason="terraform is not on the PATH"
)

MAIN = """
terraform {
  backend "http" {
    address        = "%(address)s"
    lock_address   = "%(address)s"
    lock_method    = "LOCK"
    unlock_address = "%(address)s"
    unlock_method  = "UNLOCK"
    username       = "%(user)s"
    password       = "%(user)s"
  }
}
variable "gate" { default = "" }
resource "terraform_data" "hello" {
  input = "world"
  provisioner "local-exec" {
    command = "test -z '${var.gate}' || (touch ${var.gate}.in; while test ! -e ${var.gate}; do sleep 0.05; done)"
  }
}
output "hello" { value = terraform_data.hello.output }
output "secret" {
  value     = "hunter2"
  sensitive = true
}
"""


@dataclass(frozen=True, slots=True)
class Terraform:
    """One user's terraform in a directory of their own."""

    directory: Path

    @asynccontextmanager
    async def started(
        self, *arguments: str
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """A running terraform; its process group is killed at the end."""
        config = self.directory / "terraformrc"
        config.touch()
        process = await asyncio.create_subprocess_exec(
            "terraform",
            *arguments,
            cwd=self.directory,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.directory),
                "TF_CLI_CONFIG_FILE": str(config),
                "TF_IN_AUTOMATION": "1",
                "CHECKPOINT_DISABLE": "1",
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of a finished terraform."""
        async with self.started(*arguments, "-no-color") as process:
            output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def ok(self, *arguments: str) -> str:
        code, output = await self.run(*arguments)
        assert code == 0, output
        return output


@dataclass(frozen=True, slots=True)
class Site:
    """The server on a loopback port."""

    rig: Rig
    address: str
    directory: Path

    async def terraform(self, user: str) -> Terraform:
        """An initialized directory of this user."""
        directory = self.directory / user
        directory.mkdir()
        (directory / "main.tf").write_text(
            MAIN % {"address": self.address, "user": user}
        )
        terraform = Terraform(directory)
        await terraform.ok("init")
        return terraform

    async def lock_kind(self) -> LockHolderKind | None:
        async with self.rig.transactions.read() as tx:
            workspace = await self.rig.stores.workspaces.get(tx, WS)
        assert workspace is not None
        return None if workspace.lock is None else workspace.lock.kind


@pytest.fixture
async def site(sqlite_database: Database, tmp_path: Path) -> AsyncIterator[Site]:
    rig = await build_rig(Backing("sqlite", sqlite_database), tmp_path)
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(rig.app, port=port, log_level="warning", ws="none")
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        base = f"http://127.0.0.1:{port}/api/v1"
        yield Site(rig, f"{base}/workspaces/{WS}/state-backend", tmp_path)
        server.should_exit = True


def goes_on(process: asyncio.subprocess.Process) -> bool:
    return process.returncode is None


async def until(path: Path) -> None:
    async with asyncio.timeout(30):
        while not path.exists():
            await asyncio.sleep(0.02)


async def test_terraform_applies_changes_and_destroys(site: Site) -> None:
    ann = await site.terraform("ann")
    await ann.ok("apply", "-auto-approve")
    version = await current_state(site.rig.states, workspace_id=WS)
    assert version is not None
    assert version.resource_count == 1
    assert version.created_by == "ann"
    content = await read_state(site.rig.states, state_version_id=version.id)
    assert json.loads(content)["outputs"]["hello"]["value"] == "world"
    assert await site.lock_kind() is None
    assert "No changes" in await ann.ok("plan")
    assert json.loads(await ann.ok("output", "-json", "hello")) == "world"

    bob = await site.terraform("bob")
    assert "terraform_data.hello" in await bob.ok("state", "list")
    assert '"world"' in await bob.ok("output")
    await bob.ok("destroy", "-auto-approve")
    after = await current_state(site.rig.states, workspace_id=WS)
    assert after is not None
    assert after.resource_count == 0
    assert after.serial > version.serial
    assert after.lineage == version.lineage
    assert not list(site.directory.glob("*/*.tfstate"))


async def test_a_second_terraform_waits_for_the_first(site: Site) -> None:
    ann, bob = await site.terraform("ann"), await site.terraform("bob")
    gate = site.directory / "gate"
    async with ann.started(
        "apply", "-auto-approve", f"-var=gate={gate}", "-no-color"
    ) as applying:
        await until(Path(f"{gate}.in"))
        assert await site.lock_kind() is LockHolderKind.TERRAFORM
        code, output = await bob.run("plan", "-lock-timeout=0s")
        assert code == 1
        assert "Error acquiring the state lock" in output
        async with bob.started("plan", "-lock-timeout=60s", "-no-color") as waiting:
            await asyncio.sleep(0.5)
            assert goes_on(waiting)
            gate.touch()
            output_of_first, _ = await applying.communicate()
            assert applying.returncode == 0, output_of_first.decode()
            seen, _ = await waiting.communicate()
            assert waiting.returncode == 0, seen.decode()
    assert await site.lock_kind() is None


async def test_the_lock_of_a_killed_terraform_is_broken_by_force(site: Site) -> None:
    ann, bob = await site.terraform("ann"), await site.terraform("bob")
    gate = site.directory / "gate"
    async with ann.started("apply", "-auto-approve", f"-var=gate={gate}"):
        await until(Path(f"{gate}.in"))
    assert await site.lock_kind() is LockHolderKind.TERRAFORM
    code, output = await bob.run("plan", "-lock-timeout=0s")
    assert code == 1
    shown = re.search(r"ID:\s+(\S+)", output)
    assert shown is not None
    unlocked = await bob.ok("force-unlock", "-force", shown[1])
    assert "successfully unlocked" in unlocked
    assert await site.lock_kind() is None
    await bob.ok("apply", "-auto-approve")


async def test_terraform_is_kept_out_while_a_person_holds_the_lock(site: Site) -> None:
    bob = await site.terraform("bob")
    async with site.rig.client("ann") as client:
        await client.post(f"/workspaces/{WS}/lock", json={"reason": "surgery"})
        code, output = await bob.run("apply", "-auto-approve", "-lock-timeout=0s")
        assert code == 1
        assert "Error acquiring the state lock" in output
        code, _ = await bob.run("apply", "-auto-approve", "-lock=false")
        assert code == 1
        assert (await client.post(f"/workspaces/{WS}/unlock")).is_success
    await bob.ok("apply", "-auto-approve")


async def test_a_state_is_moved_in_and_an_old_one_is_not_pushed(site: Site) -> None:
    ann = await site.terraform("ann")
    await ann.ok("apply", "-auto-approve")
    old = ann.directory / "old.json"
    old.write_text(await ann.ok("state", "pull"))
    await ann.ok("apply", "-auto-approve", "-replace=terraform_data.hello")
    newer = await current_state(site.rig.states, workspace_id=WS)
    code, output = await ann.run("state", "push", str(old))
    assert code == 1
    assert "serial" in output
    assert await current_state(site.rig.states, workspace_id=WS) == newer


async def test_a_wrong_token_is_said(site: Site) -> None:
    directory = site.directory / "eve"
    directory.mkdir()
    text = MAIN % {"address": site.address, "user": "task"}
    (directory / "main.tf").write_text(text)
    code, output = await Terraform(directory).run("init")
    assert code == 1
    assert "invalid auth" in output
