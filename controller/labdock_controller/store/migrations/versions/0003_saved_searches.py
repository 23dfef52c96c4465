"""Saved searches and the runs of alerts"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "saved_searches",
        sa.Column("id", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("owner_id", sa.String(length=12), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("sharing", sa.String(length=8), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("next_run", sa.Float(), nullable=True),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("throttled", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("owner_id", "name", name="uq_saved_searches_name"),
    )
    with op.batch_alter_table("saved_searches") as batch:
        batch.create_index("ix_saved_searches_next_run", ["next_run"], unique=False)
    op.create_table(
        "alert_runs",
        sa.Column("id", sa.String(length=12), nullable=False),
        sa.Column("saved_id", sa.String(length=12), nullable=False),
        sa.Column("started", sa.Float(), nullable=False),
        sa.Column("duration", sa.Float(), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("job", sa.String(length=16), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("actions", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["saved_id"], ["saved_searches.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("alert_runs") as batch:
        batch.create_index("ix_alert_runs_saved_id", ["saved_id"], unique=False)
