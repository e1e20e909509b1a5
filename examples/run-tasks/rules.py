"""Rules for `sluice run-task serve --rule examples/run-tasks/rules.py`."""

from collections.abc import Iterator

from sluice.receiver.rules import Change, Finding, Plan, deny, rule, warn

# ready-made: all conditions that are named must hold
deny(
    type="aws_s3_bucket*",
    attribute={"acl": "public-*"},
    message="is open to everybody",
    severity="high",
    url="https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html",
)
deny(
    address="*database*",
    action="delete",
    message="databases are not deleted by a plan",
    severity="critical",
)
warn(
    type="aws_instance",
    attribute={"tags.Owner": None},
    message="has no tag Owner",
    severity="low",
)


@rule(severity="medium")
def greetings_are_friendly(change: Change) -> Iterator[Finding]:
    """Called for every change of the plan."""
    text = str(change.values.get("input", ""))
    if change.type == "terraform_data" and "damn" in text.lower():
        yield Finding(
            "swears",
            body="A greeting is shown to everybody. Choose **kinder words**.",
        )


@rule(level="warn", severity="info")
def small_steps(plan: Plan) -> str | None:
    """Called once, with the whole plan."""
    if len(plan.changes) > 50:
        return f"{len(plan.changes)} changes in one plan are hard to read."
    return None
