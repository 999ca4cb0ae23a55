"""`python -m tests.soak`: years of a live run that is killed every month, beside the same years in peace.

Both runs trade on recorded data as LEAN would live. One is left alone. The other is killed with SIGKILL at a random
point of every month, a process of its own each time, and begins again from what the brokerage and the Object Store
have; besides, saves fail, states are damaged, bars come late and events fire twice, all of it drawn from a seed. At the
end the two must be the same to the bit: every month's weights, the parameters after every step, every order, the cash.
"""

import argparse
import hashlib
import itertools
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch.optim import AdamW

from minilean.data import DataFolder
from minilean.demo import write_demo_market
from minilean.errors import HostError
from minilean.history import History
from minilean.live import Account, LiveEngine
from minilean.objectstore import ObjectStore
from minilean.project import Project
from model import Baseline, make_allocator
from model.statestore import StateStore
from settings import Settings

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "marketdata" / "lean"
CASH = Decimal(10**9)

SAVES = ("the decision", "the orders", "the step")
AT_THE_OPEN = (
    "before deciding", "after deciding", "while ordering",
    *(f"{when} saving {what}" for what in SAVES[:2] for when in ("before", "while", "after")),
)  # fmt: skip
AT_THE_CLOSE = (
    "before learning", "while learning", "after learning",
    *(f"{when} saving the step" for when in ("before", "while", "after")),
)  # fmt: skip
ASLEEP = "while nothing happens"
POINTS = (*AT_THE_OPEN, *AT_THE_CLOSE, ASLEEP)


@dataclass(frozen=True)
class Month:
    """First and last session, and one in between."""

    first: date
    middle: date
    last: date


@dataclass(frozen=True)
class Trouble:
    """What befalls a run from one kill to the next.

    kill: the point, in `month`; pause: minutes until the restart.
    store: how the first save of that kind (`save`) fails, or an empty text.
    damage: how the newest state is spoilt, or an empty text.
    late: whose bars of the last session come with the next morning: nobody's, some stocks' or all.
    twice: whether events fire so.
    """

    month: Month
    kill: str
    pause: int
    store: str
    save: str
    damage: str
    late: str
    twice: bool

    @classmethod
    def draw(cls, month: Month, kill: str, chance: random.Random) -> "Trouble":
        store = chance.choice(("", "", "", "refuses", "raises", "fills up", "fills up and raises"))
        save = chance.choice(SAVES)
        # What has no good state left must be refused, and what is killed twice before one open cannot trade at it: the
        # promise is for one trouble of a kind at a time.
        broken = bool(store) or kill.startswith("while saving")
        damage = "" if broken else chance.choice(("", "", "bit flipped", "cut short", "emptied"))
        late = "" if kill in AT_THE_CLOSE else chance.choice(("", "", "some", "all"))
        return cls(month, kill, chance.randint(1, 24), store, save, damage, late, chance.random() < 0.2)

    @property
    def faults(self) -> Iterator[str]:
        if self.store:
            yield f"store {self.store}"
        if self.damage:
            yield f"state {self.damage}"
        if self.late:
            yield f"{self.late} bars late"
        if self.twice:
            yield "events twice"


class Store(ObjectStore):
    """An Object Store that fails as told, and knows what is being saved."""

    def __init__(self, root: Path, session: "Session"):
        super().__init__(root)
        self._session = session
        self._failed = False

    def save_bytes(self, path: str, contents: bytes) -> bool:
        if path.endswith("broken"):
            return super().save_bytes(path, contents)
        session, trouble = self._session, self._session.trouble
        what = session.saving
        session.reach(f"before saving {what}")
        if trouble and trouble.kill == f"while saving {what}" and session.is_due(trouble.kill):
            self._write_half(path, contents)
        session.reach(f"while saving {what}")
        if trouble and trouble.store and trouble.save == what and not self._failed:
            self._failed = True
            if trouble.store.startswith("fills up"):
                self._write_half(path, contents)
            if trouble.store.endswith("raises"):
                raise OSError("no space left on device")
            return False
        saved = super().save_bytes(path, contents)
        session.reach(f"after saving {what}")
        return saved

    def _write_half(self, path: str, contents: bytes) -> None:
        """As a store may that does not write whole files or none."""
        Path(self.get_file_path(path)).write_bytes(contents[: len(contents) // 2])


class LateHistory(History):
    """Bars of a month's last session that are not there on the evening of that day."""

    session: "Session"

    def frame(self, *arguments: object, **options: object) -> object:
        frame = super().frame(*arguments, **options)  # type: ignore[arg-type]
        trouble, now = self.session.trouble, self.session.now
        if not trouble or not trouble.late or now.date() != trouble.month.last or frame.empty:
            return frame
        times, stocks = (frame.index.get_level_values(name) for name in ("time", "symbol"))
        affected = [trouble.late == "all" or sum(str(stock.id).encode()) % 3 == 0 for stock in stocks]
        return frame[~((times.date == now.date()) & affected)]


class Session(LiveEngine):
    """A live session with trouble ahead, or none."""

    def __init__(self, run: "Run", data: DataFolder, begin: datetime, end: date, trouble: Trouble | None):
        project = Project(ROOT, run.parameters)
        self.trouble = trouble
        self.saving = SAVES[0]
        self._run = run
        super().__init__(
            project.load(),
            data,
            Store(run.folder / "store", self),
            project.parameters,
            account=run.account,
            begin=begin,
            end=end,
            on_log=lambda when, text: run.note("log", f"{when} {text}"),
        )
        self.history = history = LateHistory(data, lambda: self.now)
        history.session = self
        main = sys.modules["main"]
        make = main.make_allocator
        main.make_allocator = lambda *arguments, **options: self._watched(make(*arguments, **options))

    def is_due(self, point: str) -> bool:
        """Whether this is where, and when, the run is to be killed."""
        trouble = self.trouble
        if trouble is None or trouble.kill != point:
            return False
        return self.now.date() >= (trouble.month.last if point in AT_THE_CLOSE else trouble.month.first)

    def reach(self, point: str) -> None:
        if self.is_due(point):
            self._run.note("kills", f"{self.now.isoformat()}")
            os.kill(os.getpid(), signal.SIGKILL)

    def schedule_event(self, dates, times, callback, name):  # type: ignore[no-untyped-def]
        def twice() -> None:
            callback()
            callback()

        return super().schedule_event(dates, times, twice if self.trouble and self.trouble.twice else callback, name)

    def _order_event(self, event):  # type: ignore[no-untyped-def]
        super()._order_event(event)
        self.saving = SAVES[1]
        if event.order.id % 3 == 0 and not event.fill_quantity:
            self.reach("while ordering")

    def _close(self, close: datetime, position: int) -> None:
        super()._close(close, position)
        if self.trouble and close.date() >= self.trouble.month.middle and close >= self._begin:
            self.reach(ASLEEP)

    def _watched(self, allocator):  # type: ignore[no-untyped-def]
        """The allocator, which writes down what it decides and learns, and may not live to see it."""
        decide, learn = allocator.decide, allocator.learn
        # What changes the parameters: a rule has an update of its own, everything else AdamW.
        learner, name = (type(allocator._method), "update") if isinstance(allocator, Baseline) else (AdamW, "step")
        take_step = getattr(learner, name)

        def watched_decide(market):  # type: ignore[no-untyped-def]
            self.reach("before deciding")
            weights = decide(market)
            self._run.note("weights", f"{market.instant:%Y-%m} {_digest([weights])}")
            self.reach("after deciding")
            self.saving = SAVES[0]
            return weights

        def watched_learn(returns):  # type: ignore[no-untyped-def]
            self.reach("before learning")
            report = learn(returns)
            self._run.note("parameters", f"{report.step} {_digest(allocator.state().arrays.values())}")
            self.reach("after learning")
            self.saving = SAVES[2]
            return report

        def watched_step(*arguments, **options):  # type: ignore[no-untyped-def]
            taken = take_step(*arguments, **options)
            self.reach("while learning")
            return taken

        setattr(learner, name, watched_step)
        allocator.decide, allocator.learn = watched_decide, watched_learn
        return allocator


class Run:
    """One of the two runs, in a folder of its own."""

    def __init__(self, folder: Path, parameters: dict[str, str]):
        folder.mkdir()
        self.folder = folder
        self.parameters = parameters
        self.account = Account(folder / "account.jsonl", CASH)

    def note(self, about: str, line: str) -> None:
        with (self.folder / about).open("a") as file:
            file.write(line + "\n")

    def noted(self, about: str) -> list[str]:
        path = self.folder / about
        return path.read_text().splitlines() if path.exists() else []

    def result(self) -> dict[str, object]:
        """All that must be the same; the minute at which an order was sent is not."""
        self.account.refresh()
        settings = Settings.from_parameters(self.parameters)
        state = StateStore(ObjectStore(self.folder / "store"), "online-portfolio/live", settings, print).load()
        assert state is not None
        orders = [
            (f"{o.time:%Y-%m-%d}", o.symbol.sid, o.type, o.quantity, o.status, o.price, o.last_fill_time)
            for o in self.account.orders
        ]
        return {
            "weights": sorted(set(self.noted("weights"))),
            "parameters": sorted(set(self.noted("parameters"))),
            "orders": orders,
            "cash": self.account.books.cash,
            "decisions and steps": (state.extra["decisions"], state.step),
            "history of the learning": state.extra["learnt"],
            "final state": _digest(array for _, array in sorted(state.arrays.items())),
        }


def soak(folder: Path, market: Path, begin: date, n_months: int, seed: int, parameters: dict[str, str]) -> bool:
    """Both runs; whether they are the same. Prints what happened."""
    torch.set_num_threads(1)  # a forked process has none of its parent's threads
    data = DataFolder(market)
    months = _months(data, begin, n_months)
    # The session after the last month is in it, for a last step that could not be taken on the evening itself.
    start, end = datetime.combine(months[0].first, datetime.min.time()), data.calendar.next_session(months[-1].last)
    chance = random.Random(seed)
    rounds = [chance.sample(POINTS, len(POINTS)) for _ in range(0, n_months, len(POINTS))]  # each point as often
    kills = itertools.chain.from_iterable(rounds)
    troubles = [Trouble.draw(month, kill, chance) for month, kill in zip(months, kills, strict=False)]
    parameters = {"backbone": "tiny-random", "precision": "fp32", "device": "cpu"} | parameters
    str(make_allocator(Settings.from_parameters(parameters), n_features=1))  # imported here once, for all children
    began = time.perf_counter()
    quiet = Run(folder / "quiet", parameters)
    _check(_forked(partial(_live, quiet, data, start, end, None)), quiet)
    print(f"{n_months} months in peace: {time.perf_counter() - began:.0f} s")

    began = time.perf_counter()
    hard = Run(folder / "killed", parameters)
    warm = [data.daily(order.symbol.id) for order in _refreshed(quiet.account).orders]  # the children inherit it
    assert warm
    for number, trouble in enumerate(troubles):
        if start.date() == trouble.month.first and number and trouble.kill in AT_THE_OPEN:
            # The last kill came with a late step on this very morning: after another one the open would be missed.
            troubles[number] = trouble = replace(trouble, kill=ASLEEP)
        _check(_forked(partial(_live, hard, data, start, end, trouble)), hard, killed=True)
        hard.account.refresh()
        killed = datetime.fromisoformat(hard.noted("kills")[-1])
        start = killed + timedelta(minutes=trouble.pause)
        if trouble.damage:
            _damage(hard.folder / "store" / "online-portfolio", trouble.damage, chance)
    _check(_forked(partial(_live, hard, data, start, end, None)), hard)
    print(f"{n_months} months with a kill in each: {time.perf_counter() - began:.0f} s, seed {seed}")

    points = Counter(trouble.kill for trouble in troubles)
    faults = Counter(fault for trouble in troubles for fault in trouble.faults)
    for name, count in (("months", len(months)), ("kills", points.total()), ("faults", faults.total())):
        print(f"{name:8} {count}")
    refusals = sum(" online-portfolio/live-" in line for line in hard.noted("log"))
    print(f"refusals {refusals} broken states")
    print("points  ", ", ".join(f"{point} {count}" for point, count in sorted(points.items())))
    print("kinds   ", ", ".join(f"{fault} {count}" for fault, count in sorted(faults.items())))
    one, other = quiet.result(), hard.result()
    print(f"final parameters in peace     {one['final state']}")
    print(f"final parameters after it all {other['final state']}")
    differing = [name for name in one if one[name] != other[name]]
    print(f"DIFFERENT: {', '.join(differing)}; --folder keeps both runs" if differing else "the same to the bit")
    return not differing


def _live(run: Run, data: DataFolder, begin: datetime, end: date, trouble: Trouble | None) -> None:
    failure = Session(run, data, begin, end, trouble).run()
    if failure:
        raise RuntimeError(failure.message)


def _forked(work: Callable[[], None]) -> int:
    """Do something in a process of its own; its wait status."""
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def _check(status: int, run: Run, *, killed: bool = False) -> None:
    if killed != os.WIFSIGNALED(status) or (not killed and status):
        how = "was not killed where it should have been" if killed and not status else "failed"
        raise SystemExit(f"the run in {run.folder} {how}: its last lines are\n" + "\n".join(run.noted("log")[-5:]))


def _damage(folder: Path, how: str, chance: random.Random) -> None:
    """Spoil the state that was saved last, unless it is the only one."""
    states = sorted(folder.glob("live-[ab]"), key=lambda path: path.stat().st_mtime_ns)
    if len(states) < 2:
        return
    content = bytearray(states[-1].read_bytes())
    if how == "bit flipped":
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    else:
        del content[0 if how == "emptied" else chance.randrange(len(content)) :]
    states[-1].write_bytes(content)


def _refreshed(account: Account) -> Account:
    account.refresh()
    return account


def _months(data: DataFolder, begin: date, count: int) -> list[Month]:
    known = data.daily(data.resolve("SPY", begin).id).period()
    sessions = data.calendar.sessions(begin, known[1]) if known else []
    months: dict[tuple[int, int], list[date]] = {}
    for day in sessions:
        months.setdefault((day.year, day.month), []).append(day)
    whole = list(months.values())[:count]
    if len(whole) < count:
        raise SystemExit(f"{data.folder} has {len(whole)} months from {begin} on, not {count}: lower --months")
    return [Month(days[0], days[len(days) // 2], days[-1]) for days in whole]


def _digest(arrays) -> str:  # type: ignore[no-untyped-def]
    found = hashlib.sha256()
    for array in arrays:
        found.update(array.tobytes())
    return found.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--months", type=int, help="default: 127, or the 31 that an invented market has")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, help="LEAN data folder; default: real data, or invented")
    parser.add_argument("--begin", type=date.fromisoformat, default=date(2009, 6, 1), help="first day, yyyy-mm-dd")
    parser.add_argument("--folder", type=Path, help="where both runs are kept; default: nowhere")
    parser.add_argument("--parameter", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        market, months = chosen.data or REAL, chosen.months or 127
        try:
            if not market.is_dir() and not chosen.data:
                market, months = Path(temporary) / "market", chosen.months or 31
                write_demo_market(market)
            same = soak(folder, market, chosen.begin, months, chosen.seed, dict(chosen.parameter))
        except HostError as error:
            raise SystemExit(f"Error: {error}") from None
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
