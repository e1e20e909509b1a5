"""How numbers, times and things are written for people."""

from datetime import datetime

from sluice.wire.shapes.tasks import PlanSummary, TaskOptions, TaskType

_TASK_TYPES = {
    TaskType.PLAN: "plan",
    TaskType.APPLY: "apply of a saved plan",
    TaskType.PLAN_AND_APPLY: "plan and apply",
    TaskType.SCRIPT: "script",
}
_DESTROYING = {
    TaskType.PLAN: "plan of a destroy",
    TaskType.APPLY: "destroy by a saved plan",
    TaskType.PLAN_AND_APPLY: "destroy",
}
_REFRESHING = {
    TaskType.PLAN: "plan of a refresh",
    TaskType.APPLY: "refresh by a saved plan",
    TaskType.PLAN_AND_APPLY: "refresh only",
}


def duration(seconds: float | None) -> str:
    """``0.4s``, ``12s``, ``1m 04s``, ``2h 05m``; a dash where there is none."""
    if seconds is None:
        return "-"
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def elapsed(seconds: float) -> str:
    """As `duration`, in whole seconds, for what is still going on."""
    return duration(seconds) if seconds >= 10 else f"{int(seconds)}s"


def size(count: int | None) -> str:
    """``310 B``, ``1.2 MB``; a dash where there is none."""
    if count is None:
        return "-"
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def ago(at: datetime | None, now: datetime) -> str:
    """``just now``, ``4 min ago``, ``3 h ago``, ``12 days ago``; a dash where there is none."""
    if at is None:
        return "-"
    seconds = (now - at).total_seconds()
    if seconds < 10:
        return "just now"
    if seconds < 60:
        return f"{int(seconds)} s ago"
    if seconds < 3600:
        return f"{int(seconds // 60)} min ago"
    if seconds < 86400:
        return f"{int(seconds // 3600)} h ago"
    days = int(seconds // 86400)
    return f"{days} day{'' if days == 1 else 's'} ago"


def count(number: int, noun: str) -> str:
    """``1 file``, ``3 files``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def summary(plan: PlanSummary) -> str:
    """``2 to add, 1 to change, 0 to destroy``, with imports first where there are any."""
    text = f"{plan.add} to add, {plan.change} to change, {plan.destroy} to destroy"
    return f"{plan.import_} to import, {text}" if plan.import_ else text


def short_summary(plan: PlanSummary | None) -> str:
    """``+2 ~1 -0`` for a table; a dash where there is none."""
    return f"+{plan.add} ~{plan.change} -{plan.destroy}" if plan else "-"


def task_type(kind: TaskType, options: TaskOptions) -> str:
    """``plan and apply``, ``destroy``, ``plan of a refresh``."""
    if options.destroy:
        return _DESTROYING.get(kind, _TASK_TYPES[kind])
    if options.refresh_only:
        return _REFRESHING.get(kind, _TASK_TYPES[kind])
    return _TASK_TYPES[kind]
