"""What a route asks for, one word a route."""

from enum import StrEnum


class Permission(StrEnum):
    """What a route asks for, at the place that it names (`auth/policy.py` gives them out).

    `PUBLIC` needs no caller at all. `SIGNED_IN` is any user; `MANAGE_OWN` any user whose
    credential is not narrowed: who holds a narrow one must not make a wide one of it.
    `FIND` is an organization's name and the list of what one may read in it.
    `REVIEW` reads what a task would do, masked; `REVIEW_SECRETS` reads its plan and its
    configuration in the clear. Both are what services at gates have, of their own task.
    `ADMIN` is the whole installation's; all `MANAGE_…` are of one organization or workspace.
    """

    PUBLIC = "public"
    WHOAMI = "whoami"
    SIGNED_IN = "signed_in"
    MANAGE_OWN = "manage_own"
    FIND = "find"
    READ = "read"
    PLAN = "plan"
    APPLY = "apply"
    ADMIN_WORKSPACE = "admin_workspace"
    CREATE_WORKSPACE = "create_workspace"
    MANAGE_RUN_TASKS = "manage_run_tasks"
    MANAGE_POLICIES = "manage_policies"
    MANAGE_POOLS = "manage_pools"
    MANAGE_SCRIPTS = "manage_scripts"
    MANAGE_ORGANIZATION = "manage_organization"
    READ_AUDIT = "read_audit"
    ADMIN = "admin"
    REGISTER_AGENT = "register_agent"
    WORK = "work"
    TASK_DATA = "task_data"
    RUN_SCRIPT = "run_script"
    WRITE_RECORDS = "write_records"
    REVIEW = "review"
    REVIEW_SECRETS = "review_secrets"
