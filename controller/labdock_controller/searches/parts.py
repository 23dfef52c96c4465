"""Wires the engine to this controller: its data, its environments, its models, its users."""

from dataclasses import dataclass

from labdock_controller.searches.environments import SearchEnvironments
from labdock_controller.searches.jobs import SearchJobs
from labdock_controller.searches.models import SearchModels
from labdock_controller.searches.rights import CallerRights
from labdock_controller.searches.service import Reach
from labdock_search import Engine, Settings
from labdock_search.data.collector import recover
from labdock_search.data.indexes import Indexes
from labdock_search.data.lookups import Lookups


@dataclass(frozen=True)
class Parts:
    """What `Searches` gives out."""

    engine: Engine
    jobs: SearchJobs
    indexes: Indexes
    lookups: Lookups


def assemble(reach: Reach) -> Parts:
    """Everything as an earlier controller left it: what it acknowledged is searchable, its jobs are known."""
    rights = CallerRights(reach.users)
    indexes = Indexes(reach.home, may_read=rights.may_read)
    lookups = Lookups(reach.home, may=rights.may, manages=rights.manages)
    environments = SearchEnvironments(reach.users, reach.environments, reach.launcher, reach.models)
    models = SearchModels(reach.users, reach.models, reach.onnx, reach.remove_model)
    engine = Engine(indexes, lookups, environments, models, Settings(spill_folder=reach.home / "spill"))
    recover(indexes)
    jobs = SearchJobs(reach.home / "searches", engine)
    jobs.load()
    return Parts(engine, jobs, indexes, lookups)
