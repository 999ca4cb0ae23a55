"""main.py live, on the embedded host: what it keeps, what it goes on from, and what it refuses."""

import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minilean.data import DataFolder
from minilean.history import History
from minilean.live import Account, LiveEngine
from minilean.objectstore import ObjectStore
from minilean.project import Project
from model.statestore import StateStore
from settings import Settings
from tests.conftest import ROOT, SMALL

STATES = ROOT / "tests" / "fixtures" / "states"
JANUARY, FEBRUARY, MARCH = datetime(2011, 1, 3), datetime(2011, 2, 1), datetime(2011, 3, 1)  # first sessions
A_DECISION = date(2011, 1, 3)
A_STEP = date(2011, 1, 31)


class Killed(BaseException):
    """Ends a session as a kill would: nothing in it can catch this."""


@dataclass
class Deployment:
    """An account and an Object Store, and the sessions that were run on them."""

    folder: Path
    market: DataFolder
    lines: list[str] = field(default_factory=list)

    def run(
        self,
        begin: datetime,
        end: date,
        prepare: Callable[[LiveEngine], object] = lambda engine: None,
        **parameters: object,
    ) -> LiveEngine:
        """One session, killed or not; `prepare` sees the engine before it runs."""
        self.lines = []
        project = Project(ROOT, SMALL | {name: str(value) for name, value in parameters.items()})
        engine = LiveEngine(
            project.load(),
            self.market,
            ObjectStore(self.folder / "store"),
            project.parameters,
            account=self.account,
            begin=begin,
            end=end,
            on_log=lambda when, text: self.lines.append(f"{when} {text}"),
        )
        prepare(engine)
        try:
            engine.run()
        except Killed:
            engine.failure = None
        return engine

    @property
    def account(self) -> Account:
        return Account(self.folder / "account", Decimal(10**9))

    @property
    def trades(self) -> list[tuple[Any, ...]]:
        """Every order, but for the minute at which it was sent."""
        return [(o.time.date(), o.symbol.sid, o.quantity, o.status, o.price) for o in self.account.orders]

    @property
    def state(self) -> Any:
        settings = Settings.from_parameters(SMALL)
        return StateStore(ObjectStore(self.folder / "store"), "online-portfolio/live", settings, print).load()

    def slot(self, key: str) -> Path:
        return self.folder / "store" / "online-portfolio" / f"live-{key}"

    def said(self, text: str) -> list[str]:
        return [line for line in self.lines if text in line]


@pytest.fixture(scope="module")
def market(demo_market: Path) -> DataFolder:
    return DataFolder(demo_market)


@pytest.fixture
def deployment(tmp_path: Path, market: DataFolder) -> Deployment:
    (tmp_path / "live").mkdir()
    return Deployment(tmp_path / "live", market)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory, market: DataFolder) -> Deployment:
    """January to the first session of March, in one session."""
    deployment = Deployment(tmp_path_factory.mktemp("quiet"), market)
    engine = deployment.run(JANUARY, MARCH.date())
    assert engine.failure is None
    return deployment


@pytest.fixture(scope="module")
def after_january(tmp_path_factory: pytest.TempPathFactory, market: DataFolder) -> Deployment:
    """January alone: decided, ordered, learnt from."""
    deployment = Deployment(tmp_path_factory.mktemp("january"), market)
    deployment.run(JANUARY, A_STEP)
    assert deployment.state.step == 1
    return deployment


@pytest.fixture
def in_february(after_january: Deployment, tmp_path: Path) -> Deployment:
    """A copy of the deployment after January, to do with as one likes."""
    shutil.copytree(after_january.folder, tmp_path / "february")
    return Deployment(tmp_path / "february", after_january.market)


def same(one: Deployment, other: Deployment) -> bool:
    """Parameters, moments, open decision and trades, to the bit."""
    first, second = one.state, other.state
    return (
        first.extra == second.extra
        and first.arrays.keys() == second.arrays.keys()
        and all(np.array_equal(first.arrays[name], second.arrays[name]) for name in first.arrays)
        and np.array_equal(first.decision.weights, second.decision.weights)
        and one.trades == other.trades
    )


def kill_at(name: str, *, after: bool = False, of: Callable[[LiveEngine], object] = lambda engine: engine.algorithm):
    """Kill where a method is called, or after its work."""

    def prepare(engine: LiveEngine) -> None:
        owner = of(engine)
        work = getattr(owner, name)

        def killed(*arguments: object, **options: object) -> None:
            if after:
                work(*arguments, **options)
            raise Killed

        setattr(owner, name, killed)

    return prepare


# --- restart


@pytest.mark.parametrize("name", ["_ready_allocator", "_check", "_save", "_order", "set_holdings"])
@pytest.mark.parametrize("after", [False, True])
def test_a_kill_around_the_decision_changes_nothing(name, after, in_february, quiet):
    in_february.run(FEBRUARY, FEBRUARY.date(), kill_at(name, after=after))
    in_february.run(FEBRUARY.replace(hour=9, minute=10), MARCH.date())
    assert same(in_february, quiet)


@pytest.mark.parametrize("nth", [1, 7, 18])
def test_a_kill_amid_the_orders_leaves_the_rest_to_the_next_run(nth, in_february, quiet):
    def prepare(engine):
        record = engine._account.record

        def killed(event):
            record(event)
            if len(in_february.account.orders) >= before + nth:
                raise Killed

        engine._account.record = killed

    before = len(in_february.account.orders)
    in_february.run(FEBRUARY, FEBRUARY.date(), prepare)
    assert len(in_february.account.orders) == before + nth
    in_february.run(FEBRUARY.replace(hour=9, minute=10), MARCH.date())
    assert in_february.said("positions were still to be ordered") or nth == 18
    assert same(in_february, quiet)


@pytest.mark.parametrize("name", ["_learn", "_realised", "_report", "_save"])
@pytest.mark.parametrize("begin", [datetime(2011, 2, 28, 16, 20), datetime(2011, 3, 1, 8, 0)])
def test_a_kill_around_the_step_changes_nothing(name, begin, in_february, quiet):
    in_february.run(FEBRUARY, date(2011, 2, 25))
    in_february.run(datetime(2011, 2, 28, 8), date(2011, 2, 28), kill_at(name))
    in_february.run(begin, MARCH.date())
    assert same(in_february, quiet)


def test_a_kill_before_the_save_of_the_step_is_acknowledged_does_not_learn_twice(in_february, quiet):
    in_february.run(FEBRUARY, date(2011, 2, 28), kill_at("save_bytes", after=True, of=lambda e: e.object_store))
    in_february.run(FEBRUARY.replace(hour=9, minute=10), date(2011, 2, 25))
    kill = kill_at("save_bytes", after=True, of=lambda engine: engine.object_store)
    in_february.run(datetime(2011, 2, 28, 8), date(2011, 2, 28), kill)
    assert in_february.state.step == 2
    in_february.run(datetime(2011, 2, 28, 17), MARCH.date())
    assert same(in_february, quiet)


def test_every_restart_between_two_events_changes_nothing(deployment, quiet):
    days = [datetime(2011, 1, 3), *(datetime(2011, month, day) for month in (1, 2) for day in (11, 20, 28))]
    for begin, following in zip(days, [*days[1:], MARCH], strict=True):
        deployment.run(begin, following.date())
        assert deployment.said("resumed after") or begin == days[0]
    assert same(deployment, quiet)


def test_orders_that_a_kill_held_back_are_sent_the_next_morning(in_february, quiet):
    in_february.run(FEBRUARY, FEBRUARY.date(), kill_at("_order"))
    decided = in_february.state.decision.weights
    before = len(in_february.account.orders)
    in_february.run(FEBRUARY.replace(day=2), MARCH.date())
    sent = in_february.account.orders[before:]
    assert f"{sent[0].time}" == "2011-02-02 14:00:00"  # 09:00 in New York
    assert len({order.symbol.sid for order in sent if order.time.month == 2}) == (decided > 0).sum()
    assert quiet.state.extra["learnt"] == in_february.state.extra["learnt"]
    for name, array in quiet.state.arrays.items():
        assert np.array_equal(in_february.state.arrays[name], array)


def test_a_decision_that_was_missed_is_made_up_for_as_of_the_first_open(in_february, quiet):
    in_february.run(datetime(2011, 2, 9, 11), MARCH.date())
    assert f"{in_february.account.orders[-1].time:%Y-%m}" == "2011-03"
    assert min(o.time.day for o in in_february.account.orders if o.time.month == 2) == 10
    assert quiet.state.extra["decisions"] == in_february.state.extra["decisions"]
    for name, array in quiet.state.arrays.items():
        assert np.array_equal(in_february.state.arrays[name], array)


def test_a_month_without_a_decision_is_on_record_and_the_step_before_it_is_right(in_february, quiet):
    in_february.run(FEBRUARY, FEBRUARY.date())
    in_february.run(datetime(2011, 4, 11, 8), date(2011, 4, 11))
    assert in_february.said("the last decision is of 2011-02, not learnt from yet")
    assert in_february.state.step == 2
    learnt = in_february.state.extra["learnt"]
    assert learnt == quiet.state.extra["learnt"]  # of February's returns
    assert [entry["month"] for entry in learnt] == ["2011-01", "2011-02"]
    assert in_february.said("no decision is on record for 2011-03: the positions stayed as they were")


# --- each month once


def test_an_event_that_fires_twice_does_its_work_once(deployment, quiet):
    def twice(engine):
        schedule = engine.schedule_event

        def both(dates, times, call, name):
            schedule(dates, times, call, name)
            return schedule(dates, times, call, name)

        engine.schedule_event = both

    deployment.run(JANUARY, MARCH.date(), twice)
    assert same(deployment, quiet)


def test_a_run_that_is_deployed_within_a_month_waits_for_the_next(deployment):
    deployment.run(datetime(2011, 1, 11, 8), date(2011, 1, 31))
    assert not deployment.account.orders
    assert deployment.said("a fresh start, and the first decision comes with the next month's first open")
    deployment.run(FEBRUARY, FEBRUARY.date())
    assert deployment.state.extra["decisions"] == 1


def test_a_month_with_too_few_stocks_says_so_once_and_holds_the_positions(in_february):
    before = in_february.trades
    in_february.run(FEBRUARY, date(2011, 2, 28), min_stocks=20)
    assert in_february.trades == before
    assert len(in_february.said("fewer than min_stocks = 20")) == 1


# --- late bars


class Late(History):
    missing: Callable[[Any, datetime], bool]

    def frame(self, *arguments: object, **options: object) -> Any:
        frame = super().frame(*arguments, **options)
        if frame.empty:
            return frame
        return frame[[not self.missing(stock, when) for stock, when in frame.index]]


def late(missing: Callable[[Any, datetime, datetime], bool]):
    def prepare(engine: LiveEngine) -> None:
        engine.history = Late(engine.data, lambda: engine.now)
        engine.history.missing = lambda stock, when: missing(stock, when, engine.now)

    return prepare


@pytest.mark.parametrize("whose", ["all", "one"])
def test_learning_waits_for_late_bars_and_comes_before_the_next_decision(whose, in_february, quiet):
    one = quiet.state.decision.market.stocks[3]

    def missing(stock, when, now):
        return when.date() == now.date() == date(2011, 2, 28) and (whose == "all" or str(stock.id) == one)

    in_february.run(FEBRUARY, MARCH.date(), late(missing))
    assert in_february.said("the bars of 2011-02-28 are not here yet: learning waits for them")
    assert in_february.said("2011-03-01 09:00:00 2011-02: 1 left out")
    assert same(in_february, quiet)


def test_nothing_is_decided_while_the_month_before_cannot_be_learnt_from(in_february):
    in_february.run(FEBRUARY, date(2011, 3, 2), late(lambda stock, when, now: when.date() >= date(2011, 2, 28)))
    assert in_february.state.extra["decisions"] == 2
    assert len(in_february.said("learning waits")) == 2  # in February and in March


# --- weights


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda w: w * np.nan, "not finite"),
        (lambda w: np.where(np.arange(len(w)) == 0, -0.1, w), "negative"),
        (lambda w: w * (1 + 2e-6), "sum to 1.00000"),
    ],
)
def test_bad_weights_are_not_ordered_live_and_the_run_goes_on(spoil, problem, in_february):
    def prepare(engine):
        ready = engine.algorithm._ready_allocator

        def spoilt():
            allocator = ready()
            decide = type(allocator).decide
            allocator.decide = lambda market: spoil(decide(allocator, market))
            return allocator

        engine.algorithm._ready_allocator = spoilt

    before = in_february.trades
    engine = in_february.run(FEBRUARY, MARCH.date().replace(day=31), prepare)
    assert engine.failure is None
    assert in_february.trades == before
    assert len(in_february.said(problem)) == 2  # in February and in March
    assert in_february.said("nothing is ordered: the positions stay as they are")
    assert in_february.state.step == 1  # what was not held is not learnt from


def test_a_weight_above_max_weight_is_not_ordered(deployment):
    engine = deployment.run(JANUARY, A_DECISION, max_weight=0.05)
    assert engine.failure is None
    assert not deployment.account.orders
    assert deployment.said("exceeds max_weight = 0.05: nothing is ordered")


def test_bad_weights_stop_a_backtest(run_strategy, demo_market):
    run = run_strategy(demo_market, start="2011-01-03", end="2011-01-31", max_weight=0.05)
    assert "exceeds max_weight = 0.05: nothing is ordered" in run.failure.message
    assert not run.engine.brokerage.orders


# --- resume


def test_a_backtest_starts_fresh_and_leaves_the_live_state_alone(in_february, run_strategy, demo_market, tmp_path):
    shutil.copytree(in_february.folder / "store", tmp_path / "store")
    before = {path: path.read_bytes() for path in (tmp_path / "store").rglob("live-*")}
    run = run_strategy(demo_market, start="2011-01-03", end="2011-01-31")
    assert not any("resumed" in line for line in run.lines)
    assert before
    assert {path: path.read_bytes() for path in before} == before


def test_a_backtest_goes_on_where_it_is_required_to(run_strategy, demo_market):
    whole = run_strategy(demo_market, start="2011-01-03", end="2011-04-29")
    shutil.rmtree(Path(whole.engine.object_store.get_file_path("online-portfolio")))
    run_strategy(demo_market, start="2011-01-03", end="2011-02-28")
    rest = run_strategy(demo_market, start="2011-03-01", end="2011-04-29", resume="require")
    assert any("resumed after 2 decisions and 2 steps" in line for line in rest.lines)
    settings = Settings.from_parameters(SMALL)
    one, other = (
        StateStore(Bytes(run.states[-1]), "x", settings, print).load() for run in (whole, rest)
    )
    assert one.step == other.step == 4
    for name, array in one.arrays.items():
        assert np.array_equal(other.arrays[name], array)


class Bytes:
    """An Object Store that has one thing."""

    def __init__(self, content: bytes):
        self.content = content

    def contains_key(self, key: str) -> bool:
        return key == "x-a"

    def read_bytes(self, key: str) -> bytes:
        return self.content


def test_never_starts_anew_live(in_february):
    in_february.run(FEBRUARY, FEBRUARY.date(), resume="never")
    assert in_february.state.extra["decisions"] == 1
    assert in_february.state.step == 0


def test_require_stops_where_there_is_no_state(deployment):
    engine = deployment.run(JANUARY, A_DECISION, resume="require")
    assert "resume = require, but the Object Store has no state" in engine.failure.message
    assert not deployment.account.orders


@pytest.mark.parametrize(
    ("parameter", "value", "shown"),
    [
        ("seed", 2, "seed is 1 there and 2 here"),
        ("lora_r", 4, "lora_r is 8 there and 4 here"),
        ("n_indicators", 13, "n_indicators is 12 there and 13 here"),
        ("scaling", "robust", "scaling is rank there and robust here"),
        ("backbone", "amazon/chronos-t5-tiny", "backbone is tiny-random there and amazon/chronos-t5-tiny here"),
        ("allocator", "equal", "allocator is t5 there and equal here"),
        ("learning_rate", 0.02, "learning_rate is 0.01 there and 0.02 here"),
    ],
)
def test_a_state_of_other_settings_is_refused_with_what_differs(parameter, value, shown, in_february):
    before = in_february.trades, in_february.slot("a").read_bytes(), in_february.slot("b").read_bytes()
    engine = in_february.run(FEBRUARY, FEBRUARY.date(), **{parameter: value})
    assert f"the saved state belongs to other settings: {shown}: set them back, or start anew" in engine.failure.message
    assert (in_february.trades, in_february.slot("a").read_bytes(), in_february.slot("b").read_bytes()) == before


def test_what_does_not_shape_the_learner_may_change(in_february):
    free = {"cash": 5, "micro_batch": 7, "min_stocks": 2, "max_weight": 0.9, "device": "cpu"}
    engine = in_february.run(FEBRUARY, FEBRUARY.date(), **free)
    assert engine.failure is None
    assert in_february.said("resumed after 1 decisions and 1 steps")


def test_a_state_from_the_future_is_refused(in_february):
    engine = in_february.run(datetime(2010, 12, 1), date(2010, 12, 1))
    assert "the saved state is of 2011-01, later than 2010-12" in engine.failure.message


# --- broken states


def newest(deployment: Deployment) -> Path:
    return max(deployment.slot("a"), deployment.slot("b"), key=lambda path: path.stat().st_mtime_ns)


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "pickle", "another file"])
def test_a_broken_state_is_kept_aside_and_the_one_before_goes_on_to_the_same_end(damage, in_february, quiet):
    path = newest(in_february)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    spoilt = {
        "cut": path.read_bytes()[:-1],
        "flipped": bytes(content),
        "emptied": b"",
        "pickle": pickle.dumps({"a": 1}),
        "another file": (ROOT / "config.json").read_bytes(),
    }[damage]
    path.write_bytes(spoilt)
    in_february.run(FEBRUARY, MARCH.date())
    assert in_february.said("the one before it is used; it is kept as online-portfolio/live-broken")
    assert in_february.slot("broken").read_bytes() == spoilt
    assert same(in_february, quiet)


def test_nothing_is_traded_where_every_state_is_broken(in_february):
    for key in "ab":
        in_february.slot(key).write_bytes(b"nothing")
    before = in_february.trades
    engine = in_february.run(FEBRUARY, FEBRUARY.date())
    assert "no state in the Object Store can be used" in engine.failure.message
    assert in_february.trades == before


@pytest.mark.parametrize("schema", [1, 2])
def test_a_state_of_each_schema_goes_on(schema, deployment):
    deployment.slot("a").parent.mkdir(parents=True)
    shutil.copy(STATES / f"schema-{schema}.safetensors", deployment.slot("a"))
    small = {"n_stocks": 6, "n_indicators": 4, "lora_r": 1, "window": 3}
    engine = deployment.run(datetime(2011, 2, 16), MARCH.date(), **small)
    assert engine.failure is None
    assert deployment.said("2 decisions and 1 steps; the last decision is of 2011-02, not learnt from yet")
    assert deployment.said("2011-02: 0 left out")
    assert {order.time.date() for order in deployment.account.orders} == {MARCH.date()}


def test_an_intact_checkpoint_of_something_else_is_refused(deployment):
    from model import State
    from model.checkpoint import pack

    deployment.slot("a").parent.mkdir(parents=True)
    settings = Settings.from_parameters(SMALL).as_parameters()
    for extra in ({"settings": settings, "month": "x"}, {"settings": settings, "month": [2011, 1], "selection": 5}):
        deployment.slot("a").write_bytes(pack(State({}, 0, None, extra)))
        engine = deployment.run(JANUARY, A_DECISION)
        assert "the saved state is intact but was not made by this strategy" in engine.failure.message


# --- a store that fails


def failing(how: str) -> Callable[[LiveEngine], None]:
    def prepare(engine: LiveEngine) -> None:
        store = engine.object_store

        def save_bytes(path: str, contents: bytes) -> bool:
            if how == "half":
                Path(store.get_file_path(path)).write_bytes(contents[: len(contents) // 2])
            if how == "raises":
                raise OSError("the disk of account 4711-secret is full")
            return how == "lies"

        store.save_bytes = save_bytes

    return prepare


@pytest.mark.parametrize("how", ["refuses", "raises", "half", "lies"])
def test_a_store_that_takes_nothing_is_warned_of_once_a_month_and_keeps_the_last_good_state(how, in_february, quiet):
    good = in_february.state
    engine = in_february.run(FEBRUARY, MARCH.date(), failing(how))
    assert engine.failure is None
    assert in_february.trades == quiet.trades  # the run goes on
    warnings = in_february.said("the Object Store has not got the new state")
    assert [line[:7] for line in warnings] == ["2011-02", "2011-03"]
    assert "secret" not in "".join(in_february.lines)
    kept = in_february.state
    assert (kept.step, kept.extra) == (good.step, good.extra)


def test_a_save_that_failed_is_made_up_for_the_next_morning(in_february):
    def prepare(engine):
        store = engine.object_store
        save = store.save_bytes
        store.save_bytes = lambda path, contents: engine.now.day != 1 and save(path, contents)

    in_february.run(FEBRUARY, date(2011, 2, 3), prepare)
    assert in_february.state.extra["decisions"] == 2
    assert len(in_february.said("has not got the new state")) == 1
