"""A LEAN data folder of a few invented stocks, written row by row, and a scripted algorithm that runs on it."""

import shutil
import zipfile
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from minilean.algorithm import QCAlgorithm
from minilean.calendar import MarketCalendar
from minilean.data import DataFolder
from minilean.engine import Engine
from minilean.enums import DataNormalizationMode, Resolution
from minilean.objectstore import ObjectStore
from minilean.symbols import SecurityIdentifier, Symbol

PARITY = Path(__file__).parents[1] / "fixtures" / "parity_market"
Prices = float | Mapping[str, float | tuple[float, float]]
Script = Mapping[str, Callable[[Any], object]]


class Scripted(QCAlgorithm):
    """Does what a script says at the moments it names, and writes down what it is told.

    events: every order event as (time, order id, name of the status); changes: (time, added, removed) tickers;
    selections: times at which the filter was called; told: other callbacks as (time, name).
    """

    market: "TinyMarket"
    script: ClassVar[Script] = {}
    start, end, cash = "2013-06-03", "2013-06-14", 100_000.0
    tickers: tuple[str, ...] = ()
    raw = False
    universe_of: Callable[[list[Any]], Any] | None = None
    setup: Callable[[Any], object] | None = None

    def initialize(self) -> None:
        self.events: list[tuple[datetime, int, str]] = []
        self.changes: list[tuple[datetime, list[str], list[str]]] = []
        self.selections: list[datetime] = []
        self.told: list[tuple[datetime, str]] = []
        self.set_start_date(datetime.fromisoformat(self.start))
        self.set_end_date(datetime.fromisoformat(self.end))
        self.set_cash(self.cash)
        self.settings.seed_initial_prices = True
        self.settings.minimum_order_margin_portfolio_percentage = 0
        self.universe_settings.resolution = Resolution.DAILY
        if self.raw:
            self.universe_settings.data_normalization_mode = DataNormalizationMode.RAW
        if self.setup:
            self.setup()
        for ticker in self.tickers:
            self.add_equity(ticker)
        if self.universe_of:
            self.add_universe(self.universe.etf("SPY", self.universe_settings, self._select))
        for moment, action in self.script.items():
            at = datetime.fromisoformat(moment)
            day, moment_of_day = (at.year, at.month, at.day), (at.hour, at.minute, at.second)
            self.schedule.on(self.date_rules.on(*day), self.time_rules.at(*moment_of_day), partial(action, self))

    def _select(self, rows: list[Any]) -> Any:
        self.selections.append(self.time)
        return self.universe_of(rows)

    def on_order_event(self, order_event: Any) -> None:
        self.events.append((self.time, order_event.order_id, order_event.status.name))

    def on_securities_changed(self, changes: Any) -> None:
        added, removed = changes.added_securities, changes.removed_securities
        self.changes.append((self.time, [s.symbol.value for s in added], [s.symbol.value for s in removed]))

    def on_data(self, data: Any) -> None:
        self.told.append((self.time, "data"))

    def on_splits(self, splits: Any) -> None:
        self.told.append((self.time, "splits"))

    def on_dividends(self, dividends: Any) -> None:
        self.told.append((self.time, "dividends"))

    def on_delistings(self, delistings: Any) -> None:
        self.told.append((self.time, "delistings"))

    def on_symbol_changed_events(self, symbols_changed: Any) -> None:
        self.told.append((self.time, "renames"))


class TinyMarket:
    """A data folder with SPY flat at 100 dollars, every session from `first` to `last`, and the stocks it is given."""

    def __init__(self, folder: Path, first: date = date(2013, 1, 2), last: date = date(2013, 8, 30)):
        self.folder = folder
        self.first, self.last = first, last
        self.equity = folder / "equity" / "usa"
        self.log: list[tuple[datetime, str]] = []
        shutil.copytree(PARITY / "market-hours", folder / "market-hours")
        self.calendar = MarketCalendar.read(folder)
        self._sids: dict[str, SecurityIdentifier] = {}
        self.stock("SPY")
        hours = [
            (f"{day:%Y%m%d} {hour:02}:00", 1_000_000, 1_000_000, 1_000_000, 1_000_000, 1000)
            for day in self.calendar.sessions(self.first, self.last)
            for hour in range(9, self.calendar.close(day).hour)
        ]
        self.zip("hour", "spy", hours)

    def stock(
        self,
        ticker: str,
        prices: Prices = 100.0,
        *,
        first: str = "",
        delisted: str = "",
        renamed: tuple[str, str] | None = None,
        factors: Iterable[str] = (),
        without: Iterable[str] = (),
        until: str = "",
    ) -> None:
        """Write a stock's daily bars, map file and factor file.

        prices: dollars from a day on, `(open, close)` for a day that moves; first: of the map file and the bars;
        delisted: last day in the map file; renamed: last day of the ticker, next ticker; without: days without a bar;
        until: day of the last bar; factors: rows `yyyyMMdd,price,split,reference` between the first and the last.
        """
        begin = date.fromisoformat(first) if first else self.first
        stop = date.fromisoformat(until or delisted) if until or delisted else self.last
        steps = prices if isinstance(prices, Mapping) else {f"{begin}": prices}
        skipped = set(without)
        names = [(stop, ticker)] if renamed is None else [(date.fromisoformat(renamed[0]), ticker), (stop, renamed[1])]
        rows: dict[str, list[tuple[object, ...]]] = {name: [] for _, name in names}
        price = 0.0
        for day in self.calendar.sessions(min([begin, *map(date.fromisoformat, steps)]), stop):
            step = steps.get(f"{day}", price)
            opening, price = step if isinstance(step, tuple) else (step, step)
            if price and day >= begin and f"{day}" not in skipped:
                name = next(name for until_, name in names if day <= until_)
                low, high = sorted((opening, price))
                bar = (round(10_000 * p) for p in (opening, high, low, price))
                rows[name].append((f"{day:%Y%m%d} 00:00", *bar, 1000))
        for name, bars in rows.items():
            self.zip("daily", name, bars)
        self._sids[ticker] = SecurityIdentifier.generate_equity(ticker, begin)
        last_name = names[-1][1].lower()
        ends = [(f"{day:%Y%m%d}", name.lower()) for day, name in names[:-1]]
        ends.append((date.fromisoformat(delisted).strftime("%Y%m%d") if delisted else "20501231", last_name))
        tickers = [(f"{begin:%Y%m%d}", ticker.lower()), *ends]
        self.write(f"map_files/{last_name}.csv", [(*row, "N") for row in tickers])
        given = [row.split(",") for row in factors]
        head = given[0][1:3] if given else ["1", "1"]
        self.write(
            f"factor_files/{last_name}.csv", [(f"{begin:%Y%m%d}", *head, "1"), *given, ("20501231", "1", "1", "0")]
        )

    def sid(self, ticker: str) -> SecurityIdentifier:
        """Identifier of a stock by its first ticker; a stock without files has its own."""
        return self._sids.get(ticker, SecurityIdentifier.generate_equity(ticker, date(2013, 1, 2)))

    def symbol(self, ticker: str) -> Symbol:
        return Symbol(self.sid(ticker), ticker)

    def constituents(
        self, day: str, *tickers: str, weights: Mapping[str, str] = {}, born: Mapping[str, str] = {}
    ) -> None:
        """SPY's list of a day. weights: texts by ticker, 0.1 for the others; born: first ticker of the renamed."""
        name = day.replace("-", "")
        rows = [(t, self.sid(born.get(t, t)), name, weights.get(t, "0.1"), "1000", "") for t in tickers]
        self.write(f"universes/etf/spy/{name}.csv", rows)

    def write(self, name: str, rows: Iterable[Iterable[object]]) -> None:
        path = self.equity / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))

    def zip(self, kind: str, ticker: str, rows: Iterable[Iterable[object]]) -> None:
        path = self.equity / kind / f"{ticker.lower()}.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{ticker.lower()}.csv", "".join(",".join(map(str, row)) + "\n" for row in rows))

    @property
    def messages(self) -> list[str]:
        return [message for _, message in self.log]

    def engine(self, algorithm: type[QCAlgorithm]) -> Engine:
        """The engine for any algorithm class on this folder; what it says is in `log` and `messages`."""
        self.log.clear()
        return engine_on(self.folder, algorithm, lambda when, message: self.log.append((when, message)))

    def run(self, script: Script | None = None, **settings: Any) -> Engine:
        """Run a `Scripted` algorithm to its end; settings are the class's own names."""
        if "universe_of" in settings:
            settings["universe_of"] = staticmethod(settings["universe_of"])
        engine = self.engine(type("Scripted", (Scripted,), {"script": script or {}, "market": self, **settings}))
        failure = engine.run()
        assert failure is None, failure
        return engine


def engine_on(
    folder: Path, algorithm: type[QCAlgorithm], on_log: Callable[[datetime, str], None] = lambda when, message: None
) -> Engine:
    """The engine for an algorithm class on any data folder."""
    return Engine(algorithm, DataFolder(folder), ObjectStore(folder / "storage"), {}, on_log=on_log)


def asked(market: TinyMarket, call: Callable[[Any], Any], moment: str = "2013-06-05 09:00", **settings: Any) -> Any:
    """What a call gives, or raises, in an algorithm that is subscribed to AAA."""
    market.stock("AAA")
    answers: list[Any] = []

    def ask(algorithm: Any) -> None:
        try:
            answers.append(call(algorithm))
        except Exception as error:
            answers.append(error)

    market.run({moment: ask}, **({"tickers": ("AAA",)} | settings))
    (answer,) = answers
    return answer


def utc(text: str, hours: int = 4) -> datetime:
    """Naive UTC of a New York time; four hours behind in summer."""
    return datetime.fromisoformat(text) + timedelta(hours=hours)


def everything(rows: list[Any]) -> list[Symbol]:
    """A filter that takes all constituents."""
    return [row.symbol for row in rows]


def placed(engine: Engine) -> list[tuple[str, int]]:
    """All orders of a run as (ticker, quantity), by id."""
    return [(order.symbol.value, order.quantity) for order in engine.brokerage.orders]
