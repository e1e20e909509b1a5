"""The program in which one policy meets one plan: a process of its own, with hard limits.

It is run by path (`judge.py`), sees no environment and none of the server's modules, and
imports only the engine. It reads one line of JSON (what to do) and then the plan from its
standard input, and writes one JSON document; whatever the engine or a policy prints goes
nowhere. What exceeds its limits dies with it.
"""

import importlib
import json
import os
import re
import resource
import sys
import threading
import time
from typing import Any

OUT_OF_MEMORY = 99
"""The exit code of a process that used more memory than it may."""

MAX_FINDINGS = 250
MAX_TEXT = 2000
MAX_FAULTS = 10
_WATCH_SECONDS = 0.02
_ERROR = re.compile(
    r"\(error \d+:[^|]*\|(\d+)\|\d+\s*\(errormsg \d+:(.*?)\)\n", re.DOTALL
)
_MESSAGE = re.compile(r"\(errormsg \d+:(.*?)\)\n", re.DOTALL)
_QUOTE = re.compile(r'(\\.)|"', re.DOTALL)
_BRACKETS = {
    "Invalid bracket argument": (
        "the engine does not look at every element by `[_]` here; name the elements first,"
        " as in `some element in …`"
    )
}
# known to the engine although it does not say so
_KNOWN = frozenset({"print"})


def main() -> int:
    """Read, judge, write."""
    answers = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    order = json.loads(sys.stdin.buffer.readline())
    _limit(order["seconds"], order["memory_bytes"])
    answer = _faults(order) if order["what"] == "faults" else _judge(order)
    data = memoryview(json.dumps(answer).encode())
    while data:
        data = data[os.write(answers, data) :]
    return 0


def _limit(seconds: int, memory_bytes: int) -> None:
    limits = {
        resource.RLIMIT_CPU: (seconds, seconds + 2),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_FSIZE: (0, 0),
    }
    for kind, limit in limits.items():
        resource.setrlimit(kind, limit)
    # no limit of the address space: the engine's allocator reserves far more than it uses
    threading.Thread(target=_watch, args=(memory_bytes,), daemon=True).start()


def _watch(memory_bytes: int) -> None:
    while _resident() <= memory_bytes:
        time.sleep(_WATCH_SECONDS)
    os._exit(OUT_OF_MEMORY)


def _resident() -> int:
    """Bytes of memory that this process uses now."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:  # macOS, which tells the most there ever was
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class _Engine:
    """The engine with one policy in it; `regopy`'s own class takes errors for JSON."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._rego: Any = importlib.import_module("regopy.rego_shared")
        self._handle = self._rego.rego_new()
        # else what a built-in cannot do would pass for "nothing found"
        self._rego.rego_set_strict_builtin_errors(self._handle, True)
        # a comment in the last line without an end of line is misread
        self._call("rego_add_module", "policy.rego", f"{source}\n")

    def knows(self, function: str) -> bool:
        """Whether a function is built in."""
        known: bool = self._rego.rego_is_available_builtin(self._handle, function)
        return known or function in _KNOWN

    def take(self, plan: str, data: str = "{}") -> None:
        """The plan becomes ``input``, the data ``data``; both are JSON."""
        self._call("rego_add_data_json", data)
        self._call("rego_set_input_term", plan)

    def value(self, query: str) -> Any:
        """What ``x`` is by a query such as ``x=data.a.b``; None where it is undefined.

        Raises:
            _RefusedError: the engine cannot tell.
        """
        rego = self._rego
        output = rego.rego_query(self._handle, query)
        text: str = rego.rego_output_string(output)
        if not rego.rego_output_ok(output):
            first = rego.rego_node_get(rego.rego_output_node(output), 0)
            raise self._refused(f"{rego.rego_node_json(first)}\n")
        if text == "undefined":
            return None
        if not text.startswith("{"):
            raise _RefusedError(_first_message(text), whole=True)
        # not from the text: see `_unescaped`
        return self._decoded(rego.rego_output_binding_at_index(output, 0, "x"))

    def _refused(self, text: str) -> "_RefusedError":
        message, place = _first_message(text), _ERROR.search(text)
        if message not in _BRACKETS or place is None:
            return _RefusedError(message)
        line = self._source.encode().count(b"\n", 0, int(place.group(1))) + 1
        return _RefusedError(_BRACKETS[message], line=line)

    def _decoded(self, node: Any) -> Any:
        rego, kinds = self._rego, self._rego.NodeKind
        kind = rego.rego_node_type(node)
        parts = [
            rego.rego_node_get(node, at) for at in range(rego.rego_node_size(node))
        ]
        if kind == kinds.Term:
            return self._decoded(parts[0])
        if kind in {kinds.Array, kinds.Set}:
            return [self._decoded(part) for part in parts]
        if kind == kinds.Object:
            pairs = [[rego.rego_node_get(part, at) for at in (0, 1)] for part in parts]
            return {
                _text(self._decoded(key)): self._decoded(value) for key, value in pairs
            }
        if kind == kinds.String:
            return _unescaped(rego.rego_node_value(node))
        return json.loads(rego.rego_node_json(node))

    def _call(self, name: str, *arguments: str) -> None:
        try:
            getattr(self._rego, name)(self._handle, *arguments)
        except self._rego.RegoError as error:
            raise _RefusedError(str(error), whole=True) from None


def _unescaped(raw: str) -> str:
    """What an escaped text says.

    A quote that is not escaped is none of the text's own: `sprintf` puts pairs of them
    around arguments that were computed.
    """
    bare = _QUOTE.sub(lambda found: found.group(1) or "", raw)
    try:
        text: str = json.loads(f'"{bare}"', strict=False)
    except ValueError:
        return raw
    return text


class _RefusedError(Exception):
    """The engine refuses: all of the policy (``whole``), a ``line`` of it, or what it does
    with this input.
    """

    def __init__(self, text: str, *, whole: bool = False, line: int = 0) -> None:
        super().__init__(text)
        self.whole = whole
        self.line = line


# --- is this a policy? -----------------------------------------------------------


def _faults(order: dict[str, Any]) -> dict[str, Any]:
    try:
        engine = _Engine(order["source"])
    except _RefusedError as error:
        return {"faults": _located(str(error), order["source"])}
    faults = [
        [line, f"there is no function {name} here or in the engine"]
        for name, line in order["calls"]
        if not engine.knows(name)
    ]
    return {"faults": (faults or _of_whole(engine, order))[:MAX_FAULTS]}


def _of_whole(engine: _Engine, order: dict[str, Any]) -> list[list[Any]]:
    """What is only found when all of it is put together, such as a recursion."""
    engine.take("{}")
    for rule in order["rules"]:
        try:
            engine.value(f"x=data.{order['package']}.{rule}")
        except _RefusedError as error:
            if error.whole:
                return [[1, str(error)]]
            if error.line:
                return [[error.line, str(error)]]
    return []


def _located(text: str, source: str) -> list[list[Any]]:
    raw = source.encode()
    found = [
        [raw.count(b"\n", 0, int(offset)) + 1, message]
        for offset, message in _ERROR.findall(text)
    ]
    return found[:MAX_FAULTS] or [[1, text.strip()[:MAX_TEXT]]]


# --- what does it say? -----------------------------------------------------------


def _judge(order: dict[str, Any]) -> dict[str, Any]:
    # as text and not as values: those lose large numbers and NUL characters
    plan = json.dumps(json.loads(sys.stdin.buffer.read()))
    try:
        engine = _Engine(order["source"])
        engine.take(plan, json.dumps({"sluice": order["facts"]}))
        del plan
        said = {rule: _said(engine, order["package"], rule) for rule in order["rules"]}
    except _RefusedError as error:
        return {"error": str(error).strip()[:MAX_TEXT]}
    findings = [[rule, *item] for rule, items in said.items() for item in items]
    return {
        "findings": findings[:MAX_FINDINGS],
        "left_out": max(0, len(findings) - MAX_FINDINGS),
    }


def _said(engine: _Engine, package: str, rule: str) -> list[list[str]]:
    path = f"data.{package}.{rule}"
    value = engine.value(f"x={path}")
    if isinstance(value, dict) and not isinstance(value.get("msg"), str):
        # a partial object (`deny[msg] { … }`): its keys are the messages
        value = engine.value(f"x=[m | {path}[m]]")
    if value is None or value is False:
        return []
    if value is True:
        return [[f"the rule `{rule}` holds", "", "", ""]]
    items = value if isinstance(value, list) else [value]
    return [_finding(item) for item in items]


def _finding(item: Any) -> list[str]:
    if not isinstance(item, dict):
        return [_text(item), "", "", ""]
    message = item.get("msg", item.get("message"))
    if message is None:
        message = item
    return [
        _text(message),
        *(_text(item.get(name, "")) for name in ("address", "severity", "url")),
    ]


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    text = text.replace("\0", "\ufffd").encode(errors="replace").decode()
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def _first_message(text: str) -> str:
    found = _MESSAGE.search(text)
    return found.group(1) if found else "the engine gave no reason"


if __name__ == "__main__":
    sys.exit(main())
