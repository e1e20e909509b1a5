"""What terraform is called with."""

from sluice.terraform.arguments import (
    apply_arguments,
    init_arguments,
    plan_arguments,
    show_arguments,
)
from sluice.wire.agent import PlanOptions


def test_a_plain_plan() -> None:
    assert plan_arguments(PlanOptions(), plan_file="plan.out") == [
        "plan",
        "-input=false",
        "-detailed-exitcode",
        "-out=plan.out",
    ]


def test_every_option_of_a_plan() -> None:
    options = PlanOptions(
        destroy=True,
        refresh_only=True,
        refresh=False,
        targets=["module.a", 'aws_s3_bucket.b["x y"]'],
        replace=["terraform_data.c[0]"],
    )
    assert plan_arguments(options, plan_file="p", var_file="/v/x.tfvars")[4:] == [
        "-destroy",
        "-refresh-only",
        "-refresh=false",
        "-target=module.a",
        '-target=aws_s3_bucket.b["x y"]',
        "-replace=terraform_data.c[0]",
        "-var-file=/v/x.tfvars",
    ]


def test_the_other_commands_ask_nothing_and_keep_colours() -> None:
    calls = [
        init_arguments(),
        show_arguments(plan_file="plan.out"),
        apply_arguments(plan_file="plan.out"),
    ]
    assert [call[0] for call in calls] == ["init", "show", "apply"]
    assert all("-no-color" not in call for call in calls)
    assert calls[2][-1] == "plan.out"
