"""State files as tests need them."""

import json
from typing import Any


def state(serial: int = 1, lineage: str = "line-1", **fields: Any) -> bytes:
    """A state file; ``note`` makes two of the same serial differ."""
    return json.dumps(
        {
            "version": 4,
            "terraform_version": "1.11.4",
            "serial": serial,
            "lineage": lineage,
            "outputs": {},
            "resources": [],
            **fields,
        }
    ).encode()


RESOURCES = [{"mode": "managed", "type": "t", "name": "a", "instances": [{}, {}]}]
OUTPUTS = {
    "who": {"value": "bob", "type": "string"},
    "key": {"value": "hunter2", "type": "string", "sensitive": True},
    "all": {"value": {"a": [1, 2.5]}, "type": ["object", {"a": ["list", "number"]}]},
}
