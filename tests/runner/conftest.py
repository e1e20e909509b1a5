"""What the runner's tests share: the real terraform, quiet and offline."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def terraform(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The terraform on this machine, with a CLI configuration of its own (empty)."""
    found = shutil.which("terraform")
    if found is None:
        pytest.skip("terraform is not installed")
    config: Path = tmp_path_factory.mktemp("terraform-cli") / "terraformrc"
    config.write_text("disable_checkpoint = true\n")
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(config))
    monkeypatch.setenv("CHECKPOINT_DISABLE", "1")
    return found
