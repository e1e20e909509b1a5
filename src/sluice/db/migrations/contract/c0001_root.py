"""Root of the contract half: what may only change once no older server runs."""

revision = "c0001"
down_revision = None
branch_labels = ("contract",)
depends_on = "e0001"


def upgrade() -> None:
    """Nothing to take away yet."""
