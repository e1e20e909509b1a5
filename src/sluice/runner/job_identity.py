"""Hands identity tokens to terraform: in files and environment variables of one phase."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from sluice.wire.agent import OrderIdentity


def without_rivals(
    inherited: Mapping[str, str], identities: Iterable[OrderIdentity]
) -> dict[str, str]:
    """The agent's environment without credentials of its own that would win over a token."""
    rivals = {name for identity in identities for name in identity.instead_of}
    return {name: value for name, value in inherited.items() if name not in rivals}


def identity_environment(
    directory: Path, identities: Iterable[OrderIdentity]
) -> dict[str, str]:
    """The environment variables through which programs find their tokens."""
    environment: dict[str, str] = {}
    for identity in identities:
        environment |= identity.environment
        environment |= dict.fromkeys(identity.token_variables, identity.token)
        path = str(_file(directory, identity))
        environment |= dict.fromkeys(identity.path_variables, path)
    return environment


def write_identities(directory: Path, identities: Iterable[OrderIdentity]) -> None:
    """Write the tokens' files, readable by their owner only."""
    for identity in identities:
        directory.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        path = _file(directory, identity)
        with open(os.open(path, flags, 0o600), "w", encoding="ascii") as file:
            file.write(identity.token)


def identity_secrets(identities: Iterable[OrderIdentity]) -> list[str]:
    """What must not appear in the output: tokens, and signatures where they stand alone."""
    return [
        text
        for identity in identities
        for text in (identity.token, identity.token.rpartition(".")[2])
    ]


def _file(directory: Path, identity: OrderIdentity) -> Path:
    return directory / f"{identity.name}.jwt"
