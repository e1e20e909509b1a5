"""Decides how grave the lines of scripts are, by the marks that common tools write.

A line is read from its beginning: behind times, brackets, names with a colon and the like
the first word that stands where tools put a level counts; words in sentences, paths and
names do not. One pattern does that for all lines of a text in one search: it never goes
back on what it has passed over and looks at so many bytes of a line at most, so its time
is linear. Where a line's beginning says nothing, a ``level=…`` further on counts.
"""

import re
from collections.abc import Iterable, Iterator

from sluice.logs.levels import Level, named_level

SCAN_BYTES = 8 * 1024
"""So near to a line's beginning stands a ``level=…``."""

_FEW = 100
_SEVERITIES = 8
_PRIORITIES = 192

_PARTS = {
    # blanks and colours
    b"gap": rb"(?: [ \t]|\x1b\[[0-9;]{0,20}m ){0,40}+",
    b"colour": rb"(?: \x1b\[[0-9;]{0,20}m ){0,4}+",
    b"end": rb"(?![^\r\n])",
    b"upper": rb"""(?: TRACE|TRC|DEBUG|DEBU|DBG|INFO|INF|NOTICE|WARNING|WARN|WRN|ERROR|ERRO
        |ERR|FATAL|FATA|FTL|CRITICAL|CRIT|EMERG|ALERT|SEVERE|PANIC|PANI|PNC|FAILED|FAILURE
        |SUCCESS )""",
    b"word": rb"""(?i: trace|debug|dbug|info|notice|warning|warn|error|err|fatal|critical
        |crit|emerg|alert|severe|panic|failed|fail|success )""",
    b"month": rb"(?: Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec )",
}
# marks that have a level's name in them, or its number
_NAMED = rb"""
    # ERROR x, ERROR: x, ERROR[0000] x, ERR! x, ERROR/Process; no ERROR = x
    %(upper)b (?= [:!|\[(/\])}>,\x1b-] | [ \t]{1,20}(?!=) | %(end)b )
    # error: x, fatal error: x, error[E0308]: x, error TS2304: x; no error: 0
    | (?: (?i:fatal|internal|syntax|parse|compile|deprecation)[ ] )? %(word)b
      (?: \[[\w:-]{1,20}\] | [ ][A-Z]{1,8}\d{1,6} )? %(colour)b [ ]?
      : (?= [ \t"\x1b] | %(end)b ) (?! %(gap)b \d{1,9} %(gap)b (?: [,;|] | %(end)b ) )
    # [error], [ WARN ], (error), [core:error], [DEPRECATION WARNING]
    | [\[(<] [ ]{0,3} %(colour)b (?: \w{1,20}: | DEPRECATION[ ] )? %(word)b %(colour)b
      [ ]{0,8} [\])>]
    # [2024-01-15T10:00:00Z WARN  crate], [2024-01-15 10:00:00,123: ERROR/Main]
    | \[\d[\w:.,/+-]{4,40} (?: [ ][\d:.,]{4,20} )? :?[ ] %(upper)b [ \]/]
    # <3>, <11>1
    | <\d{1,3}>
"""
# what single tools write at a line's beginning, or behind a name with a colon
_ERRORS = rb"""
    E:[ ] | Err:\d | E[ ]{3,9}\S | [EF]\d{4}[ ]\d\d:\d\d:\d\d | ERR_[A-Z_]{3,60}[ ]
    | curl:[ ]\(\d | g?make(?:\[\d{1,4}\])?:[ ]\*\*\*[ ] | npm[ ](?:ERR!|error[ ])
    | Traceback[ ]\(most[ ]recent | Exception[ ]in[ ]thread | Caused[ ]by:[ ]
    | thread[ ]'[^'\n]{0,80}'[ ](?:\(\d{1,9}\)[ ])?panicked[ ]at | An[ ]error[ ]occurred
    | (?:CMake|PHP[ ]Fatal|PHP[ ]Parse)[ ][Ee]rror\b | rsync[ ]error: | ![ ]\[rejected\]
    | [Ee]rror[ ](?: response[ ]from[ ]daemon | from[ ]server | processing[ ] | [A-Z"'] )
    | (?:[\w$]{1,60}\.){0,9}+ [A-Z]\w{0,60}(?:Error|Exception) (?: :[ \t] | :?%(end)b )
    | \xe2\x9c[\x96\x97] | \xe2\x9d\x8c
"""
_WARNINGS = rb"""
    W:[ ] | W\d{4}[ ]\d\d:\d\d:\d\d | npm[ ](?:WARN|warn)\b | DEPRECATION:[ ]
    | CMake[ ][\w ]{0,20}Warning\b | PHP[ ](?:Warning|Deprecated):
    | warning[ ](?: [A-Z"'] | package ) | [A-Z]\w{0,60}Warning:[ \t] | \xe2\x9a\xa0
"""
_SUCCESSES = rb"\xe2\x9c[\x93\x94] | \xe2\x9c\x85"
# what may stand before a mark
_TOKENS = rb"""
    # [main], (node:12), - my.module -, lone dashes
    \[[^\]\r\n]{0,100}\]:? | \([^)\r\n]{0,60}\):?
    | [-|][ ](?!%(upper)b[ ])[\w.@/-]{1,80}[ ][-|](?=[ ])
    | (?: [-|\#*>:=]{1,4} | \xe2\x80[\x93\x94] | \#\d{1,6} )(?=[ ])
    # times and what belongs to them, process ids
    | (?: Mon|Tue|Wed|Thu|Fri|Sat|Sun|AM|PM|UTC|GMT|[A-Z]{2,3}T|%(month)b )\b,?
    | \d{1,4}[-/:.]\d[\w:.,/+-]{0,40} | \d{1,7}:[A-Z](?=[ ])
    | \d{1,10}(?: , | (?= [ \t]{1,9}(?: [\[(<\#*\d] | %(month)b[ ] ) ) )
    # nginx:, main.c:3:5:, app[12]:, app.cs(3,5):, app.ts:3:5 -, and a host before a name
    | [\w./@+$~\\-]{1,200}(?: \[[\w.]{1,20}\] | \([\w,.]{1,20}\) | :[\w.]{1,80} ){0,3}
      :(?=[ \t])
    | [\w./@+-]{1,200}:\d{1,9}:\d{1,9}(?=[ ]-[ ])
    | [A-Za-z][\w.-]{0,80}[ ](?= [\w./-]{1,80}(?:\[\d{1,10}\])?:[ ] )
"""


def _compiled(pattern: bytes, **more: bytes) -> re.Pattern[bytes]:
    parts = {**_PARTS, **{name.encode(): part for name, part in more.items()}}
    return re.compile(pattern % parts, re.VERBOSE)


_HEAD = _compiled(
    rb"""
    %(gap)b (?: (?: \xe2\x94[\x80-\xbf] | \xe2\x95[\x80-\xbf] ) %(gap)b ){0,2}+
    (?> (?! %(named)b | %(errors)b | %(warnings)b | %(successes)b )
        (?: %(tokens)b ) %(gap)b ){0,12}+
    (?: (?P<named>%(named)b) | (?P<error>%(errors)b) | (?P<warn>%(warnings)b)
        | (?P<success>%(successes)b) )
    """,
    named=_NAMED % _PARTS,
    errors=_ERRORS % _PARTS,
    warnings=_WARNINGS,
    successes=_SUCCESSES,
    tokens=_TOKENS % _PARTS,
)
_NAME = re.compile(_PARTS[b"word"] + rb"| (?i:dbg|trc|wrn|ftl|pnc|inf)", re.VERBOSE)
_PRIORITY = re.compile(rb"<(\d+)>")
# level=warn, lvl=warn, "level":"warn", "severity": "WARNING", "level":50
_KEYED = re.compile(
    rb"(?:level(?:name)?|lvl|severity)\"?(?:=|: ?)\"?"
    rb"(?:(\d{1,2})(?=[\s,}\"]|\Z)|([A-Za-z]{1,12})\b)"
    # MongoDB's
    rb"|\"s\":\"([DIWEF])\""
)
_BEFORE_KEY = frozenset(b' \t,{;|"@.')
_LETTERS = {
    b"D": Level.DEBUG,
    b"I": Level.INFO,
    b"W": Level.WARN,
    b"E": Level.ERROR,
    b"F": Level.ERROR,
}

# What a line has in it that is marked, in lower case. Each begins with a letter that is
# not frequent: so the search passes over text at memory speed.
_LEAD = rb"(?:[ \t]|\x1b\[[0-9;]{0,20}m|\xe2[\x94\x95].){0,40}+"
_SIGNS = tuple(
    re.compile(sign)
    for sign in (
        rb"rr",
        rb"warn",
        rb"fata",
        rb"panic",
        rb"fail",
        rb"bug",
        rb"trace",
        rb"ucces",
        rb"crit",
        rb"merg",
        rb"lert",
        rb"vere",
        rb"xcep",
        rb"wrn",
        rb"dbg",
        rb"ftl",
        rb"vel\":",
        rb"\"s\":\"",
        rb"\n"
        + _LEAD
        + rb"(?:[ew]: |e   |[efw]\d{4} |<\d|curl: |g?make|caused by"
        + rb"|deprec|! \[|\xe2)",
    )
)


def tool_unmarked(text: bytes) -> bool:
    """Whether no line of the text is known to say how grave it is; says no where it would
    take long to find out.
    """
    lines = _candidates(text)
    return len(lines) <= _FEW and not any(_levels(text, lines))


def tool_marks(text: bytes) -> list[tuple[int, int, Level]]:
    """(begin, end, level) of each line that is marked as other than `Level.INFO`."""
    return list(_levels(text, _candidates(text)))


def _levels(
    text: bytes, lines: Iterable[tuple[int, int]]
) -> Iterator[tuple[int, int, Level]]:
    for begin, end in lines:
        level = _level(text, begin, end)
        if level is not None and level is not Level.INFO:
            yield begin, end, level


def _candidates(text: bytes) -> list[tuple[int, int]]:
    folded = b"\n" + text.lower()
    found = {}
    for sign in _SIGNS:
        at = 0
        while (match := sign.search(folded, at)) is not None:
            # a newline before the text: places in it are one further on
            here = match.end() - 1
            begin = text.rfind(b"\n", max(0, at - 1), here) + 1 or max(0, at - 1)
            end = text.find(b"\n", here)
            if end < 0:
                end = len(text)
            found[begin] = end
            at = end + 1
    return sorted(found.items())


def _level(text: bytes, begin: int, end: int) -> Level | None:
    if text.startswith(b"+", begin):
        # the shell's trace of a command, which says nothing itself
        return None
    if (head := _HEAD.match(text, begin, end)) is None:
        return _keyed(text, begin, min(end, begin + SCAN_BYTES))
    match head.lastgroup:
        case "error":
            return Level.ERROR
        case "warn":
            return Level.WARN
        case "success":
            return Level.SUCCESS
        case _:
            return _named(head["named"])


def _named(mark: bytes) -> Level | None:
    if (priority := _PRIORITY.match(mark)) is not None:
        number = int(priority[1])
        return _severity(number % _SEVERITIES) if number < _PRIORITIES else None
    name = _NAME.search(mark)
    return None if name is None else named_level(name[0].decode())


def _keyed(text: bytes, begin: int, end: int) -> Level | None:
    for found in _KEYED.finditer(text, begin, end):
        at = found.start()
        if at > begin and text[at - 1] not in _BEFORE_KEY and found[3] is None:
            continue
        if found[1] is not None:
            return _numbered(int(found[1]))
        if found[3] is not None:
            return _LETTERS[found[3]]
        level = named_level(found[2].decode())
        if level is not None:
            return level
    return None


def _severity(number: int) -> Level:
    """A level of syslog."""
    if number <= 3:
        return Level.ERROR
    if number == 4:
        return Level.WARN
    return Level.DEBUG if number == 7 else Level.INFO


def _numbered(number: int) -> Level:
    """A level of bunyan and pino (10 to 60), or of syslog."""
    if number < _SEVERITIES:
        return _severity(number)
    if number >= 50:
        return Level.ERROR
    if number >= 40:
        return Level.WARN
    return Level.INFO if number >= 30 else Level.DEBUG
