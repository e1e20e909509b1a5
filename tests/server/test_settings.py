from pathlib import Path

import pytest

from sluice.base.errors import InvalidInputError
from sluice.server.settings import ServerSettings, load_settings


def test_every_setting_says_what_it_is() -> None:
    bare = [
        name
        for name, field in ServerSettings.model_fields.items()
        if not (field.description or "").endswith(".")
    ]
    assert bare == []


def test_the_limits_of_the_spec_are_the_defaults() -> None:
    settings = load_settings()
    assert settings.stream_viewers_per_task == 100
    assert settings.streams_per_user == 10
    assert settings.streams_per_minute_per_address == 30
    assert settings.stream_idle_seconds == 600
    assert settings.heartbeat_seconds == 30
    assert settings.lease_seconds == 60


def test_what_is_given_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "server.toml"
    file.write_text('host = "10.0.0.1"\nport = 1\nredis_url = "redis://file/0"\n')
    monkeypatch.setenv("SLUICE_CONFIG", str(file))
    monkeypatch.setenv("SLUICE_PORT", "2")
    monkeypatch.setenv("SLUICE_HOST", "10.0.0.2")
    settings = load_settings({"host": "10.0.0.3", "port": None})
    assert settings.host == "10.0.0.3"
    assert settings.port == 2
    assert settings.redis_url == "redis://file/0"


def test_the_users_own_file_is_read_where_no_other_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config" / "sluice" / "server.toml"
    file.parent.mkdir(parents=True)
    file.write_text("port = 4242\n")
    assert load_settings().port == 4242


def test_unknown_names_in_the_file_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text("prot = 1\n")
    with pytest.raises(InvalidInputError, match="prot"):
        load_settings(config=file)


def test_a_named_file_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no settings file"):
        load_settings(config=tmp_path / "none.toml")


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text("port = \n")
    with pytest.raises(InvalidInputError, match=r"server\.toml cannot be read"):
        load_settings(config=file)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "99999"),
        ("database_url", "mysql://x/y"),
        ("database_url", "sqlite"),
        ("blob_url", "ftp://x"),
        ("public_url", "gopher://x"),
        ("log_format", "xml"),
        ("lease_seconds", "1"),
    ],
)
def test_a_bad_value_is_named_with_its_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"SLUICE_{name.upper()}", value)
    with pytest.raises(InvalidInputError, match=f"SLUICE_{name.upper()}"):
        load_settings()


def test_a_bad_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_FORMER_ENCRYPTION_KEYS", "hunter2")
    assert "hunter2" not in repr(load_settings())


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgresql://u:p@h/n", "postgresql+asyncpg://u:p@h/n"),
        ("postgres://u:p@h/n", "postgresql+asyncpg://u:p@h/n"),
        ("sqlite:///x.db", "sqlite+aiosqlite:///x.db"),
    ],
)
def test_database_urls_get_their_driver(given: str, used: str) -> None:
    assert load_settings({"database_url": given}).resolved_database_url == used


def test_without_a_database_url_a_file_in_the_data_directory_is_used(
    tmp_path: Path,
) -> None:
    settings = load_settings({"data_dir": tmp_path})
    assert settings.resolved_database_url == f"sqlite+aiosqlite:///{tmp_path}/sluice.db"
    assert settings.migrates_itself
    on_postgres = load_settings({"database_url": "postgresql://h/n"})
    assert not on_postgres.migrates_itself


def test_the_data_directory_follows_xdg(tmp_path: Path) -> None:
    assert load_settings().data_dir == tmp_path / "data" / "sluice"


def test_the_shown_address_can_be_opened() -> None:
    assert load_settings().resolved_public_url == "http://127.0.0.1:8460"
    everywhere = load_settings({"host": "0.0.0.0", "port": 80})
    assert everywhere.resolved_public_url == "http://127.0.0.1:80"
    public = load_settings({"public_url": "https://sluice.example.com/"})
    assert public.resolved_public_url == "https://sluice.example.com"


def test_origins_are_kept_as_browsers_write_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_settings().page_origins == set()
    monkeypatch.setenv(
        "SLUICE_ALLOWED_ORIGINS", "https://Panel.example.com/, http://10.0.0.1:80,"
    )
    settings = load_settings({"public_url": "https://sluice.example.com"})
    assert settings.page_origins == {
        "https://panel.example.com",
        "http://10.0.0.1",
        "https://sluice.example.com",
    }


@pytest.mark.parametrize("given", ["panel.example.com", "*", "https://x.example.com/p"])
def test_what_is_no_origin_is_refused(given: str) -> None:
    with pytest.raises(InvalidInputError, match=r"allowed_origins.*https://panel"):
        load_settings({"allowed_origins": given})


def test_calls_for_users_reach_nothing_private_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_settings().outgoing_allowed_cidrs == []
    assert not load_settings().outgoing_allow_http
    monkeypatch.setenv(
        "SLUICE_OUTGOING_ALLOWED_CIDRS", "10.0.0.0/8, fd00::/8,127.0.0.1"
    )
    monkeypatch.setenv("SLUICE_OUTGOING_ALLOW_HTTP", "true")
    settings = load_settings()
    assert settings.outgoing_allowed_cidrs == ["10.0.0.0/8", "fd00::/8", "127.0.0.1/32"]
    assert settings.outgoing_allow_http


@pytest.mark.parametrize("given", ["10.0.0.1/8", "10.0.0.0/33", "intranet"])
def test_what_is_no_range_is_refused_at_start(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_OUTGOING_ALLOWED_CIDRS", f"127.0.0.0/8,{given}")
    with pytest.raises(
        InvalidInputError, match="SLUICE_OUTGOING_ALLOWED_CIDRS"
    ) as caught:
        load_settings()
    assert f"{given!r} is no range of addresses" in caught.value.detail
