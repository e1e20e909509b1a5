"""Writes a message as Slack's incoming webhooks take it (Mattermost and others do, too)."""

from collections.abc import Mapping
from typing import Any

from sluice.notifications.words import facts, headline, link

HEADLINE_LENGTH = 150
TEXT_LENGTH = 2900
"""Slack takes 3000 characters a section."""
_FACT_LENGTH = 600
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def slack_message(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document that is posted: a text for phones, and blocks for the rest.

    What people wrote is escaped, so nothing of it becomes a link or a mention.
    """
    title = _escaped(headline(content), HEADLINE_LENGTH)
    lines = [
        f"*{name}:* {_escaped(value, _FACT_LENGTH)}" for name, value in facts(content)
    ]
    address = link(content)
    if address:
        lines.append(f"<{_escaped(address, _FACT_LENGTH)}|Show the task>")
    return {
        "text": title,
        "blocks": [
            _section(f"*{title}*"),
            *([_section(_joined(lines))] if lines else []),
        ],
    }


def _section(text: str) -> Mapping[str, Any]:
    # verbatim: no address, channel or name in it becomes a link by itself
    return {
        "type": "section",
        "text": {"type": "mrkdwn", "text": text, "verbatim": True},
    }


def _joined(lines: list[str]) -> str:
    """As many whole lines as fit; half an escape would show."""
    while len(text := "\n".join(lines)) > TEXT_LENGTH:
        lines = lines[:-1]
    return text


def _escaped(text: str, length: int) -> str:
    """At most ``length`` characters, with the three escaped that mean something to Slack."""
    signs: list[str] = []
    left = length
    for sign in text:
        shown = _ESCAPES.get(sign, sign)
        if len(shown) > left - 1:
            signs.append("…")
            break
        signs.append(shown)
        left -= len(shown)
    return "".join(signs)
