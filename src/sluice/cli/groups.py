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


class CommandGroup(HelpGroup):
    """A group that is a command too: `alone` runs where no sub-command is named."""

    def alone(self) -> Any:
        """The command itself."""
        raise NotImplementedError

    def means_alone(self, args: list[str]) -> bool:
        """Whether these arguments are meant for the command itself."""
        raise NotImplementedError

    @override
    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        # the context names its command: what it names is what then runs
        if self.means_alone(args) and (args or not extra.get("resilient_parsing")):
            command = self.alone()
            return command.make_context(info_name, args, parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)

    def names(self, word: str) -> bool:
        """Whether a word is a sub-command, or asks for help."""
        return word in self.commands or word in HELP_OPTIONS["help_option_names"]


def new_group(help_text: str, kind: type[HelpGroup] = HelpGroup) -> typer.Typer:
    """A Typer app for sub-commands, with plain help."""
    return typer.Typer(
        cls=kind,
        help=help_text,
        rich_markup_mode=None,
        add_completion=False,
        context_settings=HELP_OPTIONS,
    )
