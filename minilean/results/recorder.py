"""What the engine tells of a run, and what becomes of it: samples, trades, statistics and LEAN's result files."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

from minilean.calendar import to_new_york, to_utc
from minilean.decimals import ZERO, divide, fit, number, round_half_even, round_half_up, smart
from minilean.orders import Order, OrderEvent, iso
from minilean.portfolio import Positions
from minilean.results import files
from minilean.results.analysis import Curves, findings
from minilean.results.capacity import CapacityEstimate
from minilean.results.charts import BAR, CANDLE, LINE, TREEMAP, Chart, Series, in_table_order
from minilean.results.holdings import Holdings
from minilean.results.statistics import (
    TRADING_DAYS,
    Samples,
    portfolio_texts,
    rate_on,
    rolling_windows,
    summary,
)
from minilean.results.trade_statistics import NO_TRADES, TradeTable
from minilean.results.trades import Trade, TradeBuilder
from minilean.securities import Security
from minilean.symbols import Symbol

EQUITY_POINTS = 4000
SALES_SERIES = 30
CUSTOM_SERIES = 30
CUSTOM_POINTS = 1_000_000
_EPOCH = datetime(1970, 1, 1)
_SECOND = timedelta(seconds=1)
_HUNDRED = Decimal(100)
_MARGIN_STYLE = ',"indexName":"Margin Used (%)","tooltip":"{SERIES_NAME}: {VALUE}%"'


class _Statistics(NamedTuple):
    """What LEAN computes at the end of a run; total: portfolioStatistics, not rounded yet."""

    total: dict[str, Decimal]
    of_trades: dict[str, str | int | None]
    trades: Sequence[Trade]
    windows: dict[str, dict[str, object]]
    summary: dict[str, str]


class PortfolioView(Protocol):
    """What the results read of a portfolio; active() in the order of LEAN's securities dictionary."""

    @property
    def total_fees(self) -> Decimal: ...
    def total_value(self) -> Decimal: ...
    def active(self) -> Iterable[Security]: ...
    def positions(self) -> Positions: ...


class Recorder:
    """Records one run. Times are naive UTC; the `EXACT` decimal context has to be active.

    benchmark: price of the benchmark at a moment. interest_rates: (day, rate a year as a fraction) since when it
    holds. latest_ticker: today's ticker of a symbol. spy_closes: gives (session, adjusted daily close) of SPY from
    three days before the start to the end, for the analysis that compares with it. statistics_error: after `write`, why
    there are no statistics.
    """

    def __init__(
        self,
        *,
        name: str,
        start: date,
        end: date,
        cash: Decimal,
        parameters: dict[str, str],
        portfolio: PortfolioView,
        benchmark: Callable[[datetime], Decimal],
        interest_rates: Sequence[tuple[date, Decimal]],
        latest_ticker: Callable[[Symbol], str],
        spy_closes: Callable[[], Sequence[tuple[date, Decimal]]],
    ):
        self._name = name
        self._start = start
        self._end = end
        self._cash = cash
        self._parameters = parameters
        self._portfolio = portfolio
        self._benchmark_at = benchmark
        self._rate = rate_on(interest_rates)
        self._spy_closes = spy_closes

        self._events: list[OrderEvent] = []
        self._log: list[str] = []
        self._runtime: dict[str, str] = {}
        self._custom: dict[str, str] = {}
        self._order_count = 0
        self._trades = TradeBuilder()
        self._capacity = CapacityEstimate(start, end)
        self._sold = ZERO
        self._closed_profit = ZERO
        self._dividends = ZERO
        self._record: list[tuple[datetime, Decimal]] = []
        self._record_time = _EPOCH
        self._collisions = 0

        self.statistics_error = ""

        self._charts: dict[str, Chart] = {}
        self._equity = self._series("Strategy Equity", "Equity", "$", CANDLE)
        self._return = self._series("Strategy Equity", "Return", "%", BAR, index=1)
        self._closes: list[Decimal] = []
        self._returns: list[Decimal] = []
        self._benchmarks: list[Decimal] = []
        self._turnover: list[Decimal] = []
        self._candle: list[Decimal] | None = None
        self._candle_total: Decimal | None = None
        self._candle_value = ZERO
        self._next_sample: datetime | None = None
        self._sample_period = max(timedelta(minutes=4), ((end - start) + timedelta(days=1)) / EQUITY_POINTS)
        self._first = _unix(to_utc(datetime.combine(start, time())))
        self._stepped = False
        self._last = _EPOCH + self._first * _SECOND
        self._previous_value = cash
        self._highest_value = cash
        self._turnover_time = -1
        self._turnover_base = self._turnover_last = ZERO
        self._drawdown = "0.0"
        self._active: list[Security] = []
        self._has_sold = False
        self._sales_points: dict[Series, str] = {}
        self._sales_times: list[int] = []
        self._capacity_value: Decimal | None = None
        self._capacity_text = ""
        self._holdings = Holdings(
            lambda name: self._series("Exposure", name, "", LINE),
            self._margin_series,
            lambda security: latest_ticker(security.symbol),
        )
        self._plots: list[tuple[int, str, str, str]] = []
        self._custom_series: set[tuple[str, str]] = set()

    # --- what the engine tells

    def order_event(self, event: OrderEvent) -> None:
        """Every order event, in the order of processing."""
        self._events.append(event)
        self._order_count = max(self._order_count, event.order.id)

    def fill(self, event: OrderEvent, security: Security, profit: Decimal | None) -> None:
        """A fill, after cash and position have changed; profit: what it realised before fees, None where it did not."""
        volume = fit(abs(event.fill_quantity) * event.fill_price)
        self._sold = fit(self._sold + volume)
        self._has_sold = True
        self._trades.fill(event, security)
        self._capacity.fill(security, event.time, volume)
        if profit is not None:
            self._closed_profit = fit(self._closed_profit + profit)
            self._record_profit(event.time, fit(profit - 2 * (event.fee or ZERO)))

    def _record_profit(self, utc: datetime, profit: Decimal) -> None:
        """One entry a millisecond: LEAN moves those of one moment apart."""
        self._collisions = self._collisions + 1 if utc == self._record_time else 0
        self._record_time = utc
        self._record.append((utc + timedelta(milliseconds=self._collisions), profit))

    def mark(self, security: Security) -> None:
        """A corporate action of a held security at 00:00."""
        self._trades.mark(security)

    def split(self, security: Security, factor: Decimal) -> None:
        """A split in raw prices, after the mark at the old price."""
        self._trades.split(security, factor)

    def dividend(self, amount: Decimal) -> None:
        """Dollars of a cash dividend, negative for shorts."""
        self._dividends = fit(self._dividends + amount)

    def plot(self, utc: datetime, chart: str, series: str, value: Decimal) -> None:
        """A point of a chart of the algorithm; the last of one moment stays."""
        self._plots.append((_unix(utc), chart, series, number(smart(value))))

    def runtime_statistic(self, name: str, text: str) -> None:
        self._runtime[name] = text

    def summary_statistic(self, name: str, text: str) -> None:
        """One more statistic after the 27. Raises ValueError for a name LEAN refuses, a whole number up to 100."""
        if name.strip().isdecimal() and int(name) <= 100:
            raise ValueError(f"{name!r} cannot name a summary statistic: take a text instead of a number up to 100")
        self._custom[name] = text

    def log(self, local: datetime, message: str) -> None:
        """A line of the log, at the algorithm's New York time."""
        self._log.append(f"{local:%Y-%m-%d %H:%M:%S} {message}")

    def midnight(self, utc: datetime) -> None:
        """The daily sample at a New York midnight."""
        self._sample(_unix(utc), self._benchmark_at(utc))

    def end_of_slice(self, utc: datetime) -> None:
        """The step after everything else in a slice: equity, plots, capacity."""
        self._step(utc, forced=False)
        self._stepped = True

    def idle_until(self) -> datetime:
        """The New York time before which `end_of_slice` changes nothing, while the portfolio stays as it is."""
        if self._candle is None or self._next_sample is None or self._candle_total is not self._portfolio.total_value():
            return datetime.min
        return to_new_york(min(self._next_sample, self._capacity.due))

    def finish(self, utc: datetime, *, daily: datetime | None) -> None:
        """The end of the run, at the time of its last slice.

        daily: time of the last daily sample, normally also that of the last slice; before any slice LEAN takes the
        start date's 00:00 for UTC; None after an error inside a slice, when it takes no sample any more.
        """
        self._last = utc
        self._step(utc, forced=True)
        if daily is not None:
            self._sample(_unix(daily), self._benchmark_at(daily) if self._stepped else ZERO)
            self._step(utc, forced=True)

    # --- sampling

    def _series(self, chart: str, name: str, unit: str, kind: int, *, index: int = 0, extra: str = "") -> Series:
        series_of = self._chart(chart).series
        series = series_of.get(name)
        if series is None:
            series = series_of[name] = Series(name, unit, kind, index=index, extra=extra)
        return series

    def _chart(self, name: str, *, legend_disabled: bool = False) -> Chart:
        chart = self._charts.get(name)
        if chart is None:
            chart = self._charts[name] = Chart(name, legend_disabled=legend_disabled)
        return chart

    def _step(self, utc: datetime, *, forced: bool) -> None:
        self._update_candle()
        if forced or self._next_sample is None or utc >= self._next_sample:
            self._sample_equity(_unix(utc))
            # LEAN asks for a later time than last + period, which is 100 ns / 4000 short of what is kept here.
            self._next_sample = utc + self._sample_period
            self._move_plots()
        self._capacity.end_of_slice(utc)
        self._capacity.snapshot(utc, self._portfolio.total_value(), forced=forced)

    def _update_candle(self) -> list[Decimal]:
        total = self._portfolio.total_value()
        candle = self._candle
        if total is not self._candle_total:
            self._candle_total = total
            self._candle_value = smart(round_half_even(total, 4))
        elif candle is not None:
            return candle
        value = self._candle_value
        if candle is None:
            candle = self._candle = [value] * 4
        else:
            candle[1] = max(candle[1], value)
            candle[2] = min(candle[2], value)
            candle[3] = value
        return candle

    def _sample_equity(self, now: int) -> None:
        """Close the candle; the point is dropped if there is one of that time, the candle is not kept."""
        candle = self._candle or self._update_candle()
        self._candle = None
        if not self._equity.times or now > self._equity.times[-1]:
            texts = {id(value): number(value) for value in candle}
            self._equity.add(now, ",".join([texts[id(value)] for value in candle]))
            self._closes.append(candle[3])

    def _sample(self, now: int, benchmark: Decimal) -> None:
        total = self._portfolio.total_value()
        previous, self._previous_value = self._previous_value, total
        self._highest_value = max(self._highest_value, total)
        self._sample_equity(now)
        if not self._return.times or now > self._return.times[-1]:
            gain = total - previous
            change = divide(gain * _HUNDRED, previous) if gain and previous else ZERO
            self._returns.append(smart(round_half_even(change, 10)))
            self._return.add(now, number(self._returns[-1]))
            self._benchmarks.append(smart(benchmark))
            self._series("Benchmark", "Benchmark", "$", LINE).add(now, number(self._benchmarks[-1]))
        if now != self._first:
            self._sample_turnover(now, total)
        if total is not previous:
            fall = divide(total, self._highest_value) - 1 if self._highest_value else ZERO
            self._drawdown = number(smart(round_half_even(fall * _HUNDRED, 2)))
        self._series("Drawdown", "Equity Drawdown", "%", LINE).add(now, self._drawdown)
        active = list(self._portfolio.active())
        if self._has_sold or active != self._active:
            self._draw_sales()
            self._active, self._has_sold = active, False
            self._rank_sales(active)
        if not self._sales_times or now > self._sales_times[-1]:
            self._sales_times.append(now)
        self._chart("Portfolio Margin", legend_disabled=True)
        self._holdings.note(now, total, self._portfolio.positions(), is_exposed=bool(active))
        if self._capacity.value is not self._capacity_value:
            self._capacity_value = self._capacity.value
            self._capacity_text = number(smart(self._capacity.published))
        self._series("Capacity", "Strategy Capacity", "$", LINE).add(now, self._capacity_text)

    def _sample_turnover(self, now: int, total: Decimal) -> None:
        """Share of the portfolio that was traded since the sample before; a second sample of one time replaces it."""
        again = now == self._turnover_time
        if not again:
            self._turnover_base, self._turnover_last = self._turnover_last, self._sold
        sold = self._sold - self._turnover_base
        value = smart(divide(sold, total)) if sold and total else ZERO
        self._turnover_last, self._turnover_time = self._sold, now
        if again:
            self._turnover[-1] = value
        else:
            self._turnover.append(value)
        self._series("Portfolio Turnover", "Portfolio Turnover", "%", LINE).put(now, number(value))

    def _draw_sales(self) -> None:
        """What was sold had the same points at all samples since the last call."""
        if not self._sales_times:
            return
        first, *later = self._sales_times
        for series, point in self._sales_points.items():
            series.add(first, point)
            if later:
                series.extend(later, [point] * len(later))
        self._sales_times.clear()

    def _rank_sales(self, active: Sequence[Security]) -> None:
        """What each security of the algorithm was traded for so far, the largest thirty."""
        sales = [(security, security.sale_volume) for security in active if security.sale_volume]
        largest = sorted(sales, key=lambda sale: sale[1], reverse=True)[:SALES_SERIES]
        self._sales_points = {}
        for security, volume in largest:
            series = self._series("Assets Sales Volume", security.symbol.value, "$", TREEMAP)
            if series not in self._sales_points:  # of two that share a ticker the larger
                self._sales_points[series] = number(smart(volume))

    def _margin_series(self, name: str) -> Series:
        return self._series("Portfolio Margin", name, "%", BAR, extra=_MARGIN_STYLE)

    def _move_plots(self) -> None:
        """Plots reach the results when equity is sampled; what goes beyond LEAN's limits is dropped."""
        for when, chart, name, point in self._plots:
            if (chart, name) not in self._custom_series:
                if len(self._custom_series) >= CUSTOM_SERIES:
                    continue
                self._custom_series.add((chart, name))
            series = self._series(chart, name, "$", LINE)
            if len(series.times) < CUSTOM_POINTS:
                series.put(when, point)
        self._plots.clear()

    # --- results

    @cached_property
    def _margin_used(self) -> dict[int, Decimal]:
        """Percent of the portfolio by time; what draws the charts of what was held."""
        return self._holdings.draw()

    @cached_property
    def _samples(self) -> Samples:
        rates: dict[date, Decimal] = {}
        days = [(_EPOCH + when * _SECOND).date() for when in self._equity.times]
        for day in days:
            if day not in rates:
                rates[day] = self._rate(day)
        turnover = self._charts.get("Portfolio Turnover")
        return Samples(
            start_equity=self._cash,
            equity_times=self._equity.times,
            equity=self._closes,
            sample_times=self._return.times,
            returns=self._returns,
            benchmark=self._benchmarks,
            turnover_times=turnover.series["Portfolio Turnover"].times if turnover else (),
            turnover=self._turnover,
            rates=[rates[day] for day in days],
            profit_times=[_unix(when) for when, _ in self._record],
            profits=[profit for _, profit in self._record],
        )

    @cached_property
    def _statistics(self) -> _Statistics:
        """Where one of them is too large for a decimal, or undefined, there are none at all, as in LEAN."""
        try:
            trades, total = TradeTable(self._trades.closed), self._samples.portfolio()
            found: dict[str, str] = {}
            if self._closes:
                found = summary(
                    total,
                    orders=self._order_count,
                    fees=self._portfolio.total_fees,
                    capacity=self._capacity.published,
                    lowest_capacity_asset=self._capacity.lowest.symbol.sid if self._capacity.lowest else "",
                )
            found |= {name: self._custom[name] for name in in_table_order(self._custom) if name not in found}
            whole = trades.statistics([slice(0, len(trades.trades))])[0]
            return _Statistics(total, whole, trades.trades, rolling_windows(self._samples, trades), found)
        except ArithmeticError as error:
            too_large = isinstance(error, OverflowError)
            self.statistics_error = str(error) if too_large else "one of them has a zero to divide by"
            return _Statistics(Samples(ZERO).portfolio(), dict(NO_TRADES), [], {}, {})

    def statistics(self) -> dict[str, str]:
        """The 27 of the summary, none where nothing was ever sampled, then those of the algorithm.

        Call it after `finish`; it does not change any more.
        """
        return self._statistics.summary

    def runtime_statistics(self) -> dict[str, str]:
        """What LEAN shows while a run goes on, as of now, in alphabetical order."""
        value = self._portfolio.total_value()
        active = list(self._portfolio.active())
        holdings = sum((abs(s.quantity * s.price) for s in active), ZERO)
        unrealized = sum((s.unrealized_profit() for s in active), ZERO)
        fees = self._portfolio.total_fees
        net_return = divide(value - self._cash, self._cash) * _HUNDRED if self._cash > 0 else ZERO
        built_in = {
            "Equity": _money(value),
            "Fees": f"-{_money(fees)}",
            "Holdings": _money(holdings),
            "Net Profit": _money(self._closed_profit - fees + self._dividends),
            "Probabilistic Sharpe Ratio": self.statistics().get("Probabilistic Sharpe Ratio", "0%"),
            "Return": f"{round_half_up(net_return, 2):,f} %",
            "Unrealized": _money(unrealized),
            "Volume": _money(self._sold),
        }
        found = self._runtime | built_in
        return {name: found[name] for name in sorted(found, key=_alphabetical)}

    def write(
        self,
        folder: Path,
        algorithm_id: str,
        orders: Sequence[Order],
        *,
        status: str = "Completed",
        runtime_error: str = "",
        stack_trace: str = "",
    ) -> None:
        """Write LEAN's result files into the folder, which is made if need be; each appears whole or not at all.

        `lean logs` reads log.txt, and `lean report` finds the result by the id in config.

        orders: all of them, by id. status: LEAN's word for how the run ended.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._draw_sales()
        statistics = self._statistics
        performance = {
            "tradeStatistics": statistics.of_trades,
            "portfolioStatistics": portfolio_texts(statistics.total),
        }
        state = {
            # LEAN writes the wall clock here; these are the run's own first and last moment, the same in every run.
            "StartTime": iso(_EPOCH + self._first * _SECOND),
            "EndTime": iso(self._last),
            "RuntimeError": runtime_error,
            "StackTrace": stack_trace,
            "LogCount": str(len(self._log) + 1),
            "OrderCount": str(len(orders)),
            "InsightCount": "0",
            "Name": self._name,
            "Hostname": files.HOST,
            "Status": status,
        }
        configuration = {
            "name": self._name,
            "tags": [],
            "accountCurrency": "USD",
            "brokerage": 0,
            "accountType": 0,
            "parameters": self._parameters,
            "outOfSampleMaxEndDate": None,
            "outOfSampleDays": 0,
            "startDate": f"{self._start:%Y-%m-%d}T00:00:00Z",
            "endDate": f"{self._end:%Y-%m-%d}T23:59:59Z",
            "tradingDaysPerYear": TRADING_DAYS,
        }
        shared = {
            "statistics": files.block(self.statistics()),
            "runtimeStatistics": files.block(self.runtime_statistics()),
            "state": files.block(state),
            "serverStatistics": files.block({}),
            "algorithmConfiguration": files.block(configuration),
        }
        analysis = findings(
            end_equity=statistics.total["endEquity"],
            curves=Curves.align(self._equity.times, self._closes, self._spy_closes()),
            margin_used=self._margin_used,
            rate=self._rate,
        )

        def main() -> Iterator[tuple[str, Iterable[str]]]:
            """Block by block: never all of them in memory."""
            yield "rollingWindow", files.block(statistics.windows)
            yield "charts", files.chart_block(self._charts)
            yield "orders", files.order_block(orders)
            yield "profitLoss", files.profit_block(self._record)
            yield from shared.items()
            yield "totalPerformance", files.performance_block(performance, statistics.trades)
            yield "analysis", files.block(analysis)

        brief = {
            "rollingWindow": files.block({}),
            "charts": files.summary_chart_block(self._equity),
            **shared,
            "totalPerformance": files.performance_block(performance, ()),
        }
        files.write_whole(folder / f"{algorithm_id}.json", files.document(main()))
        files.write_whole(folder / f"{algorithm_id}-summary.json", files.document(brief.items()))
        if self._events:
            events = files.order_events(self._events, algorithm_id)
            files.write_whole(folder / f"{algorithm_id}-order-events.json", events)
        for name in (f"{algorithm_id}-log.txt", "log.txt"):
            files.write_whole(folder / name, (line + "\n" for line in self._log))
        files.write_whole(folder / "config", files.document([("id", files.block(algorithm_id))]))


def _unix(utc: datetime) -> int:
    return (utc - _EPOCH) // _SECOND


def _money(dollars: Decimal) -> str:
    """Dollars and cents with commas; LEAN writes the sign after the dollar."""
    return f"${round_half_up(dollars, 2):,f}"


def _alphabetical(name: str) -> tuple[list[tuple[int, str]], str]:
    """.NET's invariant order of texts: signs before digits before letters, case and accents only between equals."""
    base = [c for c in unicodedata.normalize("NFD", name) if not unicodedata.combining(c)]
    keys = [(2 if c.isalpha() else 1 if c.isdigit() else 0, c.casefold()) for c in base]
    return keys, name.swapcase()
