"""One SQL statement for a frame: the relations that it needs, as WITH; only the columns that something uses."""

from collections import Counter
from collections.abc import Sequence

from sqlglot import exp

from labdock_search import sql
from labdock_search.frame import Frame
from labdock_search.plan import Arrow, Files, Plan
from labdock_search.sql import E


def needed(plan: Plan, relation: str) -> list[str]:
    """The relations and sources below `relation`, each after what it uses."""
    found: set[str] = set()
    stack = [relation]
    while stack:
        name = stack.pop()
        if name not in found:
            found.add(name)
            if name in plan.relations:
                stack.extend(plan.relations[name].uses)
    return [s for s in plan.sources if s in found] + [r for r in plan.relations if r in found]


def build(plan: Plan, frame: Frame, columns: Sequence[str], *, shown: bool = False) -> exp.Select:
    """`SELECT columns` of the frame in its row order. With `shown`, files by label instead of path."""
    order = [] if frame.natural else frame.order_trees()
    chosen: list[E] = [sql.column(c) for c in columns] or [sql.alias(sql.null(), "nothing")]
    final = sql.sorted_by(sql.select(*chosen, source=sql.table(frame.relation)), order)
    names = [n for n in needed(plan, frame.relation) if n in plan.relations]
    uses = Counter(use for n in names for use in plan.relations[n].uses)
    used = _used([plan.relations[n].query for n in names if not plan.relations[n].scanned], final)
    expressions = []
    for name in names:
        relation = plan.relations[name]
        query = _cut_down(plan, relation.query, used, shown=shown) if relation.scanned else relation.query.copy()
        once = uses[name] <= 1
        cte = exp.CTE(this=query, alias=exp.TableAlias(this=sql.name(name)), materialized=False if once else None)
        expressions.append(cte)
    final.set("with_", exp.With(expressions=expressions))
    return final


def text(plan: Plan, frame: Frame, columns: Sequence[str], *, shown: bool = False) -> str:
    return sql.render(build(plan, frame, columns, shown=shown), pretty=shown)


def _used(queries: list[exp.Select], final: exp.Select) -> set[str]:
    found: set[str] = set()
    for query in [*queries, final]:
        found.update(node.name for node in query.find_all(exp.Column))
    return found


def _cut_down(plan: Plan, query: exp.Select, used: set[str], *, shown: bool) -> exp.Select:
    """A scan's select list without the columns that nothing uses."""
    kept: list[E] = [tree.copy() for tree in query.expressions if tree.alias in used]
    source = query.args["from_"].this.name
    found = plan.sources[source]
    tree = found.tree(shown=shown) if isinstance(found, Files) else sql.table(source)
    return sql.select(*(kept or [sql.alias(sql.number(1), "nothing")]), source=tree)


def files_of(plan: Plan, relation: str) -> list[Files]:
    return [s for n in needed(plan, relation) if isinstance(s := plan.sources.get(n), Files)]


def arrows_of(plan: Plan, relation: str) -> dict[str, Arrow]:
    return {n: s for n in needed(plan, relation) if isinstance(s := plan.sources.get(n), Arrow)}
