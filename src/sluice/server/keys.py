"""The master keys: from the settings, or from a key file that the first start makes."""

import os
from pathlib import Path

from sluice.auth.keyring import encode_key, new_master_key, parse_key
from sluice.server.settings import ServerSettings

KEY_FILE = "encryption.key"


def master_keys(settings: ServerSettings) -> list[bytes]:
    """The present key first, then the former ones.

    Raises:
        BadKeyError: a key is not 32 bytes in base64.
    """
    given = settings.encryption_key.get_secret_value()
    present = parse_key(given) if given else key_from_file(settings.data_dir / KEY_FILE)
    former = [
        parse_key(key.get_secret_value()) for key in settings.former_encryption_keys
    ]
    return [present, *former]


def key_from_file(path: Path) -> bytes:
    """The key in ``path``; a new one, readable by the owner alone, where there is none.

    Raises:
        BadKeyError: the file holds something else.
    """
    if not path.exists():
        _write_new(path)
    return parse_key(path.read_text())


def _write_new(path: Path) -> None:
    """Write whole or not at all; of two processes that start at once the first wins."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(encode_key(new_master_key()) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
