"""Masks secrets in a byte stream, wherever the stream is cut into blocks."""

from collections.abc import Iterable

from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

MASK = b"***"
_HEAD = 4
# A DFA costs about 0.6 KB of memory for each byte of the patterns; beyond this sum the
# slower NFA (300 instead of 550 MB/s) is the better bargain.
_DFA_BYTES = 128 * 1024


class Secrets:
    """Finds secrets in bytes, and the beginning of one at their end; shared by maskers.

    Args:
        patterns: what to mask, each at least 4 bytes long (see `secret_forms`).
    """

    def __init__(self, patterns: Iterable[bytes]) -> None:
        unique = sorted(set(patterns), key=len, reverse=True)
        if unique and len(unique[-1]) < _HEAD:
            raise ValueError(f"a pattern is shorter than {_HEAD} bytes")
        self._longest = len(unique[0]) if unique else 0
        self._all = _automaton(unique)
        self._by_head: dict[bytes, list[bytes]] = {}
        for pattern in unique:
            self._by_head.setdefault(pattern[:_HEAD], []).append(pattern)
        self._heads = _automaton(list(self._by_head))
        self._short = {
            head[:length] for head in self._by_head for length in range(1, _HEAD)
        }

    def matches(self, data: bytes) -> list[tuple[int, int]]:
        """Start and end of every secret, overlapping ones too."""
        if self._all is None or not data:
            return []
        found = self._all.find_matches_as_indexes(data, overlapping=True)
        return [(start, end) for _, start, end in found]

    def could_begin(self, data: bytes) -> int:
        """Length of the longest end of ``data`` that is a proper beginning of a secret."""
        tail = data[-(self._longest - 1) :] if self._longest > 1 else b""
        if self._heads is not None and len(tail) >= _HEAD:
            for _, start, end in self._heads.find_matches_as_indexes(
                tail, overlapping=True
            ):
                rest = tail[start:]
                for pattern in self._by_head[tail[start:end]]:
                    if len(pattern) <= len(rest):
                        break
                    if pattern.startswith(rest):
                        return len(rest)
        for length in range(min(_HEAD - 1, len(tail)), 0, -1):
            if tail[-length:] in self._short:
                return length
        return 0


class Masker:
    """Replaces every run of overlapping secrets by one ``***``.

    Held back is exactly the longest end of the stream that could begin a secret; only more
    bytes or `finish` release it. Bytes of a secret never come out, not even in parts.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._held = b""
        # How many of the held bytes belong to a secret whose mask is already out.
        self._covered = 0

    def feed(self, block: bytes) -> bytes:
        """Take the stream's next bytes; returns what can be shown now."""
        data = self._held + block if self._held else block
        matches = self._secrets.matches(data)
        hold = self._secrets.could_begin(data)
        return self._emit(data, matches, len(data) - hold)

    def finish(self) -> bytes:
        """The stream has ended: what was held back."""
        data = self._held
        return self._emit(data, self._secrets.matches(data), len(data))

    def _emit(self, data: bytes, matches: list[tuple[int, int]], until: int) -> bytes:
        """The masked form of the bytes before ``until``; the rest is held."""
        covered, self._covered = self._covered, 0
        self._held = data[until:]
        if not matches and not covered:
            return data if until == len(data) else data[:until]
        shown: list[bytes] = []
        at = 0
        for start, end in _unions(matches, covered):
            out = start < covered  # its mask went out before
            if start >= until and not out:
                break
            if not out:
                shown += (data[at:start], MASK)
            at = end
        self._covered = max(0, at - until)
        shown.append(data[at:until])
        return b"".join(shown)


def _unions(matches: list[tuple[int, int]], covered: int) -> list[tuple[int, int]]:
    """Matches that share a byte, joined; the covered beginning counts as one of them."""
    spans = sorted(matches)
    if covered:
        spans.insert(0, (0, covered))
    unions: list[tuple[int, int]] = []
    for start, end in spans:
        if unions and start < unions[-1][1]:
            first, last = unions[-1]
            unions[-1] = (first, max(last, end))
        else:
            unions.append((start, end))
    return unions


def _automaton(patterns: list[bytes]) -> BytesAhoCorasick | None:
    if not patterns:
        return None
    small = sum(map(len, patterns)) <= _DFA_BYTES
    return BytesAhoCorasick(
        patterns,
        MatchKind.Standard,
        Implementation.DFA if small else Implementation.ContiguousNFA,
    )
