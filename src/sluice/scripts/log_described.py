"""How the routes of scripts' logs stand in the OpenAPI document."""

from sluice.edge.described import Content, Described, Parameter, upgraded
from sluice.wire.shapes.scripts import ScriptHistory, ScriptStatus

_TAG = "scripts"
_TEXT = "text/plain; charset=utf-8"
_TASK = Parameter("task_id", "Whose log it is.", required=True)

INSTALL_STREAM = Described(
    "An installer's log over a WebSocket",
    upgraded(
        "Texts: `connected`, then one message a line (history first, then live), then"
        " `completed` with the task's status, and close code 1000. 503 where the setting"
        " `log_realtime_enabled` is off."
    ),
    (
        _TASK,
        Parameter("after", "Only lines behind this number; else all.", int),
        Parameter("ack", "`1`: as for live output.", ("1",)),
    ),
    tag=_TAG,
)
HISTORY = Described(
    "An installer's log so far",
    {200: Content("A page of messages.", "application/json", ScriptHistory)},
    (
        _TASK,
        Parameter("offset", "How many lines to pass over; 0 by default.", int),
        Parameter("limit", "How many at most, up to 10000; 1000 by default.", int),
    ),
    tag=_TAG,
)
STATUS = Described(
    "How far a script is",
    {200: Content("Its status and progress.", "application/json", ScriptStatus)},
    (_TASK,),
    tag=_TAG,
)
GETLOG = Described(
    "A script's whole log as text",
    {
        200: Content("The log up to now.", _TEXT),
        206: Content("The asked range of it.", _TEXT),
        304: Content("It is what `If-None-Match` names."),
        400: Content("What is given is no name of a log."),
        416: Content("It has no such range."),
    },
    (
        Parameter("fn", "A task's id, or a script's key; `.log` may follow."),
        Parameter("name", "A script's key: without `fn`, its newest run."),
        Parameter("organization", "Whose script, where there are several."),
        Parameter("Range", "One range of bytes.", where="header"),
        Parameter("If-None-Match", "Only if it has another ETag.", where="header"),
    ),
    tag=_TAG,
)
AGENT_STREAM = Described(
    "A task's log over a WebSocket, a line a message",
    upgraded("Texts: `connected`, one message a line, `completed`; close code 1000."),
    (
        _TASK,
        Parameter("offset", "How many lines to pass over; 0 by default.", int),
        Parameter("ack", "`1`: as for live output.", ("1",)),
    ),
    tag=_TAG,
)
RECORD_STREAM = Described(
    "A task's records over a WebSocket",
    upgraded("Texts: `connected`, one record a line, `completed`; close code 1000."),
    (
        Parameter("after", "Only lines behind this number; else all.", int),
        Parameter("ack", "`1`: as for live output.", ("1",)),
    ),
    tag=_TAG,
)
