"""Price files and estimates, without I/O."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sluice.costs.estimating import estimate, log_line, verdict
from sluice.costs.model import Estimate
from sluice.costs.plan_values import PlanValuesError, planned_resources
from sluice.costs.price_file import (
    FileFormat,
    PriceFile,
    PriceFileError,
    read_price_file,
)
from sluice.tasks.gates import Verdict

HERE = Path(__file__).parent
PRICES = (HERE / "prices.toml").read_text()
AWS_PLAN = (HERE.parent / "policies" / "aws_plan.json").read_bytes()


def prices(text: str = PRICES) -> PriceFile:
    return read_price_file(text, FileFormat.TOML)


def plan_of(after: dict[str, Any], **change: Any) -> bytes:
    return json.dumps(
        {
            "resource_changes": [
                {
                    "address": "x.a",
                    "type": "x",
                    "change": {"before": None, "after": after, **change},
                }
            ]
        }
    ).encode()


def one(rule: str, after: dict[str, Any], **change: Any) -> Estimate:
    file = prices(f'[[price]]\ntype = "x"\n{rule}\n')
    return estimate(file, planned_resources(plan_of(after, **change)))


def test_a_plan_for_aws_is_estimated_to_the_cent() -> None:
    found = estimate(prices(), planned_resources(AWS_PLAN))
    # web and old were t3.micro with 20 and 8 GB, the gateway stays
    assert found.prior == Decimal("8.76") * 2 + Decimal("0.0952") * 28 + Decimal(
        "37.96"
    )
    assert found.proposed == Decimal("70.08") + Decimal("0.0952") * 150 + Decimal(
        "37.96"
    )
    assert {item.address: item.reason for item in found.unpriced} == {
        "aws_ebs_volume.from_snapshot": "size is known after the apply only",
        "aws_iam_role.web": "the price file has no price for aws_iam_role",
    }
    assert (found.priced_count, found.unpriced_count) == (5, 2)
    assert found.resources[0].address == "aws_instance.web"
    assert [
        (item.prior, item.proposed)
        for item in found.resources
        if item.address == "aws_instance.old"
    ] == [(Decimal("9.5216"), None)]
    assert log_line(found) == (
        "cost estimate: 58.15 -> 122.32 USD a month (+64.17); 2 resources have no price;"
        " the plan adds 64.17 USD a month, more than the 50.00 allowed"
        " (max_monthly_increase)"
    )
    stopped = verdict(prices(), found)
    assert not stopped.passed
    assert "max_monthly_increase" in stopped.text


def test_limits_hold_as_the_file_says() -> None:
    advisory = prices(PRICES.replace("mandatory", "advisory"))
    found = estimate(advisory, planned_resources(AWS_PLAN))
    assert found.broken
    assert verdict(advisory, found) == Verdict(passed=True)
    total = prices(
        PRICES.replace("max_monthly_increase = 50", "").replace("500", "100")
    )
    found = estimate(total, planned_resources(AWS_PLAN))
    assert "max_monthly_total" in verdict(total, found).text
    exact = prices(
        'level="mandatory"\nmax_monthly_increase=10\n[[price]]\ntype="x"\nmonthly=10'
    )
    assert verdict(exact, estimate(exact, planned_resources(plan_of({})))).passed


def test_what_already_costs_too_much_may_become_cheaper() -> None:
    file = prices(
        'level="mandatory"\nmax_monthly_total=1\n[[price]]\ntype="x"\nper=[{attribute="n",monthly=1}]'
    )
    plan = plan_of({"n": 5}, before={"n": 9})
    assert verdict(file, estimate(file, planned_resources(plan))).passed
    plan = plan_of({"n": 9}, before={"n": 5})
    assert not verdict(file, estimate(file, planned_resources(plan))).passed


@pytest.mark.parametrize(
    ("where", "after", "fits"),
    [
        ('where = { a = "b" }', {"a": "b"}, True),
        ('where = { a = "b" }', {"a": "B"}, False),
        ('where = { a = "b" }', {"a": ["b"]}, False),
        ('where = { a = "b" }', {}, False),
        ('where = { a = "m5.*" }', {"a": "m5.large"}, True),
        ('where = { a = ["x", "y"] }', {"a": "y"}, True),
        ("where = { a = 1 }", {"a": 1}, True),
        ("where = { a = 1 }", {"a": 1.0}, True),
        ("where = { a = 1 }", {"a": "1"}, True),
        ("where = { a = 1 }", {"a": True}, False),
        ("where = { a = true }", {"a": True}, True),
        ("where = { a = true }", {"a": 1}, False),
        ("where = { a = false }", {"a": None}, False),
        ('where = { "a.0.b" = "c" }', {"a": [{"b": "c"}]}, True),
        ('where = { "a.1.b" = "c" }', {"a": [{"b": "c"}]}, False),
        ('where = { a = "b", c = "d" }', {"a": "b", "c": "x"}, False),
    ],
)
def test_conditions(where: str, after: dict[str, Any], fits: bool) -> None:
    found = one(f"{where}\nmonthly = 3", after)
    assert (found.priced_count == 1) is fits


def test_the_first_price_that_fits_counts() -> None:
    rule = 'where = { a = "b" }\nmonthly = 1\n[[price]]\ntype = "x"\nmonthly = 2'
    assert one(rule, {"a": "b"}).proposed == 1
    assert one(rule, {"a": "c"}).proposed == 2


@pytest.mark.parametrize(
    ("after", "change", "expected"),
    [
        ({"n": 3}, {}, Decimal("1.5")),
        ({"n": "3"}, {}, Decimal("1.5")),
        ({}, {}, "n is no number"),
        (
            {"n": None},
            {"after_unknown": {"n": True}},
            "n is known after the apply only",
        ),
        ({"n": "many"}, {}, "n is no number"),
        ({"n": True}, {}, "n is no number"),
        ({"n": -3}, {}, "n is below zero"),
        ({"n": "NaN"}, {}, "n is no number"),
        ({"n": "1e999999"}, {}, "n is no number"),
    ],
)
def test_units(
    after: dict[str, Any], change: dict[str, Any], expected: Decimal | str
) -> None:
    found = one('per = [{ attribute = "n", monthly = 0.5 }]', after, **change)
    if isinstance(expected, str):
        assert [item.reason for item in found.unpriced] == [expected]
    else:
        assert found.proposed == expected


def test_a_condition_that_is_not_known_yet_is_said() -> None:
    found = one('where = { a = "b" }\nmonthly = 1', {}, after_unknown={"a": True})
    assert found.unpriced[0].reason == "a is known after the apply only"


def test_a_resource_is_never_shown_with_its_values() -> None:
    found = one('where = { a = "b" }\nmonthly = 1', {"a": "hunter2"})
    assert "hunter2" not in str(found)


def test_data_sources_cost_nothing() -> None:
    plan = json.dumps(
        {
            "resource_changes": [
                {
                    "address": "data.x.a",
                    "type": "x",
                    "mode": "data",
                    "change": {"after": {}},
                }
            ]
        }
    )
    assert planned_resources(plan.encode()) == []


def test_what_is_no_plan_is_said() -> None:
    for content in (b"", b"[]", b'{"resource_changes": 3}', b"{" * 100_000):
        with pytest.raises(PlanValuesError, match="plan JSON"):
            planned_resources(content)


def test_json_is_as_good_as_toml() -> None:
    text = '{"price": [{"type": "x", "monthly": 0.1, "where": {"a": 0.3}}]}'
    file = read_price_file(text, FileFormat.JSON)
    assert file.price[0].monthly == Decimal("0.1")
    assert file.price[0].where == {"a": Decimal("0.3")}


HEAD = 'currency = "USD"\n\n[[price]]\ntype = "x"\n\n[[price]]\n'


@pytest.mark.parametrize(
    ("text", "form", "where", "message"),
    [
        ("a = = 1", "toml", "line 1, column 5", "value"),
        ("a = 1\nb", "toml", "end of document", ""),
        ('{"price": [}', "json", "line 1, column 12", "Expecting"),
        ("", "toml", "price", "required"),
        ("price = []", "toml", "price", "at least 1"),
        ('[price]\ntype = "x"', "toml", "price", "list"),
        (HEAD, "toml", "price[1].type (line 6)", "required"),
        (f'{HEAD}type = "y"\nmonthly = -1', "toml", "price[1].monthly (line 6)", "0"),
        (f'{HEAD}type = "y"\nmonthly = "x"', "toml", "price[1].monthly (line 6)", ""),
        (f'{HEAD}type = "y"\nmonthly = inf', "toml", "price[1].monthly (line 6)", ""),
        (
            f'{HEAD}type = "y"\nper = [{{attribute = "a"}}]',
            "toml",
            "price[1].per[0].monthly (line 6)",
            "required",
        ),
        (
            f'{HEAD}type = "y"\nhourly = 1',
            "toml",
            "price[1].hourly (line 6)",
            "not permitted",
        ),
        ('currency = "usd"\n[[price]]\ntype="x"', "toml", "currency", "pattern"),
        ('{"price": [{"type": 3}]}', "json", "price[0].type", "string"),
        ("[1]", "json", "the file", ""),
        ('{"price":[{"type":"\\u0000"}]}', "json", "price[0].type", "NUL"),
        ("[" * 100_000, "json", "the file", ""),
    ],
)
def test_faults_name_the_line_or_the_field(
    text: str, form: str, where: str, message: str
) -> None:
    with pytest.raises(PriceFileError) as raised:
        read_price_file(text, FileFormat(form))
    fault = raised.value.faults[0]
    assert fault.where == where, fault
    assert message in fault.message, fault


def test_all_faults_are_told_but_not_too_many() -> None:
    with pytest.raises(PriceFileError) as raised:
        prices("[[price]]\n" * 100)
    assert len(raised.value.faults) == 20
