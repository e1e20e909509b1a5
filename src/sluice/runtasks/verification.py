"""The verification call: what a service answers to a made-up question, before it is relied on.

It is HCP Terraform's, field by field: services know it by its access token, and many decode
every field strictly, so that none may be empty.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sluice.base.errors import SluiceError
from sluice.base.ids import RunTaskId
from sluice.runtasks.actions import RunTaskDeps, get_run_task, note
from sluice.runtasks.model import RunTask
from sluice.runtasks.sealing import key_of
from sluice.runtasks.signing import headers_for
from sluice.wire.run_task import TEST_TOKEN, encode_payload, instant

OK = 200
SECONDS = 20.0
"""Less than clients of this server wait for an answer."""
_WORD = "test"
_NOBODY = "x" * 16
_REPOSITORY = "https://github.com/test-org/test-repo"


@dataclass(frozen=True, slots=True)
class Verified:
    """What a service answered; only 200 is right."""

    status_code: int

    @property
    def ok(self) -> bool:
        """Whether the service may be relied on."""
        return self.status_code == OK

    @property
    def message(self) -> str:
        """What the answer means, for people."""
        if self.ok:
            return "The service took the verification call."
        if self.status_code in {401, 403}:
            return (
                f"The service answered {self.status_code}: it does not take the signature;"
                " check that both sides have the same HMAC key."
            )
        if 300 <= self.status_code < 400:
            return (
                f"The service answered {self.status_code}; redirects are not followed, so"
                " give the address that it leads to."
            )
        return (
            f"The service answered {self.status_code}; a verification call wants 200."
        )


async def verify_run_task(
    deps: RunTaskDeps, *, run_task_id: RunTaskId, actor: str
) -> Verified:
    """Send the verification call, signed like any other; nothing of its answer is kept.

    Raises:
        NotFoundError: there is no such run task.
        SluiceError: the service could not be reached; the detail says why.
    """
    run_task = await get_run_task(deps, run_task_id=run_task_id)
    now = deps.clock.now()
    body = encode_payload(verification_payload(run_task, deps.public_url, now))
    headers = headers_for(
        body,
        key=key_of(deps.keyring, run_task),
        prefixed=run_task.signature_prefix,
        message_id=f"test-{secrets.token_hex(8)}",
        timestamp=int(now.timestamp()),
    )
    try:
        status = await deps.endpoints.post(
            run_task.endpoint_url, body=body, headers=headers, timeout=SECONDS
        )
    except SluiceError as error:
        await _note(deps, run_task, actor, {"error": error.code})
        raise
    await _note(deps, run_task, actor, {"status_code": str(status)})
    return Verified(status)


def verification_payload(
    run_task: RunTask, public_url: str, now: datetime
) -> dict[str, Any]:
    """The body of the call: every field that real ones may have, filled with nobody's data."""
    api = f"{public_url}/api/v1"
    workspace = f"{public_url}/workspaces/ws-{_NOBODY}"
    task_api = f"{api}/workspaces/ws-{_NOBODY}/tasks/task-{_NOBODY}"
    page = f"{workspace}/tasks/task-{_NOBODY}"
    at = instant(now)
    return {
        "payload_version": 1,
        "stage": _WORD,
        "access_token": TEST_TOKEN,
        "capabilities": {"outcomes": True},
        # go-tfe spells its field so; services that are built on it read this one
        "capabilitites": {"outcomes": True},
        "configuration_version_download_url": f"{task_api}/configuration",
        "configuration_version_id": f"cv-{_NOBODY}",
        "is_speculative": True,
        "organization_name": "test-org",
        "plan_json_api_url": f"{task_api}/plan-json",
        "project_id": f"prj-{_NOBODY}",
        "project_name": "test-project",
        "project_app_url": workspace,
        "run_app_url": page,
        "run_created_at": at,
        "run_created_by": "test-user",
        "run_id": f"run-{_NOBODY}",
        "run_message": "Test run message",
        "task_result_callback_url": f"{api}/task-results/rtr-{_NOBODY}/callback",
        "task_result_enforcement_level": _WORD,
        "task_result_id": f"rtr-{_NOBODY}",
        "vcs_branch": "main",
        "vcs_commit_url": f"{_REPOSITORY}/commit/{_NOBODY}",
        "vcs_commit_hash": _NOBODY,
        "vcs_pull_request_url": f"{_REPOSITORY}/pull/1",
        "vcs_repo_url": _REPOSITORY,
        "workspace_app_url": workspace,
        "workspace_id": f"ws-{_NOBODY}",
        "workspace_name": "test-workspace",
        "workspace_working_directory": "test",
        "task_id": f"task-{_NOBODY}",
        "task_type": "plan",
        "task_status": "running",
        "task_description": "Test run message",
        "task_created_at": at,
        "task_created_by": "test-user",
        "task_app_url": page,
        "workspace_workdir": "test",
        "workspace_terraform_version": "1.11.4",
        "workspace_execution_mode": "plan_and_apply",
        "team_id": run_task.team_id or f"team-{_NOBODY}",
        "timeout_seconds": run_task.timeout_seconds,
        "plan_changes": {"add": 0, "change": 0, "destroy": 0},
        "resource_changes_api_url": f"{task_api}/resource-changes",
    }


async def _note(
    deps: RunTaskDeps, run_task: RunTask, actor: str, detail: dict[str, str]
) -> None:
    async with deps.transactions.write() as tx:
        await note(
            deps, tx, run_task, actor=actor, action="run_task.test", detail=detail
        )
