"""Decides which addresses that users typed may be called, and says why others may not.

An address is judged together with every address that it wraps (v4-mapped, NAT64, 6to4,
Teredo and the like): each of them has to be public, or opened by an administrator. Where
clouds keep metadata and credentials is never opened.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

import httpx2

from sluice.base.errors import InvalidInputError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL = 500
ALLOW_CIDRS = "outgoing_allowed_cidrs (SLUICE_OUTGOING_ALLOWED_CIDRS)"
ALLOW_HTTP = "outgoing_allow_http (SLUICE_OUTGOING_ALLOW_HTTP)"

_METADATA = "an address of a cloud's metadata"
_AUTHORITY = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#]*)", re.IGNORECASE | re.ASCII
)
_HOST_PORT = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]+)(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def _table(ranges: dict[str, str]) -> tuple[tuple[Network, str], ...]:
    return tuple((ip_network(cidr), kind) for cidr, kind in ranges.items())


# Clouds hand out credentials here, to whoever asks from the machine.
_NEVER = _table(
    {
        "169.254.0.0/16": "link-local, where clouds keep metadata",
        "fe80::/10": "link-local, where clouds keep metadata",
        "100.100.100.200/32": _METADATA,  # Alibaba
        "168.63.129.16/32": _METADATA,  # Azure's wire server
        "192.0.0.192/32": _METADATA,  # Oracle
        "fd00:ec2::/32": _METADATA,  # Amazon
        "fd20:ce::/32": _METADATA,  # Google
        "fd00:42::42/128": _METADATA,  # Scaleway
    }
)
# `ipaddress` knows most of these, but not the same ones in every version of Python.
_REFUSED = _table(
    {
        "0.0.0.0/8": "unspecified",
        "10.0.0.0/8": "private",
        "100.64.0.0/10": "shared (carrier-grade NAT)",
        "127.0.0.0/8": "loopback",
        "172.16.0.0/12": "private",
        "192.0.0.0/24": "reserved for protocols",
        "192.0.2.0/24": "for documentation",
        "192.88.99.0/24": "a 6to4 relay",
        "192.168.0.0/16": "private",
        "198.18.0.0/15": "for benchmarks",
        "198.51.100.0/24": "for documentation",
        "203.0.113.0/24": "for documentation",
        "224.0.0.0/4": "multicast",
        "255.255.255.255/32": "broadcast",
        "240.0.0.0/4": "reserved",
        "::/128": "unspecified",
        "::1/128": "loopback",
        "::ffff:0:0/96": "v4-mapped",
        "::ffff:0:0:0/96": "v4-translated",
        "::/96": "v4-compatible",
        "64:ff9b::/96": "NAT64",
        "64:ff9b:1::/48": "NAT64",
        "100::/64": "discarded",
        "2001::/32": "Teredo",
        "2001:2::/48": "for benchmarks",
        "2001::/23": "reserved for protocols",
        "2001:db8::/32": "for documentation",
        "2002::/16": "6to4",
        "3ffe::/16": "reserved",
        "3fff::/20": "for documentation",
        "fc00::/7": "private (unique local)",
        "fec0::/10": "private (site-local)",
        "ff00::/8": "multicast",
    }
)
_GLOBAL_V6 = IPv6Network("2000::/3")
_LOW_32 = tuple(
    IPv6Network(cidr)
    for cidr in (
        "::ffff:0:0/96",
        "::ffff:0:0:0/96",
        "::/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
    )
)
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_ISATAP = frozenset({bytes.fromhex("00005efe"), bytes.fromhex("02005efe")})


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an address may not be called.

    Attributes:
        address: the address in question.
        judged: what was refused: the address itself, or one that it wraps.
        kind: what that is, in words.
        may_be_opened: whether the server's allow-list can open it.
    """

    address: Address
    judged: Address
    kind: str
    may_be_opened: bool

    def words(self, name: str | None = None) -> str:
        """What is not called, why, and what would open it; ``name`` leads to it."""
        what = f"{self.address} ({self.kind})"
        if self.judged != self.address:
            what = f"{self.address}, which stands for {self.judged} ({self.kind})"
        said = f"{name} leads to {what}; that" if name else what
        opened = (
            f"an administrator can open it with the server's setting {ALLOW_CIDRS}"
            if self.may_be_opened
            else "no setting opens it"
        )
        return f"{said} is not called, and {opened}."


def refusal_of(
    address: str | Address, allowed: Sequence[Network] = ()
) -> Refusal | None:
    """Why ``address`` may not be called, or None where it may.

    Args:
        address: an address in its usual form; a zone (`%eth0`) is left out of account.
        allowed: ranges that administrators opened.

    Raises:
        ValueError: it is no address.
    """
    given = unscoped(address)
    for form in (given, *_wrapped(given), *_perhaps_wrapped(given)):
        kind = _kind(form, _NEVER)
        if kind is not None:
            return Refusal(given, form, kind, may_be_opened=False)
    for form in (given, *_wrapped(given)):
        if any(form in network for network in allowed):
            continue
        kind = _kind(form, _REFUSED)
        if kind is None and isinstance(form, IPv6Address) and form not in _GLOBAL_V6:
            kind = "reserved"
        if kind is not None:
            return Refusal(given, form, kind, may_be_opened=True)
    return None


def unscoped(address: str | Address) -> Address:
    """An address without its zone.

    Raises:
        ValueError: it is no address.
    """
    found = ip_address(address)
    return IPv6Address(int(found)) if isinstance(found, IPv6Address) else found


def literal_of(host: str) -> Address | None:
    """The address that a host is, or None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def parsed_cidrs(cidrs: Iterable[str]) -> tuple[Network, ...]:
    """Ranges written as `10.0.0.0/8`, `fd00::/8`, or a single address.

    Raises:
        ValueError: one of them is no range; the message names it.
    """
    found: list[Network] = []
    for cidr in cidrs:
        try:
            found.append(ip_network(cidr))
        except ValueError as error:
            raise ValueError(
                f"{cidr!r} is no range of addresses ({error}); write it as 10.0.0.0/8"
            ) from None
    return tuple(found)


def _kind(address: Address, table: Sequence[tuple[Network, str]]) -> str | None:
    return next((kind for network, kind in table if address in network), None)


def _wrapped(address: Address) -> Iterator[IPv4Address]:
    """IPv4 addresses to which somebody may pass on what is sent to ``address``."""
    # :: and ::1 lie among the v4-compatible ones and wrap nothing
    if isinstance(address, IPv4Address) or int(address) <= 1:
        return
    packed = address.packed
    if any(address in network for network in _LOW_32):
        yield IPv4Address(packed[12:])
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if packed[8:12] in _ISATAP:
        yield IPv4Address(packed[12:])


def _perhaps_wrapped(address: Address) -> Iterator[IPv4Address]:
    """What a local NAT64 wraps, if its prefix is shorter than 96 bits (RFC 6052)."""
    if isinstance(address, IPv6Address) and address in _LOCAL_NAT64:
        packed = address.packed
        yield IPv4Address(packed[6:8] + packed[9:11])
        yield IPv4Address(packed[7:8] + packed[9:12])
        yield IPv4Address(packed[9:13])


# --- URLs ---------------------------------------------------------------------


def check_url(url: str, *, allow_http: bool = False) -> None:
    """Judge the look of an endpoint's URL; where it leads is judged at each call.

    Raises:
        InvalidInputError: it cannot be taken; the detail names the field `endpoint_url`.
    """
    parsed_url(url, allow_http=allow_http)


def parsed_url(url: str, *, allow_http: bool = False) -> httpx2.URL:
    """An endpoint's URL, taken apart; its host is lower case, ASCII, a name or an address.

    Raises:
        InvalidInputError: it cannot be taken; the detail names the field `endpoint_url`.
    """
    if len(url) > MAX_URL:
        raise InvalidInputError(
            f"endpoint_url has {len(url)} characters; at most {MAX_URL} are taken."
        )
    if any(sign.isspace() or not sign.isprintable() or sign == "\\" for sign in url):
        raise InvalidInputError(
            "endpoint_url holds a blank, a backslash or a sign that cannot be shown;"
            " write such signs in percent-encoding."
        )
    if "#" in url:
        raise InvalidInputError(
            "endpoint_url has a fragment (from the # on), which is never sent; leave it out."
        )
    _check_authority(url, allow_http=allow_http)
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as error:
        raise InvalidInputError(f"endpoint_url cannot be read: {error}.") from None
    _check_host(parsed.raw_host.decode("ascii"))
    return parsed


def _check_authority(url: str, *, allow_http: bool) -> None:
    found = _AUTHORITY.match(url)
    if found is None or not found["authority"]:
        raise InvalidInputError(
            "endpoint_url has to begin with https:// and a host, such as"
            " https://scan.example.com/hook."
        )
    if found["scheme"].lower() == "http" and not allow_http:
        raise InvalidInputError(
            "endpoint_url begins with http://, and only https:// is called; an"
            f" administrator can allow http:// with the server's setting {ALLOW_HTTP}."
        )
    if "@" in found["authority"]:
        raise InvalidInputError(
            "endpoint_url holds a user name or password (before the @); leave it out, and"
            " let the service check the signature of calls."
        )
    parts = _HOST_PORT.fullmatch(found["authority"])
    if parts is None or "%" in parts["host"]:
        raise InvalidInputError(
            "endpoint_url has no readable host and port; write scan.example.com:8443,"
            " 192.0.2.1 or [2001:db8::1], without a zone."
        )
    if parts["port"] and not 1 <= int(parts["port"]) <= 65535:
        raise InvalidInputError(
            f"endpoint_url has the port {parts['port']}; ports are 1 to 65535."
        )


def _check_host(host: str) -> None:
    """A name by DNS's rules, or an address in its usual form only."""
    if literal_of(host) is not None:
        return
    labels = host.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        raise InvalidInputError(
            f"endpoint_url names the host {host}, an address in an unusual form; write it"
            " as four decimal numbers, such as 198.51.100.7."
        )
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidInputError(f"endpoint_url names {host}, which is no host's name.")
