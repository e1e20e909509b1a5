"""Reads a price file: which resources cost what a month, and how much more a plan may cost."""

import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StrictBool, StringConstraints, ValidationError

from sluice.wire.run_task import EnforcementLevel
from sluice.wire.shapes.base import Input

MAX_BYTES = 1024 * 1024
MAX_PRICES = 20_000
MAX_FAULTS = 20

Amount = Annotated[
    Decimal, Field(ge=0, le=Decimal(10) ** 12, max_digits=24, allow_inf_nan=False)
]
Path = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Wanted = (
    StrictBool
    | Decimal
    | Annotated[str, StringConstraints(strict=True, max_length=200)]
)

_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*price[ \t]*\]\]", re.MULTILINE)


class FileFormat(StrEnum):
    """How a price file is written."""

    TOML = "toml"
    JSON = "json"


class Per(Input):
    """A price for each unit of an attribute, such as a volume's size in gigabytes.

    Attributes:
        attribute: its path in the resource, such as ``root_block_device.0.volume_size``.
        monthly: the price of one unit.
        default: the number of units where the resource does not say it.
    """

    attribute: Path
    monthly: Amount
    default: Amount | None = None


class Price(Input):
    """What a kind of resource costs a month; the first of a file that fits counts.

    Attributes:
        type: the resource type, such as ``aws_instance``.
        where: attributes that must have a value, or one of several; ``*`` in a text
            stands for anything.
        monthly: what each one costs.
        per: what it costs beside that.
    """

    type: Path
    where: dict[Path, Wanted | list[Wanted]] = Field(default={}, max_length=20)
    monthly: Amount = Decimal(0)
    per: list[Per] = Field(default=[], max_length=20)


class PriceFile(Input):
    """All prices of an organization.

    Attributes:
        currency: three letters, such as ``USD``.
        level: what a broken limit does: `advisory` shows it, `mandatory` stops the task.
        max_monthly_increase: the most that one plan may add.
        max_monthly_total: the most that all of a workspace's priced resources may cost.
    """

    currency: str = Field(default="USD", pattern="^[A-Z]{3}$")
    level: EnforcementLevel = EnforcementLevel.ADVISORY
    max_monthly_increase: Amount | None = None
    max_monthly_total: Amount | None = None
    price: list[Price] = Field(min_length=1, max_length=MAX_PRICES)

    @property
    def binding(self) -> bool:
        """Whether there is a limit that stops tasks."""
        limits = (self.max_monthly_increase, self.max_monthly_total)
        return self.level is EnforcementLevel.MANDATORY and limits != (None, None)


@dataclass(frozen=True, slots=True)
class PriceFault:
    """What is wrong with a price file, and where: a line, a field, or both."""

    where: str
    message: str


class PriceFileError(ValueError):
    """A text is no price file; ``faults`` say why."""

    def __init__(self, faults: Sequence[PriceFault]) -> None:
        super().__init__(f"{faults[0].where}: {faults[0].message}")
        self.faults = tuple(faults)


def read_price_file(text: str, form: FileFormat) -> PriceFile:
    """The price file that a text holds.

    Raises:
        PriceFileError: it holds none; each fault names its line or field.
    """
    given = _decoded(text, form)
    try:
        return PriceFile.model_validate(given)
    except ValidationError as error:
        lines = _price_lines(text) if form is FileFormat.TOML else []
        raise PriceFileError(
            [
                PriceFault(
                    _place(item["loc"], lines),
                    item["msg"].removeprefix("Value error, "),
                )
                for item in error.errors(include_url=False, include_input=False)
            ][:MAX_FAULTS]
        ) from None


def _decoded(text: str, form: FileFormat) -> Any:
    try:
        if form is FileFormat.JSON:
            return json.loads(text, parse_float=Decimal)
        return tomllib.loads(text, parse_float=Decimal)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise PriceFileError([PriceFault(place, error.msg)]) from None
    except (ValueError, RecursionError) as error:
        found = re.search(
            r"^(.*) \(at (line \d+, column \d+|end of document)\)$", f"{error}"
        )
        message, place = found.groups() if found else (str(error), "the file")
        raise PriceFileError([PriceFault(place, message)]) from None


def _price_lines(text: str) -> list[int]:
    return [text.count("\n", 0, at.start()) + 1 for at in _HEADER.finditer(text)]


def _place(loc: tuple[int | str, ...], lines: Sequence[int]) -> str:
    """``price[2].monthly``, with the line where that price begins."""
    name = ""
    for part in loc:
        name += f"[{part}]" if isinstance(part, int) else f".{part}"
    name = name.removeprefix(".") or "the file"
    at = loc[1] if len(loc) > 1 and loc[0] == "price" else None
    if isinstance(at, int) and at < len(lines):
        return f"{name} (line {lines[at]})"
    return name
