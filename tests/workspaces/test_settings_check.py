import pytest

from sluice.base.errors import InvalidInputError
from sluice.wire.shapes.workspaces import VariableCategory
from sluice.workspaces import settings_check


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        (".", ""),
        ("./", ""),
        ("env/prod", "env/prod"),
        ("./env//prod/", "env/prod"),
        (" env ", "env"),
        ("..env", "..env"),
    ],
)
def test_a_working_directory_is_a_plain_relative_path(given: str, kept: str) -> None:
    assert settings_check.working_directory(given) == kept


@pytest.mark.parametrize(
    "given", ["/etc", "..", "a/../../b", "a/..", "a\\b", "a\nb", "a\x00b", "/"]
)
def test_a_working_directory_does_not_lead_out(given: str) -> None:
    with pytest.raises(InvalidInputError, match="working_directory"):
        settings_check.working_directory(given)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("latest", "latest"),
        ("", "latest"),
        (" 1.11.4 ", "1.11.4"),
        ("~> 1.11.0", "~> 1.11.0"),
        (">= 1.5, < 2", ">= 1.5, < 2"),
    ],
)
def test_a_terraform_version_is_exact_or_a_constraint(given: str, kept: str) -> None:
    assert settings_check.terraform_version(given) == kept


@pytest.mark.parametrize("given", ["newest", "1.x", "~>", "1.11.4;rm", ">> 1", ","])
def test_what_is_no_version_is_refused_by_name(given: str) -> None:
    with pytest.raises(InvalidInputError, match="terraform_version: "):
        settings_check.terraform_version(given)


def test_an_environment_variable_is_no_hcl() -> None:
    settings_check.variable_kind(VariableCategory.TERRAFORM, hcl=True)
    settings_check.variable_kind(VariableCategory.ENV, hcl=False)
    with pytest.raises(InvalidInputError, match="hcl"):
        settings_check.variable_kind(VariableCategory.ENV, hcl=True)


def test_an_environment_variable_fits_into_an_environment() -> None:
    settings_check.variable_size(VariableCategory.TERRAFORM, "key", "x" * 200_000)
    longest = "é" * 65_533 + "x"
    settings_check.variable_size(VariableCategory.ENV, "key", longest)
    with pytest.raises(InvalidInputError, match="at most 131071 bytes"):
        settings_check.variable_size(VariableCategory.ENV, "key", longest + "x")
