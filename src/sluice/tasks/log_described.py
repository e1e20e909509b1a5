"""How the routes of a task's output stand in the OpenAPI document."""

from sluice.edge.described import Content, Described, Parameter, upgraded
from sluice.wire.script_stream import RecordLevel, RecordSource
from sluice.wire.shapes.streams import StreamStats

_TAG = "output"
_TEXT = "text/plain; charset=utf-8"
_AFTER = Parameter(
    "after", "Every line behind this number; else the last 1000 lines.", int
)
_FORMAT = Parameter(
    "format",
    "One frame a line, or one for all lines that are ready.",
    ("live", "batch"),
)
_PART = Parameter("type", "Which part of the output.", ("all", "plan", "apply"))

STREAM = Described(
    "Live output over a WebSocket",
    upgraded(
        "Frames are JSON texts: `connected`, `output` and `error` (or `batch`),"
        " `stage_marker`, and `completed` as the last, then close code 1000. A viewer that"
        " reconnects with `after` gets each line exactly once."
    ),
    (
        _AFTER,
        _FORMAT,
        Parameter(
            "ack",
            '`1`: the viewer says with `{"type": "ack", "line": N}` what it has drawn, and'
            " the server waits where too much is unacknowledged.",
            ("1",),
        ),
    ),
    tag=_TAG,
)
EVENTS = Described(
    "Live output as server-sent events",
    {200: Content("The frames of the WebSocket, as events.", "text/event-stream")},
    (
        _AFTER,
        _FORMAT,
        Parameter("Last-Event-ID", "As `after`, and before it.", int, "header"),
    ),
    tag=_TAG,
)
FOLLOW = Described(
    "Live output as plain text",
    {200: Content("The log's bytes, until the task ends.", _TEXT)},
    (_AFTER, Parameter("offset", "From this byte on; before `after`.", int)),
    tag=_TAG,
)
LOGS = Described(
    "Stored output",
    {
        200: Content(
            "Facts of the task and `logs`: for `plan` and `apply` either null or `output`,"
            " `line_count`, `size_bytes`; with `format=text` plain text; with"
            " `format=records`, or any of `source`, `level`, `page` and `size`, a page of"
            " records: `content`, `page`, `size`, `total_elements`, `total_pages`.",
            "application/json",
            or_media=_TEXT,
        )
    },
    (
        _PART,
        Parameter(
            "format", "JSON, plain text, or records.", ("json", "text", "records")
        ),
        Parameter("source", "Only records of this source.", tuple(RecordSource)),
        Parameter("level", "Only records of this level.", tuple(RecordLevel)),
        Parameter("page", "Which page of records, from 0; 0 by default.", int),
        Parameter("size", "Records a page, up to 1000; 100 by default.", int),
    ),
    tag=_TAG,
)
DOWNLOAD = Described(
    "Stored output as a file",
    {
        200: Content("The file.", _TEXT),
        206: Content("The asked range of it.", _TEXT),
        304: Content("It is what `If-None-Match` names."),
        416: Content("It has no such range."),
    },
    (
        _PART,
        Parameter("raw", "The log's bytes alone, without a head.", bool),
        Parameter("Range", "One range of bytes.", where="header"),
        Parameter("If-Range", "Only if it still has this ETag.", where="header"),
        Parameter("If-None-Match", "Only if it has another ETag.", where="header"),
    ),
    tag=_TAG,
)
STATS = Described(
    "Followed logs",
    {200: Content("What is followed on this server.", record=StreamStats)},
    tag=_TAG,
)
