"""Makes one call to a service: reads what it is asked about, signs, sends, judges the answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sluice.base.errors import SluiceError
from sluice.base.transactions import Tx
from sluice.edge.outgoing import OutgoingRefusedError
from sluice.runtasks.deps import AskingDeps
from sluice.runtasks.model import Result, RunTask
from sluice.runtasks.payload import Subject, payload_of, with_token
from sluice.runtasks.result_tokens import token_of
from sluice.runtasks.schedule import ANSWER_SECONDS, Answer, Called, judge
from sluice.runtasks.sealing import key_of
from sluice.runtasks.signing import headers_for
from sluice.wire.run_task import encode_payload


@dataclass(frozen=True, slots=True)
class Sent:
    """How a call went, and what was sent without its token; None where nothing was."""

    called: Called
    payload: Mapping[str, Any] | None = None


async def send_call(deps: AskingDeps, result: Result) -> Sent:
    """Call the service that a claimed result waits for."""
    async with deps.tasks.transactions.read() as tx:
        subject = await _subject(deps, tx, result)
    if subject is None:
        gone = f"the run task {result.name} was deleted before it was asked"
        return Sent(Called(Answer.REFUSED, None, gone))
    payload = payload_of(subject)
    return Sent(await _post(deps, subject, payload), payload)


async def _post(
    deps: AskingDeps, subject: Subject, payload: Mapping[str, Any]
) -> Called:
    result, run_task = subject.result, subject.run_task
    body = encode_payload(with_token(payload, token_of(deps.tokens, result)))
    try:
        headers = _headers(deps, result, run_task, body)
        status = await deps.sender.post(
            run_task.endpoint_url, body=body, headers=headers, timeout=ANSWER_SECONDS
        )
    except OutgoingRefusedError as error:
        return Called(Answer.REFUSED, None, error.detail)
    except SluiceError as error:
        return Called(Answer.FAILED, None, error.detail)
    return Called(judge(status), status, f"it answered the call with {status}")


def _headers(
    deps: AskingDeps, result: Result, run_task: RunTask, body: bytes
) -> dict[str, str]:
    return headers_for(
        body,
        key=key_of(deps.keyring, run_task),
        prefixed=run_task.signature_prefix,
        message_id=result.id,
        timestamp=int(deps.tasks.clock.now().timestamp()),
    )


async def _subject(deps: AskingDeps, tx: Tx, result: Result) -> Subject | None:
    workspaces = deps.tasks.workspaces
    run_task = await deps.definitions.get(tx, result.run_task_id)
    task = await deps.tasks.store.get(tx, result.task_id)
    workspace = await workspaces.store.get(tx, result.workspace_id)
    organization = await workspaces.organizations.get_organization(
        tx, result.organization_id
    )
    if run_task is None or task is None or workspace is None or organization is None:
        return None
    return Subject(
        result=result,
        run_task=run_task,
        task=task,
        workspace=workspace,
        organization_name=organization.name,
        public_url=deps.public_url,
    )
