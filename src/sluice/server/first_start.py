"""What a person has to see at the first start: the one-time token, and how to use it."""

from typing import TextIO

_WIDTH = 78


def show_setup_token(out: TextIO, *, url: str, token: str) -> None:
    """Print the one-time token in a box that cannot be missed."""
    lines = [
        "There is no user yet. This token makes the first admin; it works once:",
        "",
        f"    {token}",
        "",
        "Sign in with:",
        "",
        f"    sluice login --url {url} \\",
        f"      --token {token}",
    ]
    rule = "═" * _WIDTH
    out.write(f"\n╔{rule}╗\n")
    out.writelines(f"║ {line:<{_WIDTH - 2}} ║\n" for line in ["", *lines, ""])
    out.write(f"╚{rule}╝\n\n")
    out.flush()
