"""Groups of sub-commands that say what they hold when they are called bare."""

from typing import Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


class HelpGroup(TyperGroup):
    """A group that shows its help, and succeeds, where no sub-command is given."""

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])


def new_group(help_text: str) -> typer.Typer:
    """A Typer app for sub-commands, with plain help."""
    return typer.Typer(
        cls=HelpGroup,
        help=help_text,
        rich_markup_mode=None,
        add_completion=False,
        context_settings=HELP_OPTIONS,
    )
