"""Aliases of models; card and lineage of their versions; indexes for lists"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("models") as batch:
        batch.add_column(sa.Column("aliases", sa.JSON(), nullable=False, server_default="{}"))
        batch.create_index("ix_models_owner_id", ["owner_id"], unique=False)
        batch.create_index("ix_models_sharing", ["sharing"], unique=False)
    with op.batch_alter_table("model_versions") as batch:
        batch.add_column(sa.Column("card", sa.Text(), nullable=False, server_default=""))
        batch.add_column(sa.Column("lineage", sa.JSON(), nullable=False, server_default="{}"))
