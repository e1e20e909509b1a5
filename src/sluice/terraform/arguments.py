"""Decides the arguments of each terraform (or tofu) call; colours are kept."""

from sluice.wire.agent import PlanOptions


def init_arguments() -> list[str]:
    """Prepare the working directory."""
    return ["init", "-input=false"]


def plan_arguments(
    options: PlanOptions, *, plan_file: str, var_file: str | None = None
) -> list[str]:
    """Plan into ``plan_file``; exit code 2 says that there are changes."""
    arguments = ["plan", "-input=false", "-detailed-exitcode", f"-out={plan_file}"]
    if options.destroy:
        arguments.append("-destroy")
    if options.refresh_only:
        arguments.append("-refresh-only")
    if not options.refresh:
        arguments.append("-refresh=false")
    arguments += [f"-target={address}" for address in options.targets]
    arguments += [f"-replace={address}" for address in options.replace]
    if var_file is not None:
        arguments.append(f"-var-file={var_file}")
    return arguments


def show_arguments(*, plan_file: str) -> list[str]:
    """Print the plan as JSON."""
    return ["show", "-json", plan_file]


def apply_arguments(*, plan_file: str) -> list[str]:
    """Apply a saved plan as it is; it carries its variables and options itself."""
    return ["apply", "-input=false", plan_file]
