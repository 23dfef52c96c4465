"""The pure core: whatever happens in whatever order, a few steps lead to what is wanted, and then nothing happens."""

from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from labdock_controller.reconcile import Desired, Status, Step, Wanted, gives_up, next_step, pause_before
from labdock_controller.runtimes.base import Observed, State

RESTARTS = 3

WANTED = st.builds(
    Wanted,
    desired=st.sampled_from(Desired),
    status=st.sampled_from(Status),
    generation=st.integers(0, 3),
    started_generation=st.integers(0, 3),
    ever_ready=st.booleans(),
    failures=st.integers(0, 5),
    retry_at=st.sampled_from([0.0, 50.0, 200.0]),
)
SEEN = st.none() | st.builds(Observed, id=st.just("0" * 12), state=st.sampled_from(State))


@dataclass
class World:
    """One environment: its record, its object at the runtime, and what the launcher's steps do to both.

    Written against the contract of the steps (their comments in `Step`), not against the launcher's code.
    """

    wanted: Wanted | None = None
    object: State | None = None
    object_generation: int = 0
    starts: int = 0
    mutations: int = 0
    now: float = 100.0
    ready: bool = True  # whether an object that runs would answer
    log: list[str] = field(default_factory=list)

    def seen(self) -> Observed | None:
        return Observed("0" * 12, self.object) if self.object else None

    def step(self) -> Step | None:
        step = next_step(self.wanted, self.seen(), self.now)
        if step:
            self.log.append(str(step))
            self.do(step)
        return step

    def do(self, step: Step) -> None:
        if step is Step.STOP:
            self.object = None
            self.mutations += 1
            return
        assert self.wanted is not None
        if step is Step.START:
            assert self.object is None, "a second object beside the first"
            self.wanted = replace(self.wanted, started_generation=self.wanted.generation)
            self.object, self.object_generation = State.RUNNING, self.wanted.generation
            self.starts += 1
            self.mutations += 1
        elif step is Step.AWAIT:
            if self.ready:
                self.wanted = replace(self.wanted, status=Status.RUNNING, ever_ready=True)
            else:
                self.wanted = replace(self.wanted, status=Status.FAILED)
        elif step is Step.DIED:
            failures = self.wanted.failures + 1
            if gives_up(self.wanted, RESTARTS):
                self.wanted = replace(self.wanted, status=Status.FAILED, failures=failures)
            else:
                retry_at = self.now + pause_before(failures)
                changes = {"status": Status.STARTING, "failures": failures, "retry_at": retry_at}
                self.wanted = replace(self.wanted, started_generation=-1, **changes)
        elif step is Step.SETTLE:
            self.wanted = replace(self.wanted, status=Status.STOPPED)
        elif step is Step.FORGET:
            self.wanted = None

    def converge(self, limit: int = 12) -> None:
        for _ in range(limit):
            if self.step() is None:
                return
        raise AssertionError(f"no end: {self.log}")

    def rests_as_wanted(self) -> None:
        if self.wanted is None:
            assert self.object is None
        elif self.wanted.desired is Desired.RUNNING:
            if self.wanted.status is Status.FAILED or self.now < self.wanted.retry_at:
                assert self.object is not State.EXITED
            else:
                assert self.wanted.status is Status.RUNNING
                assert self.object in (State.RUNNING, State.STARTING)
                assert self.object_generation == self.wanted.generation
        else:
            assert self.object is None
            assert self.wanted.status is Status.STOPPED


@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(WANTED, SEEN, st.booleans())
def test_from_any_state_a_few_steps_lead_to_rest(wanted: Wanted, seen: Observed | None, ready: bool) -> None:
    if wanted.desired is Desired.FORGOTTEN:
        wanted = replace(wanted, status=Status.STOPPED)
    world = World(wanted=wanted, object=seen.state if seen else None, ready=ready)
    world.object_generation = wanted.started_generation
    world.converge()
    before = world.mutations
    assert world.step() is None, "an extra pass does something"
    assert world.mutations == before
    world.rests_as_wanted()


@given(SEEN, st.floats(0, 1e9))
def test_what_nobody_wants_goes_and_only_that(seen: Observed | None, now: float) -> None:
    assert next_step(None, seen, now) == (Step.STOP if seen else None)


@given(st.integers(0, 10_000))
def test_pauses_grow_and_end(failures: int) -> None:
    assert 1 <= pause_before(failures) <= pause_before(failures + 1) <= 60


class Launching(RuleBasedStateMachine):
    """A user, accidents, and a launcher that may die between any two steps."""

    environments = Bundle("environments")

    def __init__(self) -> None:
        super().__init__()
        self.worlds: list[World] = []

    @initialize()
    def begin(self) -> None:
        self.worlds = []

    @rule(target=environments)
    def create(self) -> World:
        world = World(wanted=Wanted(Desired.RUNNING, Status.STARTING, 1, 0, False, 0, 0.0))
        self.worlds.append(world)
        return world

    @rule(world=environments)
    def start_or_restart(self, world: World) -> None:
        if world.wanted and world.wanted.desired is not Desired.DELETED:
            generation = world.wanted.generation + 1
            started = world.wanted.started_generation
            world.wanted = Wanted(Desired.RUNNING, Status.STARTING, generation, started, False, 0, 0.0)

    @rule(world=environments)
    def stop(self, world: World) -> None:
        if world.wanted and world.wanted.desired is not Desired.DELETED:
            world.wanted = replace(world.wanted, desired=Desired.STOPPED, status=Status.STOPPING)

    @rule(world=consumes(environments))
    def delete(self, world: World) -> None:
        if world.wanted:
            world.wanted = replace(world.wanted, desired=Desired.DELETED, status=Status.STOPPING)

    @rule(world=environments)
    def accident(self, world: World) -> None:
        if world.object:
            world.object = State.EXITED

    @rule(world=environments)
    def object_vanishes(self, world: World) -> None:
        world.object = None

    @rule(world=environments, ready=st.booleans())
    def image_breaks_or_heals(self, world: World, ready: bool) -> None:
        world.ready = ready

    @rule(world=environments, count=st.integers(1, 3))
    def some_steps_then_the_controller_dies(self, world: World, count: int) -> None:
        for _ in range(count):
            world.step()

    @rule(world=environments)
    def dies_between_record_and_start(self, world: World) -> None:
        if world.wanted and next_step(world.wanted, world.seen(), world.now) is Step.START:
            world.wanted = replace(world.wanted, started_generation=world.wanted.generation)

    @rule(seconds=st.sampled_from([0.5, 5.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        for world in self.worlds:
            world.now += seconds

    @rule()
    def converge(self) -> None:
        for world in self.worlds:
            world.converge()
            mutations = world.mutations
            assert world.step() is None
            assert world.mutations == mutations
            world.rests_as_wanted()

    @invariant()
    def restarts_are_bounded(self) -> None:
        for world in self.worlds:
            if world.wanted:
                assert world.wanted.failures <= RESTARTS + 1


TestLaunching = Launching.TestCase
TestLaunching.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
