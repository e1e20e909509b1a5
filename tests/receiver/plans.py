"""Plan JSON by hand, as small as rules and Checkov need it."""

import json
import re
from typing import Any


def change(
    address: str,
    actions: list[str],
    after: dict[str, Any] | None = None,
    *,
    before: dict[str, Any] | None = None,
    unknown: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One resource of a plan."""
    kind, name = re.sub(r"\[[^]]*\]", "", address).split(".")[-2:]
    return {
        "address": address,
        "mode": "managed",
        "type": kind,
        "name": name,
        "provider_name": "registry.terraform.io/hashicorp/aws",
        "change": {
            "actions": actions,
            "before": before,
            "after": after,
            "after_unknown": unknown or {},
            "before_sensitive": False,
            "after_sensitive": {},
        },
    }


def plan_json(*changes: dict[str, Any]) -> bytes:
    """A whole plan."""
    resources = [
        {
            "address": one["address"],
            "mode": one["mode"],
            "type": one["type"],
            "name": one["name"],
            "provider_name": one["provider_name"],
            "schema_version": 0,
            "values": one["change"]["after"],
            "sensitive_values": {},
        }
        for one in changes
        if one["change"]["after"] is not None
    ]
    configured = [
        {
            "address": one["address"],
            "mode": one["mode"],
            "type": one["type"],
            "name": one["name"],
            "provider_config_key": "aws",
            "expressions": {},
            "schema_version": 0,
        }
        for one in changes
    ]
    document = {
        "format_version": "1.2",
        "terraform_version": "1.11.4",
        "planned_values": {"root_module": {"resources": resources}},
        "resource_changes": list(changes),
        "configuration": {"root_module": {"resources": configured}},
    }
    return json.dumps(document).encode()


PUBLIC_BUCKET = change(
    "aws_s3_bucket.logs",
    ["create"],
    {"bucket": "acme-logs", "acl": "public-read", "force_destroy": False},
    unknown={"arn": True, "id": True},
)
