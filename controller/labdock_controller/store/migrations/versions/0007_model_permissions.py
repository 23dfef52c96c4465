"""Which roles may use and change a shared model"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("models") as batch:
        batch.add_column(sa.Column("readers", sa.String(length=255), nullable=False, server_default="*"))
        batch.add_column(sa.Column("writers", sa.String(length=255), nullable=False, server_default=""))
