"""Decides what a plan costs a month by a price file, and whether that is too much."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from typing import Any

from sluice.costs.model import Estimate, Pricing, Unpriced
from sluice.costs.plan_values import PlannedResource, attribute, is_unknown
from sluice.costs.price_file import Per, Price, PriceFile, Wanted
from sluice.tasks.gates import Verdict

KEPT = 1000
"""So many resources of each kind are listed; the sums are of all."""


@dataclass(frozen=True, slots=True)
class _Side:
    """A resource before or after, with the marks of what is not known yet."""

    type: str
    values: Mapping[str, Any]
    unknown: Any = None


class _NoPriceError(Exception):
    """There is no price; the text says why, with no value of the resource in it."""


def estimate(file: PriceFile, resources: Iterable[PlannedResource]) -> Estimate:
    """What the resources cost before and after, and those without a price."""
    by_type: dict[str, list[Price]] = {}
    for price in file.price:
        by_type.setdefault(price.type, []).append(price)
    priced: list[Pricing] = []
    unpriced: list[Unpriced] = []
    for resource in resources:
        try:
            priced.append(_pricing(by_type, resource))
        except _NoPriceError as error:
            unpriced.append(Unpriced(resource.address, resource.type, str(error)))
    prior = sum((item.prior or Decimal(0) for item in priced), Decimal(0))
    proposed = sum((item.proposed or Decimal(0) for item in priced), Decimal(0))
    return Estimate(
        currency=file.currency,
        prior=prior,
        proposed=proposed,
        resources=tuple(sorted(priced, key=_by_change)[:KEPT]),
        unpriced=tuple(unpriced[:KEPT]),
        priced_count=len(priced),
        unpriced_count=len(unpriced),
        broken=_broken(file, prior, proposed),
    )


def verdict(file: PriceFile, found: Estimate) -> Verdict:
    """A broken limit stops the task where the file says so."""
    if file.binding and found.broken:
        return Verdict(
            passed=False,
            text=f"stopped by the cost estimate: {'; '.join(found.broken)}",
        )
    return Verdict(passed=True)


def log_line(found: Estimate) -> str:
    """What a task's log says of an estimate."""
    delta = found.delta
    sign = "+" if delta >= 0 else "-"
    change = f"{money(found.prior)} -> {money(found.proposed)} {found.currency}"
    parts = [f"cost estimate: {change} a month ({sign}{money(abs(delta))})"]
    if found.unpriced_count:
        number = found.unpriced_count
        parts.append(f"{number} resource{'s have' if number > 1 else ' has'} no price")
    return "; ".join([*parts, *found.broken])


def money(amount: Decimal) -> str:
    """An amount with two digits behind the point."""
    return f"{amount:.2f}"


def _by_change(item: Pricing) -> tuple[Decimal, str]:
    change = (item.proposed or Decimal(0)) - (item.prior or Decimal(0))
    return -abs(change), item.address


def _broken(file: PriceFile, prior: Decimal, proposed: Decimal) -> tuple[str, ...]:
    limit, found = file.max_monthly_increase, []
    if limit is not None and proposed - prior > limit:
        found.append(
            f"the plan adds {money(proposed - prior)} {file.currency} a month, more than"
            f" the {money(limit)} allowed (max_monthly_increase)"
        )
    limit = file.max_monthly_total
    if limit is not None and proposed > limit and proposed > prior:
        found.append(
            f"all together costs {money(proposed)} {file.currency} a month, more than the"
            f" {money(limit)} allowed (max_monthly_total)"
        )
    return tuple(found)


# --- one resource ----------------------------------------------------------------


def _pricing(
    by_type: Mapping[str, Sequence[Price]], resource: PlannedResource
) -> Pricing:
    prices = by_type.get(resource.type)
    if prices is None:
        raise _NoPriceError(f"the price file has no price for {resource.type}")
    prior = proposed = None
    if resource.before is not None:
        prior = _amount(prices, _Side(resource.type, resource.before))
    if resource.after is not None:
        side = _Side(resource.type, resource.after, resource.unknown)
        proposed = _amount(prices, side)
    return Pricing(resource.address, resource.type, prior, proposed)


def _amount(prices: Sequence[Price], side: _Side) -> Decimal:
    for price in prices:
        if all(_fits(side, path, wanted) for path, wanted in price.where.items()):
            return sum((_units(side, per) for per in price.per), price.monthly)
    asked = sorted({path for price in prices for path in price.where})
    unknown = [path for path in asked if is_unknown(side.unknown, path)]
    if unknown:
        raise _NoPriceError(f"{', '.join(unknown)} is known after the apply only")
    raise _NoPriceError(f"no price for {side.type} fits its {', '.join(asked)}")


def _fits(side: _Side, path: str, wanted: Wanted | Sequence[Wanted]) -> bool:
    value = attribute(side.values, path)
    several = wanted if isinstance(wanted, list) else [wanted]
    return any(_same(value, one) for one in several)


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, bool) or isinstance(value, bool):
        return value is wanted
    if isinstance(wanted, Decimal):
        return _number(value) == wanted
    return isinstance(value, str) and fnmatchcase(value, wanted)


def _units(side: _Side, per: Per) -> Decimal:
    value = attribute(side.values, per.attribute)
    if value is None and is_unknown(side.unknown, per.attribute):
        raise _NoPriceError(f"{per.attribute} is known after the apply only")
    units = per.default if value is None else _number(value)
    if units is None:
        raise _NoPriceError(f"{per.attribute} is no number")
    if units < 0:
        # else one resource would pay for others
        raise _NoPriceError(f"{per.attribute} is below zero")
    return units * per.monthly


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number) < Decimal(10) ** 15 else None
