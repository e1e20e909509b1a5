"""Which server and token are used, and how they are kept."""

import json
import stat
from pathlib import Path

import pytest

from sluice.base.errors import InvalidInputError
from sluice.client.settings import (
    DEFAULT_URL,
    Credentials,
    StoredServer,
    client_settings,
    normalized_url,
    read_credentials,
    write_credentials,
)


def stored(path: Path, **servers: str) -> dict[str, str]:
    """Credentials on disk, and the environment that finds them."""
    content = Credentials()
    for name, token in servers.items():
        content = content.signed_in(f"https://{name}.example.com", StoredServer(token))
    write_credentials(path / "sluice" / "credentials.json", content)
    return {"XDG_CONFIG_HOME": str(path)}


def test_the_last_sign_in_is_the_server(tmp_path: Path) -> None:
    environ = stored(tmp_path, one="slu_1", two="slu_2")
    settings = client_settings(environ=environ)
    assert (settings.url, settings.token) == ("https://two.example.com", "slu_2")
    assert not settings.token_from_environment


def test_an_option_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path,
) -> None:
    environ = stored(tmp_path, one="slu_1", two="slu_2")
    environ["SLUICE_URL"] = "https://one.example.com/"
    assert client_settings(environ=environ).token == "slu_1"
    chosen = client_settings(url="https://two.example.com", environ=environ)
    assert chosen.token == "slu_2"


def test_a_stored_token_goes_to_its_own_server_only(tmp_path: Path) -> None:
    environ = stored(tmp_path, one="slu_1")
    other = client_settings(url="https://evil.example.com", environ=environ)
    assert other.token is None
    plain = client_settings(url="http://one.example.com", environ=environ)
    assert plain.token is None


def test_a_token_from_the_environment_wins(tmp_path: Path) -> None:
    environ = {**stored(tmp_path, one="slu_1"), "SLUICE_TOKEN": "slu_env\n"}
    settings = client_settings(environ=environ)
    assert settings.token == "slu_env"
    assert settings.token_from_environment


def test_nothing_stored_means_the_local_server(tmp_path: Path) -> None:
    settings = client_settings(environ={"XDG_CONFIG_HOME": str(tmp_path)})
    assert (settings.url, settings.token) == (DEFAULT_URL, None)


def test_credentials_belong_to_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "credentials.json"
    write_credentials(path, Credentials().signed_in("https://a", StoredServer("slu_x")))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    write_credentials(path, Credentials())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in path.parent.iterdir()] == ["credentials.json"]


def test_signing_out_goes_back_to_another_server() -> None:
    both = (
        Credentials()
        .signed_in("https://a", StoredServer("slu_a"))
        .signed_in("https://b", StoredServer("slu_b"))
    )
    left = both.signed_out("https://b")
    assert left.current == "https://a"
    assert left.signed_out("https://a") == Credentials()


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(json.dumps(["not", "this"]))
    with pytest.raises(InvalidInputError, match=r"credentials\.json cannot be read"):
        read_credentials(path)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://a.example.com/", "https://a.example.com"),
        ("a.example.com", "https://a.example.com"),
        ("localhost:8460", "http://localhost:8460"),
        ("127.0.0.1:8460", "http://127.0.0.1:8460"),
        (" http://a/base/ ", "http://a/base"),
    ],
)
def test_urls_are_brought_to_one_form(given: str, url: str) -> None:
    assert normalized_url(given) == url


@pytest.mark.parametrize("given", ["", "ftp://a", "https://", "http://a:port"])
def test_what_is_no_url_is_refused(given: str) -> None:
    with pytest.raises(InvalidInputError, match="no address"):
        normalized_url(given)
