"""`sluice completion`: the script that lets a shell complete commands and options."""

from enum import StrEnum
from typing import Annotated

import typer
from typer._completion_shared import get_completion_script


class Shell(StrEnum):
    """Shells there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


def completion(
    shell: Annotated[
        Shell, typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.")
    ],
) -> None:
    """Print a shell's completion script.

    For bash: `sluice completion bash > ~/.local/share/bash-completion/completions/sluice`.
    `sluice --install-completion` puts it in place by itself.
    """
    script = get_completion_script(
        prog_name="sluice", complete_var="_SLUICE_COMPLETE", shell=shell
    )
    typer.echo(script)
