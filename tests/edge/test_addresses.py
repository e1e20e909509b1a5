from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.base.errors import InvalidInputError
from sluice.edge.addresses import (
    Address,
    check_url,
    parsed_cidrs,
    parsed_url,
    refusal_of,
)

REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.0.9",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::1",
    "64:ff9b:1:ffff::1",
    "100::1",
    "2001::1",
    "2001:2::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fdff:ffff::1",
    "fec0::1",
    "ff02::1",
    "2a00:1450::5efe:10.0.0.1",
    "2a00:1450::200:5efe:127.0.0.1",
]
NEVER = [
    "169.254.169.254",
    "169.254.0.1",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fe80::1",
    "fe80::a9fe:a9fe",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:42::42",
    "::ffff:169.254.169.254",
    "::ffff:0:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::169.254.169.254",
    "64:ff9b:1:a9fe:a9:fe00::",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1",
    "2001:0:808:808::5601:5601",
    "2a00:1450::5efe:169.254.169.254",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700::1111",
    "2a00:1450::1",
]
EVERYTHING = parsed_cidrs(["0.0.0.0/0", "::/0"])


@pytest.mark.parametrize("address", [*REFUSED, *NEVER])
def test_what_is_not_public_is_refused(address: str) -> None:
    assert refusal_of(address) is not None


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_called(address: str) -> None:
    assert refusal_of(address) is None


@pytest.mark.parametrize("address", REFUSED)
def test_an_allow_list_opens_what_is_refused(address: str) -> None:
    refusal = refusal_of(address)
    assert refusal is not None
    assert refusal.may_be_opened
    assert "SLUICE_OUTGOING_ALLOWED_CIDRS" in refusal.words()
    assert refusal_of(address, EVERYTHING) is None


@pytest.mark.parametrize("address", NEVER)
def test_no_allow_list_opens_metadata(address: str) -> None:
    exactly = parsed_cidrs([address.partition("%")[0]])
    for allowed in ((), EVERYTHING, exactly):
        refusal = refusal_of(address, allowed)
        assert refusal is not None
        assert not refusal.may_be_opened
        assert "no setting opens it" in refusal.words()


def test_an_allow_list_opens_no_more_than_it_says() -> None:
    allowed = parsed_cidrs(["10.1.0.0/16"])
    assert refusal_of("10.1.255.255", allowed) is None
    assert refusal_of("10.2.0.0", allowed) is not None
    assert refusal_of("127.0.0.1", allowed) is not None


def test_opening_a_way_of_wrapping_does_not_open_what_is_wrapped() -> None:
    allowed = parsed_cidrs(["64:ff9b::/96"])
    assert refusal_of("64:ff9b::8.8.8.8", allowed) is None
    refusal = refusal_of("64:ff9b::10.0.0.1", allowed)
    assert refusal is not None
    assert "stands for 10.0.0.1 (private)" in refusal.words("scan.example.com")
    opened = parsed_cidrs(["64:ff9b::/96", "10.0.0.0/8"])
    assert refusal_of("64:ff9b::10.0.0.1", opened) is None


def _in(cidr: str) -> st.SearchStrategy[Address]:
    network = ip_network(cidr)
    last = network.num_addresses - 1
    return st.integers(0, last).map(lambda offset: network[offset])


def _wrapped_forms(address: IPv4Address) -> list[IPv6Address]:
    number = int(address)
    inverted = number ^ 0xFFFFFFFF
    high, low = number >> 16, number & 0xFFFF
    local = 0x0064FF9B0001 << 80
    return [
        IPv6Address(number | 0xFFFF << 32),
        IPv6Address(number | 0xFFFF << 48),
        IPv6Address(number),
        IPv6Address(number | 0x0064FF9B << 96),
        IPv6Address(number | local),
        IPv6Address(local | high << 64 | low << 40),
        IPv6Address(0x2002 << 112 | number << 80 | 1),
        IPv6Address(0x20010000 << 96 | number << 64),
        IPv6Address(0x20010000 << 96 | 0x08080808 << 64 | inverted),
        IPv6Address(0x2A001450 << 96 | 0x5EFE << 32 | number),
    ]


REFUSED_V4 = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/3",
]


@given(st.sampled_from(REFUSED_V4).flatmap(_in))
def test_a_refused_address_is_refused_in_every_wrapping(address: IPv4Address) -> None:
    assert refusal_of(address) is not None
    for form in _wrapped_forms(address):
        assert refusal_of(form) is not None, form
        assert refusal_of(str(form)) is not None, form


@given(_in("169.254.0.0/16"))
def test_metadata_is_never_opened_in_any_wrapping(address: IPv4Address) -> None:
    for form in [address, *_wrapped_forms(address)]:
        refusal = refusal_of(str(form), EVERYTHING)
        assert refusal is not None, form
        assert not refusal.may_be_opened


@given(st.one_of(_in("0.0.0.0/0"), _in("::/0")))
def test_what_is_called_is_global_by_the_standard_library_too(address: Address) -> None:
    if refusal_of(address) is None:
        assert address.is_global
        assert not address.is_multicast


@given(st.one_of(*map(_in, ["fc00::/7", "fe80::/10", "ff00::/8", "2002::/16"])))
def test_private_ranges_of_ipv6_are_refused(address: IPv6Address) -> None:
    assert refusal_of(address) is not None


def test_cidrs_are_ranges_or_single_addresses() -> None:
    assert parsed_cidrs(["10.0.0.0/8", "127.0.0.1"]) == (
        IPv4Network("10.0.0.0/8"),
        IPv4Network("127.0.0.1/32"),
    )


@pytest.mark.parametrize("cidr", ["10.0.0.1/8", "10.0.0.0/33", "intranet", ""])
def test_a_bad_cidr_is_named(cidr: str) -> None:
    with pytest.raises(ValueError, match="is no range of addresses") as caught:
        parsed_cidrs(["127.0.0.0/8", cidr])
    assert repr(cidr) in str(caught.value)


# --- URLs ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://scan.example.com",
        "https://scan.example.com/hook?key=a%20b&x=ü",
        "HTTPS://Scan.Example.Com:8443/hook",
        "https://scan.example.com./hook",
        "https://bücher.example/",
        "https://my_service.internal:1/",
        "https://localhost:65535",
        "https://8.8.8.8/",
        "https://[2001:4860:4860::8888]:8443/",
        "https://a/" + "p" * 490,
        "https://scan.example.com/@someone",
        "https://scan.example.com?to=someone@example.com",
    ],
)
def test_an_endpoint_may_look_like(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "has to begin with https://"),
        ("scan.example.com", "has to begin with https://"),
        ("ftp://scan.example.com", "has to begin with https://"),
        ("file:///etc/passwd", "has to begin with https://"),
        ("https:///hook", "has to begin with https://"),
        ("https:scan.example.com", "has to begin with https://"),
        ("//scan.example.com", "has to begin with https://"),
        ("http://scan.example.com", "SLUICE_OUTGOING_ALLOW_HTTP"),
        ("https://a/" + "p" * 491, "has 501 characters"),
        ("https://user:secret@scan.example.com", "user name or password"),
        ("https://@scan.example.com", "user name or password"),
        ("https://8.8.8.8@127.0.0.1", "user name or password"),
        ("https://scan.example.com/#part", "fragment"),
        ("https://scan.example.com#@127.0.0.1", "fragment"),
        ("https://scan.example.com\\@127.0.0.1", "backslash"),
        ("https://scan.example.com /", "blank"),
        (" https://scan.example.com", "blank"),
        ("https://scan.example.com/\r\nX: y", "blank"),
        ("https://scan.example.com/\x00", "cannot be shown"),
        ("https://scan.example.com/\ud800", "cannot be shown"),
        ("https://scan.exa\u200bmple.com", "cannot be shown"),
        ("https://scan.example.com:0", "ports are 1 to 65535"),
        ("https://scan.example.com:65536", "ports are 1 to 65535"),
        ("https://scan.example.com:", "host and port"),
        ("https://scan.example.com:+80", "host and port"),
        ("https://scan.example.com:\uff18\uff10", "host and port"),
        ("https://scan.example.com:80:80", "host and port"),
        ("https://[::1", "host and port"),
        ("https://::1", "host and port"),
        ("https://[fe80::1%eth0]", "host and port"),
        ("https://[fe80::1%25eth0]", "host and port"),
        ("https://%31%32%37.0.0.1", "host and port"),
        ("https://[127.0.0.1]", "cannot be read"),
        ("https://[::1]x", "host and port"),
        ("https://0177.0.0.1", "cannot be read"),
        ("https://127.0.0.256", "cannot be read"),
        ("https://127.0.0.1.", "unusual form"),
        ("https://127.1", "unusual form"),
        ("https://2130706433", "unusual form"),
        ("https://0x7f000001", "unusual form"),
        ("https://0x7f.0.0.0x1", "unusual form"),
        ("https://0X7F000001", "unusual form"),
        ("https://127.0.0.0x1", "unusual form"),
        ("https://1。1", "unusual form"),
        ("https://\uff11\uff12\uff17.0.0.1", "cannot be read"),
        ("https://a..b", "no host's name"),
        ("https://.", "no host's name"),
        ("https://-a.example", "no host's name"),
        ("https://" + "a" * 64 + ".example", "no host's name"),
        ("https://" + ".".join(["a" * 60] * 5), "no host's name"),
        ("https://a,b", "no host's name"),
    ],
)
def test_an_endpoint_may_not_look_like(url: str, why: str) -> None:
    with pytest.raises(InvalidInputError, match="endpoint_url") as caught:
        check_url(url)
    assert why in caught.value.detail
    assert "secret" not in caught.value.detail


def test_plain_http_is_taken_where_it_is_allowed() -> None:
    check_url("http://scan.example.com", allow_http=True)


def test_dots_of_other_scripts_are_read_as_dots() -> None:
    assert parsed_url("https://127。0。0。1").raw_host == b"127.0.0.1"


@given(st.text(max_size=60))
def test_any_text_is_taken_or_refused_by_name(text: str) -> None:
    for url in (text, f"https://{text}", f"https://{text}:1/", f"https://[{text}]"):
        try:
            parsed = parsed_url(url)
        except InvalidInputError:
            continue
        assert parsed.scheme == "https"
        assert not parsed.userinfo
        host = parsed.raw_host.decode("ascii")
        if not host.rpartition(".")[2].strip("0123456789"):
            IPv4Address(host)
