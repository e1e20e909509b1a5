"""Lists of values in few forms."""

from sqlalchemy import Integer, column, literal, select

from sluice.db.engine import Database, connection_of
from sluice.db.lists import among


def test_lists_are_filled_up_to_a_power_of_two() -> None:
    number = column("number", Integer)
    lengths = {
        count: len(among(number, range(count)).compile().params["number_1"])
        for count in range(1, 18)
    }
    assert {lengths[count] for count in range(1, 5)} == {1, 2, 4}
    assert [lengths[count] for count in (5, 8, 9, 16, 17)] == [8, 8, 16, 16, 32]


async def test_what_is_among_them_is_found(database: Database) -> None:
    async with database.read() as tx:
        for values, found in (([3], 0), ([1, 2, 5], 1), ([], 0)):
            row = select(literal(1)).where(among(literal(5), values))
            rows = (await connection_of(tx).execute(row)).all()
            assert len(rows) == found
