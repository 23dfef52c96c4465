"""Users of an identity provider, and users whom an environment is shared with"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("users") as batch:
        batch.add_column(sa.Column("subject", sa.String(length=64), nullable=True))
        batch.create_unique_constraint("uq_users_subject", ["subject"])
    with op.batch_alter_table("environments") as batch:
        batch.add_column(sa.Column("guests", sa.JSON(), nullable=False, server_default="[]"))
