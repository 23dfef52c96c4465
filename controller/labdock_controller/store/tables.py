"""The tables. Times are epoch seconds; ids are random hex, never names. A change here needs a migration."""

from typing import Any

from sqlalchemy import JSON, BigInteger, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ID = String(12)
NAME = String(64)
# SQLite numbers rows by itself only where the key is a plain INTEGER.
SEQUENCE = BigInteger().with_variant(Integer(), "sqlite")


class Table(DeclarativeBase):
    pass


class ControllerRow(Table):
    """One row: which controller may write. Each writing transaction checks `epoch`."""

    __tablename__ = "controllers"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    epoch: Mapped[int] = mapped_column(Integer)
    beat: Mapped[int] = mapped_column(BigInteger)
    holder: Mapped[dict[str, Any] | None] = mapped_column(JSON)


class UserRow(Table):
    __tablename__ = "users"
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(NAME, unique=True)
    password_hash: Mapped[str] = mapped_column(String(255), default="")  # argon2; empty: no sign-in by password
    roles: Mapped[list[str]] = mapped_column(JSON)
    active: Mapped[bool] = mapped_column(default=True)
    created: Mapped[float] = mapped_column(Float)
    # Whom the identity provider knows: SHA-256 of issuer and subject. None: a user of our own.
    subject: Mapped[str | None] = mapped_column(String(64))

    __table_args__ = (UniqueConstraint("subject", name="uq_users_subject"),)


class CredentialRow(Table):
    """A personal token, a browser's session or a one-time ticket; only its SHA-256 is kept."""

    __tablename__ = "credentials"
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))  # token, session, ticket
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(NAME, default="")
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    capabilities: Mapped[list[str] | None] = mapped_column(JSON)  # None: everything the user may do
    created: Mapped[float] = mapped_column(Float)
    expires: Mapped[float | None] = mapped_column(Float)
    last_used: Mapped[float | None] = mapped_column(Float)


class EnvironmentRow(Table):
    """What should be (`desired`, `generation`) and what was last known (`status` …) of one environment."""

    __tablename__ = "environments"
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(NAME)
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    app: Mapped[str] = mapped_column(NAME, default="search")
    sharing: Mapped[str] = mapped_column(String(8), default="user")
    runtime: Mapped[str] = mapped_column(NAME)
    image: Mapped[str] = mapped_column(NAME)
    mode: Mapped[str] = mapped_column(String(8))
    limits: Mapped[dict[str, Any]] = mapped_column(JSON)
    desired: Mapped[str] = mapped_column(String(12))
    remove_files: Mapped[bool] = mapped_column(default=False)
    generation: Mapped[int] = mapped_column(Integer, default=1)  # one more for each start that a user asked for
    started_generation: Mapped[int] = mapped_column(Integer, default=0)  # the one the runtime's object belongs to
    ever_ready: Mapped[bool] = mapped_column(default=False)  # in this generation
    failures: Mapped[int] = mapped_column(Integer, default=0)
    retry_at: Mapped[float] = mapped_column(Float, default=0.0)
    status: Mapped[str] = mapped_column(String(12))
    cause: Mapped[str] = mapped_column(Text, default="")
    remedy: Mapped[str] = mapped_column(Text, default="")
    log: Mapped[str] = mapped_column(Text, default="")  # the last lines of one that failed
    created: Mapped[float] = mapped_column(Float)
    started: Mapped[float | None] = mapped_column(Float)
    keep_until: Mapped[float] = mapped_column(Float, default=0.0)  # no idle stop before
    guests: Mapped[list[str]] = mapped_column(JSON, default=list, server_default="[]")  # ids of users who may use it

    # A forgotten environment keeps its row (and its notebooks), but not its name. The migration says so of PostgreSQL
    # too: `postgresql_where` here would import all its drivers' dialects at every start.
    __table_args__ = (Index("ix_environments_name", "name", unique=True, sqlite_where=text("desired != 'forgotten'")),)


class ModelRow(Table):
    __tablename__ = "models"
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(NAME, index=True)
    kind: Mapped[str] = mapped_column(String(8))  # module, onnx
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    app: Mapped[str] = mapped_column(NAME)
    sharing: Mapped[str] = mapped_column(String(8), index=True)
    environment_id: Mapped[str | None] = mapped_column(ForeignKey("environments.id", ondelete="CASCADE"))
    created: Mapped[float] = mapped_column(Float)
    description: Mapped[str] = mapped_column(Text, default="", server_default="")
    current_version: Mapped[int | None] = mapped_column(Integer)  # None: the newest
    aliases: Mapped[dict[str, int]] = mapped_column(JSON, default=dict, server_default="{}")  # champion → 3
    last_used: Mapped[float | None] = mapped_column(Float)
    # Where it is shared: roles that may use it and roles that may change it, as ",power,user,"; "*" is everybody.
    readers: Mapped[str] = mapped_column(String(255), default="*", server_default="*")
    writers: Mapped[str] = mapped_column(String(255), default="", server_default="")

    # Where a module's model lives decides what it is: one file in one environment. Nulls (ONNX) never collide here.
    __table_args__ = (UniqueConstraint("environment_id", "kind", "name", name="uq_models_place"),)


class ModelVersionRow(Table):
    __tablename__ = "model_versions"
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"))
    version: Mapped[int] = mapped_column(Integer)
    created: Mapped[float] = mapped_column(Float)
    features: Mapped[list[str]] = mapped_column(JSON)
    target: Mapped[list[str]] = mapped_column(JSON)
    params: Mapped[dict[str, Any]] = mapped_column(JSON)
    metrics: Mapped[dict[str, Any]] = mapped_column(JSON)
    rows: Mapped[int | None] = mapped_column(BigInteger)
    duration: Mapped[float | None] = mapped_column(Float)
    module: Mapped[str] = mapped_column(NAME, default="")
    module_sha256: Mapped[str] = mapped_column(String(64), default="")
    card: Mapped[str] = mapped_column(Text, default="", server_default="")  # Markdown; empty: a skeleton is shown
    lineage: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict, server_default="{}")

    __table_args__ = (UniqueConstraint("model_id", "version", name="uq_model_versions_version"),)


class EventRow(Table):
    __tablename__ = "events"
    id: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    time: Mapped[float] = mapped_column(Float)
    kind: Mapped[str] = mapped_column(String(32))
    environment_id: Mapped[str | None] = mapped_column(ID)
    data: Mapped[dict[str, Any]] = mapped_column(JSON)

    # Without it SQLite gives the number of a removed last row away again, and `Last-Event-ID` would lie.
    __table_args__ = ({"sqlite_autoincrement": True},)


class AuditRow(Table):
    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    time: Mapped[float] = mapped_column(Float, index=True)
    user: Mapped[str] = mapped_column(NAME)
    via: Mapped[str] = mapped_column(String(16))  # token, session, none
    credential_id: Mapped[str] = mapped_column(String(12), default="")
    action: Mapped[str] = mapped_column(String(128))  # method and route
    object: Mapped[str] = mapped_column(String(255))  # path
    status: Mapped[int] = mapped_column(Integer)
    request_id: Mapped[str] = mapped_column(String(32))
    address: Mapped[str] = mapped_column(String(64))


class DefaultSettingRow(Table):
    """A default setting that somebody changed; what has no row is as `DefaultSettings` says."""

    __tablename__ = "default_settings"
    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)
    changed: Mapped[float] = mapped_column(Float)
    changed_by: Mapped[str] = mapped_column(NAME)


class SavedSearchRow(Table):
    __tablename__ = "saved_searches"
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(NAME)
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    app: Mapped[str] = mapped_column(NAME)
    sharing: Mapped[str] = mapped_column(String(8))
    enabled: Mapped[bool] = mapped_column()
    created: Mapped[float] = mapped_column(Float)
    next_run: Mapped[float | None] = mapped_column(Float, index=True)
    definition: Mapped[dict[str, Any]] = mapped_column(JSON)
    throttled: Mapped[dict[str, Any]] = mapped_column(JSON)

    __table_args__ = (UniqueConstraint("owner_id", "name", name="uq_saved_searches_name"),)


class AlertRunRow(Table):
    __tablename__ = "alert_runs"
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    saved_id: Mapped[str] = mapped_column(ForeignKey("saved_searches.id", ondelete="CASCADE"))
    started: Mapped[float] = mapped_column(Float)
    duration: Mapped[float] = mapped_column(Float)
    status: Mapped[str] = mapped_column(String(12))
    rows: Mapped[int] = mapped_column(BigInteger)
    job: Mapped[str] = mapped_column(String(16))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    actions: Mapped[list[dict[str, Any]]] = mapped_column(JSON)

    __table_args__ = (Index("ix_alert_runs_newest", "saved_id", "started"),)


class SearchHistoryRow(Table):
    """What a user typed and ran; each search once, with the last time."""

    __tablename__ = "search_history"
    id: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    digest: Mapped[str] = mapped_column(String(64))  # SHA-256 of the search, which may be too long for a key
    search: Mapped[str] = mapped_column(Text)
    app: Mapped[str] = mapped_column(NAME)
    earliest: Mapped[str] = mapped_column(String(64))
    latest: Mapped[str] = mapped_column(String(64))
    used: Mapped[float] = mapped_column(Float)

    __table_args__ = (UniqueConstraint("user_id", "digest", name="uq_search_history_digest"),)


class QuotaRow(Table):
    """How much running environments may take together: of each user with `role`, or of one user. None: not set here."""

    __tablename__ = "quotas"
    id: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    role: Mapped[str | None] = mapped_column(NAME)
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    environments: Mapped[int | None] = mapped_column(Integer)
    cpus: Mapped[float | None] = mapped_column(Float)
    memory_mb: Mapped[int | None] = mapped_column(BigInteger)
    gpus: Mapped[int | None] = mapped_column(Integer)
    changed: Mapped[float] = mapped_column(Float)
    changed_by: Mapped[str] = mapped_column(NAME)

    __table_args__ = (
        UniqueConstraint("role", name="uq_quotas_role"),
        UniqueConstraint("user_id", name="uq_quotas_user_id"),
    )
