"""The settings of `sluice exec`: names old and new, and what is not taken."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from sluice.client.settings import (
    Credentials,
    StoredServer,
    write_credentials,
)
from sluice.runner.exec_dir import new_exec_dir
from sluice.runner.exec_run import is_task_name
from sluice.runner.exec_settings import (
    ExecSettings,
    Server,
    find_server,
    load_exec_settings,
    secrets_in_environment,
    server_address,
)


def load(**environ: str) -> ExecSettings:
    loaded = load_exec_settings(environ=environ)
    assert loaded.problems == []
    return loaded.settings


def test_the_defaults_are_those_of_the_specification() -> None:
    settings = load()
    assert settings.log_streaming_enabled is True
    assert settings.log_buffer_size == 1000
    assert settings.log_batch_size == 10
    assert settings.log_flush_interval == 1.0
    assert settings.drain_timeout == 30.0
    assert (settings.task_id, settings.url, settings.log_level) == ("", "", "")


@pytest.mark.parametrize(
    ("name", "variable", "given", "value"),
    [
        ("task_id", "KERUTA_TASK_ID", "task123", "task123"),
        ("url", "KERUTA_API_URL", "http://keruta-api:8080", "http://keruta-api:8080"),
        (
            "url",
            "KERUTA_WEBSOCKET_URL",
            "ws://keruta-api:8080/ws/tasks",
            "http://keruta-api:8080",
        ),
        ("log_streaming_enabled", "KERUTA_LOG_STREAMING_ENABLED", "false", False),
        ("log_buffer_size", "KERUTA_LOG_BUFFER_SIZE", "5000", 5000),
        ("log_batch_size", "KERUTA_LOG_BATCH_SIZE", "100", 100),
        ("log_flush_interval", "KERUTA_LOG_FLUSH_INTERVAL", "5", 5.0),
        ("log_flush_interval", "KERUTA_LOG_FLUSH_INTERVAL", "2s", 2.0),
        ("log_level", "KERUTA_LOG_LEVEL", "debug", "DEBUG"),
        ("log_level", "SLUICE_LOG_LEVEL", "warning", "WARN"),
        ("log_mask", "SLUICE_LOG_MASK", "A, B,", ["A", "B"]),
        ("exec_dir", "SLUICE_EXEC_DIR", "/spools", Path("/spools")),
    ],
)
def test_each_setting_has_its_names(
    name: str, variable: str, given: str, value: object
) -> None:
    assert getattr(load(**{variable: given}), name) == value
    ours = f"SLUICE_{name.upper()}"
    assert getattr(load(**{ours: given}), name) == value


@pytest.mark.parametrize(
    "variable", ["KERUTA_API_TOKEN", "KERUTA_AUTH_TOKEN", "KERUTA_API_KEY"]
)
def test_a_token_by_any_name(variable: str) -> None:
    assert load(**{variable: "abc"}).token.get_secret_value() == "abc"
    both = load(**{variable: "abc", "SLUICE_TOKEN": "ours"})
    assert both.token.get_secret_value() == "ours"


def test_ours_comes_before_theirs_and_the_command_line_before_both() -> None:
    environ = {"KERUTA_TASK_ID": "theirs", "SLUICE_TASK_ID": "ours"}
    assert load(**environ).task_id == "ours"
    given = load_exec_settings({"task_id": "given", "url": None}, environ=environ)
    assert given.settings.task_id == "given"


def test_what_is_empty_counts_as_not_set() -> None:
    settings = load(SLUICE_TASK_ID="", KERUTA_TASK_ID="t", SLUICE_LOG_BATCH_SIZE=" ")
    assert (settings.task_id, settings.log_batch_size) == ("t", 10)


def test_what_cannot_be_taken_is_named_and_left_out() -> None:
    loaded = load_exec_settings(
        environ={
            "KERUTA_LOG_BUFFER_SIZE": "lots",
            "SLUICE_LOG_BATCH_SIZE": "0",
            "SLUICE_URL": "http://[bad",
            "KERUTA_LOG_LEVEL": "LOUD",
            "KERUTA_TASK_ID": "t",
        }
    )
    assert loaded.settings == ExecSettings(task_id="t")
    named = {problem.split()[0] for problem in loaded.problems}
    assert named == {
        "KERUTA_LOG_BUFFER_SIZE",
        "SLUICE_LOG_BATCH_SIZE",
        "SLUICE_URL",
        "KERUTA_LOG_LEVEL",
    }
    assert not any("lots" in problem for problem in loaded.problems)


def test_what_is_given_and_cannot_be_taken_is_refused() -> None:
    with pytest.raises(ValidationError):
        load_exec_settings({"log_level": "LOUD"}, environ={})
    with pytest.raises(ValidationError):
        load_exec_settings({"drain_timeout": -1.0}, environ={})


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("", ""),
        ("https://s.example/", "https://s.example"),
        ("http://k:8080/api/v1", "http://k:8080"),
        ("http://k:8080/api/v1/", "http://k:8080"),
        ("http://k:8080/api", "http://k:8080"),
        ("wss://k/ws/tasks", "https://k"),
        ("https://k/behind/a/proxy", "https://k/behind/a/proxy"),
        ("k.example", "k.example"),
    ],
)
def test_addresses_of_apis_become_those_of_servers(given: str, address: str) -> None:
    assert server_address(given) == address


def test_who_is_signed_in_needs_no_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("SLUICE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert find_server(ExecSettings()) is None
    url = "https://s.example"
    signed_in = Credentials().signed_in(url, StoredServer("stored"))
    write_credentials(tmp_path / "sluice" / "credentials.json", signed_in)
    assert find_server(ExecSettings()) == Server(url, "stored")
    assert find_server(ExecSettings(url="https://other.example")) is None
    other = ExecSettings.model_validate({"url": "https://o.example", "token": "t"})
    assert find_server(other) == Server("https://o.example", "t")
    (tmp_path / "sluice" / "credentials.json").write_text("{")
    assert find_server(other) == Server("https://o.example", "t")
    assert find_server(ExecSettings()) is None


def test_tokens_and_named_values_are_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERUTA_API_TOKEN", "theirs")
    monkeypatch.setenv("PASSWORD", "secret")
    monkeypatch.delenv("SLUICE_TOKEN", raising=False)
    settings = ExecSettings(log_mask=["PASSWORD", "NOT_SET"])
    assert secrets_in_environment(settings) == ["theirs", "secret"]


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("task123", True),
        ("task-8fQ2", True),
        ("123e4567-e89b-12d3-a456-426614174000", True),
        ("", False),
        ("../x", False),
        ("a/b", False),
        (".hidden", False),
        ("x" * 91, False),
        ("a b", False),
        ("a\n", False),
    ],
)
def test_ids_of_tasks(name: str, *, good: bool) -> None:
    assert is_task_name(name) is good


def test_the_first_place_that_can_be_written_to_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    lasting = new_exec_dir("run-1", lasting=tmp_path / "a", passing=[tmp_path])
    assert lasting is not None
    assert lasting.root == tmp_path / "a" / "run-1"
    passing = new_exec_dir("run-2", lasting=file / "a", passing=[file, tmp_path])
    assert passing is not None
    assert passing.root.parent == tmp_path
    assert passing.root.stat().st_mode & 0o777 == 0o700
    assert new_exec_dir("run-3", lasting=file, passing=[file]) is None
