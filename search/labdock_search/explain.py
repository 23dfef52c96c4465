"""`explain`: what a search would do."""

from dataclasses import dataclass, field

from labdock.errors import InvalidOptions
from labdock_search import spark, statement
from labdock_search.database import too_deep
from labdock_search.frame import Frame
from labdock_search.pipeline import EMPTY, Pipeline, run_steps
from labdock_search.plan import Files, Host, Plan, Request

DIALECTS = ("duckdb", "spark")


@dataclass
class Statement:
    """One SQL statement; `before` names the command that takes its rows, or "" for the result."""

    sql: str
    before: str = ""


@dataclass
class Explanation:
    """`steps` are commands with the fields after them; `read` and `skipped` are files by label."""

    steps: list[tuple[str, str]] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    rows: int = 0
    notices: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = ["Steps:"]
        lines += [f"  {name}: {what}" for name, what in self.steps]
        lines.append(f"Files: {len(self.read)} read ({self.rows:,} rows), {len(self.skipped)} skipped")
        lines += [f"  read     {label}" for label in self.read[:20]]
        lines += [f"  skipped  {label}" for label in self.skipped[:20]]
        for number, found in enumerate(self.statements, 1):
            lines += ["", f"Statement {number}{f', before {found.before}' if found.before else ''}:", found.sql]
        lines += [f"Note: {notice}" for notice in self.notices]
        return "\n".join(lines)


def explain(host: Host, request: Request, pipeline: Pipeline, dialect: str = "duckdb") -> Explanation:
    """Plan without running. What is only known by running (a module's columns) is left open.

    `dialect` is that of the SQL shown. Raises `SearchError` where Spark's cannot say it.
    """
    if dialect not in DIALECTS:
        raise InvalidOptions(f"There is no dialect {dialect!r}.", remedy=f"There is: {', '.join(DIALECTS)}.")
    found = Explanation()
    plan = Plan(host, request, found.notices.append)
    plan.origin = pipeline.origin
    frame: Frame = EMPTY
    for step in pipeline.steps:
        if step.command.cuts and frame.relation:
            found.statements.append(Statement(_sql(plan, frame, dialect), step.name))
        try:
            frame = run_steps([step], plan, frame)
        except RecursionError:
            raise too_deep() from None
    if frame.relation:
        found.statements.append(Statement(_sql(plan, frame, dialect)))
    found.steps = plan.trail
    for source in plan.sources.values():
        if isinstance(source, Files):
            found.read += source.labels
            found.skipped += source.skipped
            found.rows += source.rows
    return found


def _sql(plan: Plan, frame: Frame, dialect: str) -> str:
    if dialect == "spark":
        return spark.render(statement.build(plan, frame, plan.select_ids(frame), shown=True))
    return statement.text(plan, frame, plan.select_ids(frame), shown=True)
