"""Which identity tokens the variables of a workspace ask for, and what the tokens say."""

import pytest

from sluice.auth.workload import MAX_TOKENS, Wanted, claims, subject, wanted_tokens
from sluice.base.errors import InvalidInputError
from sluice.wire.agent import (
    Engine,
    LogPosition,
    OrderVariable,
    PhaseName,
    PhaseOrder,
    PlanOptions,
)

AWS = {"TFC_AWS_PROVIDER_AUTH": "true", "TFC_AWS_RUN_ROLE_ARN": "arn:run"}
AZURE = {"TFC_AZURE_PROVIDER_AUTH": "true", "TFC_AZURE_RUN_CLIENT_ID": "app-run"}


def order(
    environment: dict[str, str] | None = None,
    *,
    phase: PhaseName = PhaseName.PLAN,
    category: str = "env",
    workspace: str = "shop",
) -> PhaseOrder:
    return PhaseOrder(
        task_id="task-1",
        lease_id="lease-1",
        lease_seconds=60,
        workspace_id="ws-1",
        workspace_name=workspace,
        organization_id="org-1",
        action="plan_apply",
        phase=phase,
        engine=Engine.TERRAFORM,
        terraform_version="1.11.4",
        working_directory="",
        configuration_url="",
        state_url="",
        plan_url="",
        plan_json_url="",
        variables=[
            OrderVariable(key=key, value=value, category=category)
            for key, value in (environment or {}).items()
        ],
        options=PlanOptions(),
        task_token="",
        log=LogPosition(epoch=1, offset=0, next_line=1),
    )


def one(environment: dict[str, str], *, phase: PhaseName = PhaseName.PLAN) -> Wanted:
    (wanted,) = wanted_tokens(order(environment, phase=phase))
    return wanted


def test_nothing_is_asked_for_without_the_variables() -> None:
    assert wanted_tokens(order()) == []
    assert wanted_tokens(order({"TFC_WORKLOAD_IDENTITY_AUDIENCE": " "})) == []
    assert wanted_tokens(order({"TFC_WORKLOAD_IDENTITY_AUDIENCES": "x"})) == []
    assert wanted_tokens(order({"TFC_AWS_PROVIDER_AUTH": "false"})) == []
    as_terraform = order({"TFC_WORKLOAD_IDENTITY_AUDIENCE": "x"}, category="terraform")
    assert wanted_tokens(as_terraform) == []


def test_an_audience_gives_a_token_and_each_tag_another() -> None:
    wanted = wanted_tokens(
        order(
            {
                "TFC_WORKLOAD_IDENTITY_AUDIENCE": "vault",
                "TFC_WORKLOAD_IDENTITY_AUDIENCE_OTHER_1": "https://other.example",
            }
        )
    )
    assert [
        (one.name, one.audience, one.token_variables, one.path_variables)
        for one in wanted
    ] == [
        (
            "token",
            "vault",
            ("TFC_WORKLOAD_IDENTITY_TOKEN",),
            ("TFC_WORKLOAD_IDENTITY_TOKEN_PATH",),
        ),
        (
            "token_OTHER_1",
            "https://other.example",
            ("TFC_WORKLOAD_IDENTITY_TOKEN_OTHER_1",),
            ("TFC_WORKLOAD_IDENTITY_TOKEN_PATH_OTHER_1",),
        ),
    ]


@pytest.mark.parametrize("tag", ["TYPE", "PATH", "PATH_X", "", "A-B"])
def test_tags_that_cannot_be_are_named(tag: str) -> None:
    key = f"TFC_WORKLOAD_IDENTITY_AUDIENCE_{tag}"
    with pytest.raises(InvalidInputError, match=key):
        wanted_tokens(order({key: "x"}))


@pytest.mark.parametrize("audience", ["x" * 1001, "two\nlines"])
def test_an_audience_that_cannot_be_is_refused(audience: str) -> None:
    with pytest.raises(InvalidInputError, match="audience"):
        one({"TFC_WORKLOAD_IDENTITY_AUDIENCE": audience})


def test_there_is_a_most_of_tokens() -> None:
    many = {
        f"TFC_WORKLOAD_IDENTITY_AUDIENCE_{number}": "x"
        for number in range(MAX_TOKENS + 1)
    }
    with pytest.raises(InvalidInputError, match="the most"):
        wanted_tokens(order(many))


def test_aws_gets_a_role_and_the_name_of_a_file() -> None:
    wanted = one(AWS)
    assert wanted.audience == "aws.workload.identity"
    assert wanted.environment == {
        "AWS_ROLE_ARN": "arn:run",
        "AWS_ROLE_SESSION_NAME": "sluice-task-1",
    }
    assert wanted.path_variables == ("AWS_WEB_IDENTITY_TOKEN_FILE",)
    assert wanted.token_variables == ()
    assert "AWS_ACCESS_KEY_ID" in wanted.instead_of


def test_plan_may_have_another_role_than_apply() -> None:
    roles = AWS | {"TFC_AWS_PLAN_ROLE_ARN": "arn:reads"}
    assert one(roles).environment["AWS_ROLE_ARN"] == "arn:reads"
    apply = one(roles, phase=PhaseName.APPLY)
    assert apply.environment["AWS_ROLE_ARN"] == "arn:run"
    apply = one(roles | {"TFC_AWS_APPLY_ROLE_ARN": "arn:w"}, phase=PhaseName.APPLY)
    assert apply.environment["AWS_ROLE_ARN"] == "arn:w"


def test_what_the_workspace_says_of_aws_is_kept() -> None:
    own = {
        "TFC_AWS_WORKLOAD_IDENTITY_AUDIENCE": "sts",
        "AWS_ROLE_SESSION_NAME": "mine",
    }
    wanted = one(AWS | own)
    assert wanted.audience == "sts"
    assert "AWS_ROLE_SESSION_NAME" not in wanted.environment


@pytest.mark.parametrize("cloud", ["AWS", "AZURE"])
def test_a_cloud_without_a_role_is_told_what_is_missing(cloud: str) -> None:
    with pytest.raises(InvalidInputError, match=f"TFC_{cloud}_RUN_"):
        one({f"TFC_{cloud}_PROVIDER_AUTH": "true"})


def test_azure_gets_an_application_and_the_name_of_a_file() -> None:
    wanted = one(AZURE)
    assert wanted.audience == "api://AzureADTokenExchange"
    assert wanted.environment == {"ARM_USE_OIDC": "true", "ARM_CLIENT_ID": "app-run"}
    assert wanted.path_variables == ("ARM_OIDC_TOKEN_FILE_PATH",)
    apply = one(AZURE | {"TFC_AZURE_APPLY_CLIENT_ID": "w"}, phase=PhaseName.APPLY)
    assert apply.environment["ARM_CLIENT_ID"] == "w"


def test_the_claims_are_hcp_terraforms() -> None:
    full = "organization:acme:project:Default Project:workspace:shop"
    assert claims(order(phase=PhaseName.APPLY), "acme") == {
        "sub": f"{full}:run_phase:apply",
        "terraform_organization_id": "org-1",
        "terraform_organization_name": "acme",
        "terraform_project_name": "Default Project",
        "terraform_workspace_id": "ws-1",
        "terraform_workspace_name": "shop",
        "terraform_full_workspace": full,
        "terraform_run_id": "task-1",
        "terraform_run_phase": "apply",
    }


@pytest.mark.parametrize(
    "name",
    [
        "a:run_phase:apply",
        "a:workspace:b",
        "",
        "*",
        "a b",
        "a\n",
        "a/b",
        "é",
        "a?",
    ],
)
def test_a_name_that_could_forge_a_subject_gets_no_token(name: str) -> None:
    with pytest.raises(InvalidInputError, match="rename"):
        subject("acme", name, PhaseName.PLAN)
    with pytest.raises(InvalidInputError, match="rename"):
        subject(name, "shop", PhaseName.PLAN)
