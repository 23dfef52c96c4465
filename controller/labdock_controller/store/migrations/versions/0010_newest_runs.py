"""The newest runs of an alert are found without reading the others"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_alert_runs_newest", "alert_runs", ["saved_id", "started"], unique=False)
    op.drop_index("ix_alert_runs_saved_id", "alert_runs")
