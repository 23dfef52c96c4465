"""What users searched for, in the store: each search once, the newest first."""

import hashlib
import time
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from labdock_controller.access.rights import Principal
from labdock_controller.searches.jobs import SearchRequest
from labdock_controller.store import Store
from labdock_controller.store.tables import SearchHistoryRow

KEPT = 200  # of each user
LONGEST = 20_000  # characters; what is longer was generated, not typed


@dataclass(frozen=True)
class Searched:
    search: str
    app: str
    earliest: str
    latest: str
    used: float


class History:
    """Each user's own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def note(self, principal: Principal, request: SearchRequest) -> None:
        """Keep a search as the newest; the oldest beyond `KEPT` go."""
        if len(request.search) > LONGEST:
            return
        digest = hashlib.sha256(request.search.encode()).hexdigest()
        mine = SearchHistoryRow.user_id == principal.user_id
        try:
            with self._store.write() as session:
                row = session.scalars(select(SearchHistoryRow).where(mine, SearchHistoryRow.digest == digest)).first()
                if row is None:
                    row = SearchHistoryRow(user_id=principal.user_id, digest=digest, search=request.search)
                    session.add(row)
                row.app, row.earliest, row.latest = request.app[:64], request.earliest[:64], request.latest[:64]
                row.used = time.time()
                session.flush()
                newest = select(SearchHistoryRow.id).where(mine).order_by(SearchHistoryRow.used.desc())
                old = list(session.scalars(newest.offset(KEPT)))
                session.execute(delete(SearchHistoryRow).where(SearchHistoryRow.id.in_(old)))
        except IntegrityError:
            return  # two windows ran the same search at once: the other one has noted it

    def list(self, principal: Principal, limit: int = KEPT, containing: str = "") -> list[Searched]:
        """The newest first; with `containing`, those with this text in them, case aside."""
        query = select(SearchHistoryRow).where(SearchHistoryRow.user_id == principal.user_id)
        if containing:
            query = query.where(SearchHistoryRow.search.icontains(containing, autoescape=True))
        with self._store.read() as session:
            rows = session.scalars(query.order_by(SearchHistoryRow.used.desc()).limit(limit))
            return [Searched(r.search, r.app, r.earliest, r.latest, r.used) for r in rows]

    def clear(self, principal: Principal) -> None:
        with self._store.write() as session:
            session.execute(delete(SearchHistoryRow).where(SearchHistoryRow.user_id == principal.user_id))
