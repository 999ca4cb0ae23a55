"""An invented stock market: companies, prices and corporate actions, all drawn from one seed.

Model. The total-return price of stock i moves by the log return

    r[t, i] = live[t, i] * (beta_i m[t] + gamma_i f[t, sector of i] + sigma_i v[t] (e[t, i] + signal * score[t, i]))
              + event[t, i]

m: the market, a GJR-GARCH(1,1) with Student-t noise (Glosten, Jagannathan and Runkle 1993) and two crashes, its
sample moved to `MARKET_GROWTH` and `MARKET_VOLATILITY`; f: ten sectors; e: Student-t noise; v: stocks are noisier
when the market is; event: the jump of a takeover, the slide of a failure; live: 1, or little once a takeover is
announced. A fixed share of every variance falls overnight, the rest within the session, whose high and low are those
of a Brownian bridge. Raw prices follow from total-return prices by
taking dividends and splits out, as LEAN's factor files put them in again.

The planted signal is a short-term reversal: score[t, i] is minus the cross-sectional rank of the return over the
`REVERSAL_SESSIONS` sessions before t, scaled to mean 0 and variance 1: what TA-Lib's ROC(10) knows at the close
before. Measured by its monthly information coefficient (IC), the rank correlation across the stocks of minus the
10-session return at the last close of a month with the return from the first open to the last close of the next,
averaged over the 47 months of the default market, it is weak: 0.031 with seed 1 (-0.012 with signal = 0); over seeds
1 to 40, 0.051 on average with a standard deviation of 0.013 from seed to seed (0.002 and 0.013 with signal = 0).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray

from minilean.calendar import CLOSE, MarketCalendar

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

REVERSAL_SESSIONS = 10
SIGNAL = 0.05
"""Drift of a stock whose score is 1, in daily standard deviations of its own noise."""

MARKET_GROWTH = 0.12
"""Total return of the market factor, a year. The index earns about 0.10: value weights lose to the reversal."""
MARKET_VOLATILITY = 0.185
"""Standard deviation of the market factor, a year."""
SECTOR_VOLATILITY = 0.09
OVERNIGHT = 0.3
"""Share of every variance that falls between a close and the next open."""
CRASHES = ((date(2008, 9, 15), date(2008, 11, 20), -0.24), (date(2011, 7, 25), date(2011, 10, 3), -0.13))
"""First and last day, and the market's expected log return from one to the other."""

FUND_VALUE = 80e9
"""Dollars that the index fund would need at the start for its share of all companies, one hundredth of each."""
HOURS = 7
"""Hour bars of a full session, the first of them starting at 9:00."""

_SESSIONS_A_YEAR = 252
_N_SECTORS = 10
_STREAMS = (
    "tickers", "companies", "lives", "dividends", "market", "sectors", "stocks", "ranges", "volumes", "index", "files",
)  # fmt: skip
"""One random stream for each concern, so that a change of one leaves the others. Only ever append."""


@dataclass
class Stock:
    """One listed company. Days are indices of sessions.

    first, last: its first and last bar; joins, leaves: the closes after which the index takes it in, and after which
    the constituent lists name it last. former: an earlier ticker and its last day. splits: ex-day -> split factor (0.5
    is two new shares for an old one); dividends: ex-day -> dollars a share; missing: sessions without a bar.
    """

    ticker: str
    exchange: str
    first: int
    last: int
    joins: int
    leaves: int
    delisted: bool = False
    former: tuple[str, int] | None = None
    splits: dict[int, float] = field(default_factory=dict)
    dividends: dict[int, float] = field(default_factory=dict)
    missing: frozenset[int] = frozenset()

    def ticker_on(self, session: int) -> str:
        return self.former[0] if self.former and session <= self.former[1] else self.ticker

    def has_bar(self, session: int) -> bool:
        return self.first <= session <= self.last and session not in self.missing


@dataclass(frozen=True)
class Market:
    """A simulated market: T sessions, N stocks. Prices are raw, in 1/10000 dollar, and also exist where no bar does.

    sessions: T dates; month_ends: indices of the last session of each month; stocks: N companies, largest first;
    bars: (T, N, 5) open, high, low, close, volume; total_return: (T, N) closes with dividends reinvested and splits
    undone, in dollars of the first day; shares: (T, N) held by the index fund; fund, fund_hours (T, 7, 5): the index
    fund itself, by the hour; n_hours: (T,) hours of each session, later ones repeat the close with no volume;
    unweighted: (session, stock) pairs whose weight the constituent lists leave out.
    """

    sessions: tuple[date, ...]
    month_ends: Integers
    stocks: tuple[Stock, ...]
    bars: Integers
    total_return: Floats
    shares: Integers
    fund: Stock
    fund_hours: Integers
    n_hours: Integers
    unweighted: frozenset[tuple[int, int]]

    @property
    def fund_bars(self) -> Integers:
        """(T, 5) daily bars of the index fund, exactly what its hours add up to."""
        first, high, low, last, volume = np.moveaxis(self.fund_hours, 2, 0)
        return np.stack([first[:, 0], high.max(axis=1), low.min(axis=1), last[:, -1], volume.sum(axis=1)], axis=1)


def simulate(
    calendar: MarketCalendar, *, seed: int, n_stocks: int, years: tuple[int, int], signal: float = SIGNAL
) -> Market:
    """Draw a market of n_stocks companies (at least 12) over the sessions of years[0]..years[1] (at least two)."""
    children = np.random.SeedSequence(seed).spawn(len(_STREAMS))
    streams = {name: np.random.default_rng(child) for name, child in zip(_STREAMS, children, strict=True)}
    sessions = calendar.sessions(date(years[0], 1, 1), date(years[1], 12, 31))
    month = np.array(sessions, dtype="datetime64[M]").astype(np.int64)
    starts = np.flatnonzero(np.diff(month, prepend=month[0] - 1, append=month[-1] + 1))
    stocks, live, event = _lives(streams["lives"], streams["tickers"], starts, n_stocks)

    moves = _returns(streams, sessions, live, event, signal)
    bars, total_return = _quotes(streams, moves, starts, stocks)
    n_hours = np.array([HOURS if calendar.close(day).time() == CLOSE else 4 for day in sessions])

    draw = streams["companies"]
    size = (np.arange(n_stocks) + 5.0) ** -0.8 * np.exp(draw.normal(0, 0.1, n_stocks))
    undo_splits = np.ones(total_return.shape)
    for i, stock in enumerate(stocks):
        for day, factor in stock.splits.items():
            undo_splits[day:, i] /= factor
    close = bars[:, :, 3] / 1e4
    shares = np.rint(FUND_VALUE * size / size.sum() / close[0] * undo_splits).astype(np.int64)
    turnover = streams["volumes"].uniform(0.004, 0.012, n_stocks) * n_hours[:, None] / HOURS
    bars[:, :, 4] = 100 * np.rint(shares * turnover * _activity(streams["volumes"], moves))

    fund, fund_hours = _index_fund(streams["index"], stocks, shares * close, moves, starts, n_hours)
    month_ends = starts[1:] - 1
    unweighted = _blemishes(streams["files"], stocks, month_ends)
    return Market(
        sessions, month_ends, tuple(stocks), bars, total_return, shares, fund, fund_hours, n_hours, unweighted
    )


@dataclass(frozen=True)
class _Moves:
    """Log returns, (T, N): total and overnight (its part before the open); standard deviations of the moves within
    sessions, (T, N) spread and, for the market alone, (T,) market_spread."""

    total: Floats
    overnight: Floats
    spread: Floats
    market_spread: Floats


def _lives(
    draw: np.random.Generator, ticker_draw: np.random.Generator, starts: Integers, n: int
) -> tuple[list[Stock], Floats, Floats]:
    """Who is listed when, splits, renames, takeovers and failures, each happening to another company.

    starts: (M + 1,) first session of each month, and the number of sessions. The very largest are spared, so that no
    single event moves the index, and the smallest, so that most events happen to stocks that are held.
    Returns the stocks, and live and event of the module's formula, both (T, N).
    """
    n_sessions, n_months = int(starts[-1]), len(starts) - 1
    names = _tickers(ticker_draw)
    exchange = ticker_draw.choice(["N", "Q"], n)
    stocks = [
        Stock(next(names), str(exchange[i]), first=0, last=n_sessions - 1, joins=-1, leaves=n_sessions - 1)
        for i in range(n)
    ]
    live, event = np.ones((n_sessions, n)), np.zeros((n_sessions, n))
    cast = iter(draw.permutation(np.arange(n // 20, n - n // 8)).tolist())

    def some(of_120: int) -> int:
        return max(1, round(of_120 * n / 120))

    def months(low: float, high: float, count: int) -> list[int]:
        """Distinct months between two fractions of the period, at random."""
        chosen = draw.choice(np.arange(int(low * n_months), int(high * n_months)), count, replace=False)
        return [int(month) for month in chosen]

    def within(month: int, low: int = 5, high: int = 16) -> int:
        """A session of that month; all months have at least 19."""
        return int(starts[month] + draw.integers(low, high))

    # New listings: the index takes them in at the second month end.
    for month in months(0.1, 0.8, some(8)):
        stock = stocks[next(cast)]
        stock.first, stock.joins = within(month), int(starts[month + 2] - 1)

    # Delistings: two takeovers at a premium for every failure. One stock stays on the lists for one more month end, the
    # last of a quarter, where a strategy that looks quarterly meets it.
    quarter_ends = [m for m in range(int(0.4 * n_months), n_months - 2) if m % 3 == 2]
    late = int(draw.choice(quarter_ends))
    others = [m for m in months(0.4, 0.95, some(6)) if m != late]
    for k, month in enumerate([late, *others][: some(6)]):
        i = next(cast)
        last = within(month)
        stocks[i].last, stocks[i].delisted = last, True
        stocks[i].leaves = last if k else int(starts[month + 1] - 1)
        if k % 3 == 2:
            event[last - 60 : last + 1, i] = -0.015
        else:
            announced = last - int(draw.integers(25, 50))
            event[announced, i] = draw.uniform(0.15, 0.35)
            live[announced + 1 :, i] = 0.1

    for month in months(0.4, 0.95, some(2)):
        stocks[next(cast)].former = (next(names), within(month))

    # Splits fall late in a month, dividends early: one of each on one day would need one row of the factor file.
    factors = [5.0, *(1 / 2, 2 / 3, 1 / 2, 1 / 3, 1 / 2, 2 / 3, 1 / 2, 1 / 2)[: some(8)]]
    for month, factor in zip(months(0.3, 0.95, len(factors)), factors, strict=True):
        stocks[next(cast)].splits[within(month, 12, 18)] = factor
    return stocks, live, event


def _tickers(draw: np.random.Generator) -> Iterator[str]:
    """Endless five-letter names that can be spoken and look like no listed company: ZAVEK, QUMOR."""
    parts = ("QVXZ", "AEIOU", "LMRVZ", "AEIOU", "KLNR")
    seen = set()
    while True:
        name = "".join(part[draw.integers(len(part))] for part in parts)
        if name not in seen:
            seen.add(name)
            yield name


def _returns(
    streams: dict[str, np.random.Generator], sessions: tuple[date, ...], live: Floats, event: Floats, signal: float
) -> _Moves:
    """Log returns by the formula of the module."""
    n_sessions, n = live.shape
    market, volatility = _market_factor(streams["market"], sessions)
    draw = streams["companies"]
    beta = np.clip(draw.normal(1, 0.22, n), 0.4, 1.7)
    gamma = draw.uniform(0.6, 1.3, n)
    sector = np.arange(n) % _N_SECTORS
    sigma = np.clip(np.exp(draw.normal(np.log(0.25), 0.25, n)), 0.14, 0.5) / np.sqrt(_SESSIONS_A_YEAR)
    noisiness = np.sqrt(volatility / volatility.mean())[:, None]

    draw = streams["sectors"]
    sector_spread = SECTOR_VOLATILITY / np.sqrt(_SESSIONS_A_YEAR) * noisiness
    sectors = sector_spread * draw.standard_normal((n_sessions, _N_SECTORS))
    draw = streams["stocks"]
    noise_spread = sigma * noisiness
    noise = noise_spread * np.clip(draw.standard_t(5, (n_sessions, n)) / np.sqrt(5 / 3), -8, 8)

    market_early = _early_part(streams["market"], market, volatility)
    sectors_early = _early_part(streams["sectors"], sectors, sector_spread)
    noise_early = _early_part(streams["stocks"], noise, noise_spread)

    def together(m: Floats, f: Floats, e: Floats) -> Floats:
        return live * (m[:, None] * beta + f[:, sector] * gamma + e)

    drift = -0.5 * live * (noise_spread**2 + (gamma * sector_spread) ** 2)  # large noise earns no more than small
    total = together(market, sectors, noise) + event + drift
    overnight = together(market_early, sectors_early, noise_early) + event + OVERNIGHT * drift

    tilt = signal * live * noise_spread
    unit = np.sqrt((n**2 - 1) / 12)
    path = np.zeros((n_sessions + 1, n))
    for t in range(n_sessions):
        if t >= REVERSAL_SESSIONS:
            past = path[t] - path[t - REVERSAL_SESSIONS]
            score = ((n - 1) / 2 - past.argsort().argsort()) / unit
            total[t] += tilt[t] * score
            overnight[t] += OVERNIGHT * tilt[t] * score
        path[t + 1] = path[t] + total[t]

    variance = (volatility[:, None] * beta) ** 2 + (gamma * sector_spread) ** 2 + noise_spread**2
    spread = live * np.sqrt((1 - OVERNIGHT) * variance)
    return _Moves(total, overnight, spread, np.sqrt(1 - OVERNIGHT) * volatility)


def _quotes(
    streams: dict[str, np.random.Generator], moves: _Moves, starts: Integers, stocks: list[Stock]
) -> tuple[Integers, Floats]:
    """Bars of `Market`, still without volume, and total_return; gives the stocks their dividends."""
    n = len(stocks)
    draw = streams["companies"]
    price = np.clip(np.exp(draw.normal(np.log(50), 0.5, n)), 20, 120)
    payout = np.where(draw.random(n) < 0.7, draw.uniform(0.006, 0.04, n), 0) / 4
    for i, stock in enumerate(stocks):
        if stock.splits:  # a split brings the price nearer to where most are
            price[i] = 45 / np.prod(list(stock.splits.values())) ** 0.75

    total_return = price * np.exp(np.cumsum(moves.total, axis=0))
    opening = total_return * np.exp(moves.overnight - moves.total)
    high, low = _extremes(streams["ranges"], moves.total - moves.overnight, moves.spread)
    scale = np.ones(total_return.shape)
    for i, stock in enumerate(stocks):
        ex_days = _ex_days(streams["dividends"], starts, stock) if payout[i] else []
        scale[:, i], stock.dividends = _unadjust(total_return[:, i], ex_days, payout[i], stock.splits)
    prices = np.stack([opening, opening * np.exp(high), opening * np.exp(low), total_return], axis=2)
    cents = np.rint(100 * prices * scale[:, :, None]).astype(np.int64)
    return np.concatenate([100 * cents, np.zeros_like(cents[:, :, :1])], axis=2), total_return


def _market_factor(draw: np.random.Generator, sessions: tuple[date, ...]) -> tuple[Floats, Floats]:
    """(T,) log returns of the market and their (T,) conditional standard deviations.

    Calm and crash are moved apart to the means that the constants ask for: a seed draws the path, not whether there is
    a crash or what the market earns over the whole period.
    """
    n = len(sessions)
    shocks = np.clip(draw.standard_t(7, n) / np.sqrt(7 / 5), -6, 6)
    variance, volatility = 1.0, np.empty(n)
    for t in range(n):
        volatility[t] = np.sqrt(variance)
        square = variance * shocks[t] ** 2
        variance = 0.015 + (0.05 + 0.12 * (shocks[t] < 0)) * square + 0.875 * variance

    days = np.array(sessions)
    growth = np.log1p(MARKET_GROWTH) * n / _SESSIONS_A_YEAR
    calm, wanted = np.ones(n, dtype=bool), np.empty(n)
    phases = []
    for first, last, fall in CRASHES:
        crash = (first <= days) & (days <= last)
        if crash.any():
            phases.append(crash)
            wanted[crash] = fall / crash.sum()
            volatility[crash] *= 2
            calm &= ~crash
            growth -= fall
    phases.append(calm)
    wanted[calm] = growth / calm.sum()
    noise = volatility * shocks
    for phase in phases:
        noise[phase] -= noise[phase].mean()
    to_scale = MARKET_VOLATILITY / np.sqrt(_SESSIONS_A_YEAR) / noise.std()
    return wanted + noise * to_scale, volatility * to_scale


def _early_part(draw: np.random.Generator, move: Floats, spread: Floats) -> Floats:
    """The part of each day's move that happens overnight: a Brownian bridge at `OVERNIGHT` of the day."""
    noise: Floats = spread * draw.standard_normal(move.shape)
    return OVERNIGHT * move + math.sqrt(OVERNIGHT * (1 - OVERNIGHT)) * noise


def _extremes(draw: np.random.Generator, move: Floats, spread: Floats) -> tuple[Floats, Floats]:
    """Highest and lowest point, relative to the start, of Brownian bridges from 0 to move with that spread.

    By inversion of the law of a bridge's maximum, P(max > h) = exp(-2 h (h - move) / spread^2); the two are drawn
    independently.
    """
    reach = -2 * spread**2 * np.log(1 - draw.random((2, *move.shape)))
    high, low = np.sqrt(move**2 + reach)
    return (move + high) / 2, (move - low) / 2


def _ex_days(draw: np.random.Generator, starts: Integers, stock: Stock) -> list[int]:
    """Quarterly ex-days of one stock, from a month after its listing on."""
    months = np.arange(draw.integers(3), len(starts) - 1, 3)
    days = starts[months] + draw.integers(3, 11, len(months))
    return [int(day) for day in days if stock.first + 20 < day <= stock.last]


def _unadjust(
    total_return: Floats, ex_days: list[int], payout: float, splits: dict[int, float]
) -> tuple[Floats, dict[int, float]]:
    """What turns a (T,) total-return price into the raw one, (T,), and the dividends, in whole cents, by ex-day.

    LEAN multiplies the past by 1 - dividend / (close before), so the raw price falls by that at the ex-day.
    """
    scale, dividends = np.ones(len(total_return)), {}
    for day in sorted({*ex_days, *splits}):
        if day in splits:
            scale[day:] *= splits[day]
            continue
        reference = round(float(total_return[day - 1] * scale[day - 1]), 2)
        dividend = round(payout * reference, 2)
        if dividend:
            dividends[day] = dividend
            scale[day:] *= 1 - dividend / reference
    return scale, dividends


def _activity(draw: np.random.Generator, moves: _Moves) -> Floats:
    """(T, N) volume relative to a usual day: log-normal, persistent, and larger when the price moves."""
    shape = moves.total.shape
    level, shocks = np.zeros(shape[1]), draw.standard_normal(shape)
    activity = np.empty(shape)
    for t in range(shape[0]):
        level = 0.7 * level + 0.2 * shocks[t]
        activity[t] = level
    return np.exp(activity + 0.3 * np.clip(np.abs(moves.total) / moves.spread - 1, None, 6))


def _index_fund(
    draw: np.random.Generator, stocks: list[Stock], value: Floats, moves: _Moves, starts: Integers, n_hours: Integers
) -> tuple[Stock, Integers]:
    """The fund that holds the index, with quarterly dividends, and its hour bars.

    value: (T, N) of the companies. The index weighs those it holds by their value at the close before.
    """
    n_sessions = len(value)
    session = np.arange(n_sessions)[:, None]
    joins, last = (np.array([getattr(stock, name) for stock in stocks]) for name in ("joins", "last"))
    value = np.where((joins < session) & (session <= last), value[np.maximum(session[:, 0] - 1, 0)], 0)
    weight = value / value.sum(axis=1, keepdims=True)
    growth = (weight * np.exp(moves.total)).sum(axis=1)
    until_open = (weight * np.exp(moves.overnight)).sum(axis=1)
    premium = np.exp(draw.normal(0, 0.0002, (2, n_sessions)))
    closing = 145 * np.cumprod(growth) * premium[1]
    opening = 145 * np.cumprod(growth) / growth * until_open * premium[0]

    fund = Stock("SPY", "P", first=0, last=n_sessions - 1, joins=-1, leaves=n_sessions - 1)
    quarter_ends = starts[2:-1:3]
    scale, fund.dividends = _unadjust(closing, (quarter_ends + 13).tolist(), 0.0045, {})
    return fund, _hours(draw, opening, closing, scale, moves.market_spread, n_hours)


def _hours(
    draw: np.random.Generator, opening: Floats, closing: Floats, scale: Floats, spread: Floats, n_hours: Integers
) -> Integers:
    """Hour bars, (T, 7, 5): a Brownian bridge from open to close, livelier near both.

    opening, closing: (T,) total-return prices, scale: (T,) what makes them raw, spread: (T,) standard deviation of a
    session's log return. Hours after an early close repeat the close with no volume.
    """
    pace = np.where(np.arange(HOURS) < n_hours[:, None], [0.9, 1.2, 0.8, 0.7, 0.75, 1.0, 1.4], 0)
    pace /= pace.sum(axis=1, keepdims=True)
    move = np.log(closing / opening)
    step_spread = np.sqrt(pace) * spread[:, None]
    step = step_spread * draw.standard_normal(pace.shape)
    step += pace * (move - step.sum(axis=1))[:, None]
    high, low = _extremes(draw, step, step_spread)
    end = np.log(opening)[:, None] + np.cumsum(step, axis=1)
    start = end - step
    prices = np.exp(np.stack([start, start + high, start + low, end], axis=2)) * scale[:, None, None]
    cents = np.rint(100 * prices).astype(np.int64)

    busy = pace * np.exp(draw.normal(0, 0.2, pace.shape)) * (n_hours / HOURS)[:, None]
    lots = 1.5e6 * busy * np.exp(0.3 * (np.abs(move) / spread - 1))[:, None]
    hours: Integers = 100 * np.concatenate([cents, np.rint(lots).astype(np.int64)[:, :, None]], axis=2)
    return hours


def _blemishes(draw: np.random.Generator, stocks: list[Stock], month_ends: Integers) -> frozenset[tuple[int, int]]:
    """What real data has: sets missing bars of some stocks, and returns (month end, stock) pairs without a weight.

    No bar is missing beside a dividend or a split, whose reference price it would be, nor at the ends of a life.
    """
    few = max(2, len(stocks) // 10)
    for i in draw.choice(len(stocks), few, replace=False):
        stock = stocks[i]
        actions = {*stock.dividends, *stock.splits}
        edges = {stock.first, stock.last} | ({stock.former[1], stock.former[1] + 1} if stock.former else set())
        day = int(draw.integers(stock.first + 1, stock.last))
        if not edges & {day} and not actions & {day, day + 1}:
            stock.missing = frozenset({day})
    middle = np.arange(len(stocks) // 4, len(stocks) // 2)
    return frozenset(
        (int(draw.choice(month_ends[11:])), int(i)) for i in draw.choice(middle, max(1, few // 2), replace=False)
    )
