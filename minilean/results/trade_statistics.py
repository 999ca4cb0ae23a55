"""LEAN's statistics of closed trades, of any stretch of them: those of all rolling windows at once.

Decimals are emulated where LEAN has decimals and doubles are used where it has doubles, because both show in the
fourth place. The `EXACT` context has to be active.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minilean.decimals import ONE, ZERO, divide, fit, four_places, from_double
from minilean.orders import iso
from minilean.results.trades import Trade

_HUNDRED = Decimal(100)
_FOUR_PLACES = Decimal("0.0000")
_DAY = 86_400
_TICKS_PER_SECOND = 10_000_000
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1)
_MILLION = 1_000_000
_CENT = Decimal("0.01")
_CENTS = 2
"""Places of a cent."""

_SIDE_BY_SIDE = 24
"""So few running means are faster one by one than side by side."""

EMULATED = 20
"""Means of up to so many values are always emulated step by step: fewer digits than four may be left of them."""

PLACES = 4
"""The most that a statistic is written with."""

_CLOSE = 1e-13
"""Relative error that a quotient of doubles, or one that is cut to 15 digits, stays below by far."""


@lru_cache(maxsize=1024)
def time_span(ticks: int) -> str:
    """.NET's text of a duration in ticks of 100 ns: `[-][d.]hh:mm:ss[.fffffff]`."""
    sign = "-" if ticks < 0 else ""
    seconds, fraction = divmod(abs(ticks), _TICKS_PER_SECOND)
    days, seconds = divmod(seconds, _DAY)
    written = f"{sign}{days}." if days else sign
    written += f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{written}.{fraction:07d}" if fraction else written


class TradeTable:
    """Closed trades in columns, of which every window is a slice."""

    def __init__(self, trades: Sequence[Trade]):
        self.trades = trades
        self.profit = _Money.of([trade.profit_loss for trade in trades])
        self._mae = _Money.of([trade.mae for trade in trades])
        self._mfe = _Money.of([trade.mfe for trade in trades])
        self._end_drawdown = _Money.of([trade.end_trade_drawdown for trade in trades])
        self._gap = _Money(self.profit.cents - self._mfe.cents, self.profit.places)
        self._win = win = self.profit.cents > 0
        self._wins, self._losses = self.profit.chosen(win), self.profit.chosen(~win)
        self._wins_before = np.cumsum([False, *win.tolist()])
        self._closed = np.array(self.profit.sums, dtype=self.profit.cents.dtype)
        self._after_wins = np.where([False, *win.tolist()], self._closed, self._closed.min())
        self._highest = self._closed[:-1] + self._mfe.cents
        self._lowest = self._closed[:-1] + self._mae.cents

        self._entries = _microseconds([trade.entry_time for trade in trades])
        self._exits = _microseconds([trade.exit_time for trade in trades])
        self._opened = self._entries // _MILLION
        self.exits: list[int] = (self._exits // _MILLION).tolist()
        ticks = (self._exits - self._entries) * 10
        self._ticks = np.concatenate((ticks, ticks[win], ticks[~win]))
        self._fees = list(accumulate((trade.total_fees for trade in trades), initial=ZERO))
        self._fee_places = np.array([_places(trade.total_fees) for trade in trades], dtype=np.int64)

    def statistics(self, spans: Sequence[slice]) -> list[dict[str, str | int | None]]:
        """tradeStatistics of the trades of each span, in LEAN's fields and order."""
        bounds = np.array([(span.start, span.stop) for span in spans], dtype=np.int64).reshape(-1, 2)
        won = self._wins_before[bounds]
        lost = bounds - won
        columns = (self.profit, self._mae, self._mfe, self._gap, self._end_drawdown)
        amounts = [column.parts(bounds) for column in columns] + [self._wins.parts(won), self._losses.parts(lost)]
        n_trades, n_wins = len(self.trades), len(self._wins.cents)
        of_ticks = np.concatenate((bounds, won + n_trades, lost + n_trades + n_wins))
        means = _mean_durations(self._ticks, of_ticks)
        medians = [_median(self._ticks[first:after]) for first, after in of_ticks.tolist()]
        durations = np.array([*means, *medians]).reshape(6, -1).T.tolist()
        runs = zip(*(_longest_runs(flags, bounds).tolist() for flags in (self._win, ~self._win)), strict=True)
        return [
            self._row(span, parts, [time_span(ticks) for ticks in times], longest)
            if span.start < span.stop
            else dict(NO_TRADES)
            for span, parts, times, longest in zip(spans, zip(*amounts, strict=True), durations, runs, strict=True)
        ]

    def _row(
        self,
        span: slice,
        parts: Sequence["_Part"],
        durations: Sequence[str],
        longest_runs: tuple[int, int],
    ) -> dict[str, str | int | None]:
        """Statistics of the trades of one span, which are some, from what was counted of all spans at once."""
        profit, mae, mfe, gap, end_drawdown, wins, losses = parts
        first, after = span.start, span.stop
        # The difference of these means is a statistic too.
        emulated = profit.emulated() or mfe.emulated() or gap.emulated()
        mean_profit, mean_mfe = profit.mean(emulated=emulated), mfe.mean(emulated=emulated)
        deviation, downside = profit.deviation(), losses.deviation()
        closed, intra, longest = self._drawdowns(first, after)

        def sharpe(deviation: float) -> str:
            """The mean profit over that deviation."""
            if not deviation:
                return "0"
            value = profit.sum / len(profit) / 100 / deviation
            return _near(value, lambda: divide(mean_profit, from_double(deviation)))

        return {
            "startDateTime": iso(self.trades[first + int(self._opened[span].argmin())].entry_time),
            "endDateTime": iso(self.trades[after - 1].exit_time),
            "totalNumberOfTrades": len(profit),
            "numberOfWinningTrades": len(wins),
            "numberOfLosingTrades": len(losses),
            "totalProfitLoss": profit.total(),
            "totalProfit": wins.total(),
            "totalLoss": losses.total(),
            "largestProfit": profit.largest(),
            "largestLoss": profit.smallest(),
            "averageProfitLoss": four_places(mean_profit),
            "averageProfit": wins.average(),
            "averageLoss": losses.average(),
            **dict(zip(_DURATIONS, durations, strict=True)),
            "maxConsecutiveWinningTrades": longest_runs[0],
            "maxConsecutiveLosingTrades": longest_runs[1],
            "profitLossRatio": _ratio_of_means(wins, losses),
            "winLossRatio": _ratio(len(wins), len(losses)) if len(losses) else "10",
            "winRate": _ratio(len(wins), len(profit)),
            "lossRate": _ratio(len(losses), len(profit)),
            "averageMAE": mae.average(),
            "averageMFE": four_places(mean_mfe),
            "largestMAE": mae.smallest(),
            "largestMFE": mfe.largest(),
            "maximumClosedTradeDrawdown": _dollars(*closed),
            "maximumIntraTradeDrawdown": _dollars(*intra),
            "profitLossStandardDeviation": _near(deviation, lambda: from_double(deviation)),
            "profitLossDownsideDeviation": _near(downside, lambda: from_double(downside)),
            "profitFactor": _ratio_or_ten(wins.sum, -losses.sum, wins.places - losses.places),
            "sharpeRatio": sharpe(deviation),
            "sortinoRatio": sharpe(downside),
            "profitToMaxDrawdownRatio": _ratio_or_ten(profit.sum, -closed[0], profit.places - closed[1]),
            "maximumEndTradeDrawdown": end_drawdown.largest(),
            "averageEndTradeDrawdown": four_places(fit(mean_profit - mean_mfe)),
            "maximumDrawdownDuration": time_span(longest),
            "totalFees": four_places(self._total_fees(first, after)),
        }

    def _total_fees(self, first: int, after: int) -> Decimal:
        """Their sum, written with the places of the longest."""
        places = int(self._fee_places[first:after].max())
        return (self._fees[after] - self._fees[first]).quantize(ONE.scaleb(-places))

    def _drawdowns(self, first: int, after: int) -> tuple[tuple[int, int], tuple[int, int], int]:
        """Deepest fall of the closed profit from its peak, and with open trades at their worst, in cents and places.

        And the longest time under the peak, in ticks. The closed profit moves in the order of closing; its peak counts
        winning trades only and starts at zero.
        """
        start = self._closed[first]
        peaks = self._after_wins[first : after + 1].copy()
        peaks[0] = start
        np.maximum.accumulate(peaks, out=peaks)
        fall = np.where(self._win[first:after], 0, self._closed[first + 1 : after + 1] - peaks[1:])
        at = int(fall.argmin())
        closed = int(fall[at]), self.profit.finest(first, first + at + 1)

        highest = self._highest[first:after]
        high = np.maximum(np.maximum.accumulate(highest), start)
        worst = self._lowest[first:after] - high
        at = int(worst.argmin())
        places = max(self.profit.finest(first, first + at), int(self._mae.places[first + at]))
        if places < _CENTS:
            top = first + int(np.argmax(highest[: at + 1] == high[at]))
            if self._highest[top] == high[at]:
                places = max(places, self.profit.finest(first, top), int(self._mfe.places[top]))
        intra = int(worst[at]), places

        # Of every new peak, and of the start, the number of the next trade and the time.
        rising = np.flatnonzero(peaks[1:] > peaks[:-1])
        begins = np.empty(len(rising) + 1, dtype=np.int64)
        begins[0], begins[1:] = first, first + rising + 1
        times = self._exits[begins - 1]
        times[0] = self._entries[first]
        losses_before = begins - self._wins_before[begins]
        has_lost = losses_before[1:] > losses_before[:-1]
        longest = int((times[1:] - times[:-1])[has_lost].max(initial=0)) * 10
        return (closed if closed[0] < 0 else (0, 0)), (intra if intra[0] < 0 else (0, 0)), longest


class _Money:
    """A column of amounts: whole cents, the places each is written with, and sums of all that come before each."""

    def __init__(self, cents: NDArray[Any], places: NDArray[np.int64]):
        self.cents, self.places = cents, places
        self.sums: list[int] = [0, *accumulate(cents.tolist())]

    @classmethod
    def of(cls, amounts: Sequence[Decimal]) -> "_Money":
        cents = list(map(int, map(_HUNDRED.__mul__, amounts)))
        kind = np.int64 if sum(map(abs, cents)) < 2**60 else object
        places = np.full(len(amounts), _CENTS)
        for at in np.flatnonzero(~np.fromiter(map(_CENT.same_quantum, amounts), dtype=np.bool_)).tolist():
            places[at] = _places(amounts[at])
        return cls(np.array(cents, dtype=kind), places)

    @cached_property
    def squares(self) -> list[int]:
        """Sums of the squares of all amounts that come before each."""
        return list(accumulate((cents * cents for cents in self.cents.tolist()), initial=0))

    def chosen(self, mask: NDArray[np.bool_]) -> "_Money":
        return _Money(self.cents[mask], self.places[mask])

    def finest(self, first: int, after: int) -> int:
        """The most places of the amounts [first, after), zero of none; nothing has more than two."""
        if first < after and self.places[after - 1] == _CENTS:
            return _CENTS
        return int(self.places[first:after].max(initial=0))

    def parts(self, bounds: NDArray[np.int64]) -> list["_Part"]:
        """The amounts [first, after) of each row of (W, 2) bounds."""
        lowest, highest = (_reduce(ufunc, self.cents, bounds).tolist() for ufunc in (np.minimum, np.maximum))
        fewest, most = (_reduce(ufunc, self.places, bounds).tolist() for ufunc in (np.minimum, np.maximum))
        return [
            _Part(self, first, after, self.sums[after] - self.sums[first], *values)
            for (first, after), *values in zip(bounds.tolist(), lowest, highest, fewest, most, strict=True)
        ]


@dataclass(slots=True)
class _Part:
    """Some amounts of a column, one after the other; of none all numbers are zero.

    sum, lowest, highest: cents. fewest_places, places: the fewest and the most places that an amount is written with.
    """

    column: _Money
    first: int
    after: int
    sum: int
    lowest: int
    highest: int
    fewest_places: int
    places: int

    def __len__(self) -> int:
        return self.after - self.first

    def total(self) -> str:
        return _dollars(self.sum, self.places)

    def largest(self) -> str:
        """The first of the largest amounts if that is positive, else a zero that was never set."""
        return self._first_of(self.highest) if self.highest > 0 else "0"

    def smallest(self) -> str:
        return self._first_of(self.lowest) if self.lowest < 0 else "0"

    def _first_of(self, cents: int) -> str:
        places = self.places
        if self.fewest_places < places:
            at = self.first + int(np.argmax(self.column.cents[self.first : self.after] == cents))
            places = int(self.column.places[at])
        return _dollars(cents, places)

    def emulated(self) -> bool:
        """Whether the running mean, rounded to four places, may hang on how .NET rounds on the way.

        It does where the true mean lies in the middle of two such numbers, the way's errors being of the order of
        1e-24; and the scale does where the way is short or has no quotient in it.
        """
        if len(self) <= EMULATED or self.lowest == self.highest:
            return True
        middle, rest = divmod(self.sum * 1000, len(self))
        return not rest and middle % 10 == 5

    def mean(self, *, emulated: bool) -> Decimal:
        """LEAN's running mean, a += (x - a) / n, in its decimals or, with four places at least, exact."""
        if not emulated:
            return divide(Decimal(self.sum), Decimal(100 * len(self))) + _FOUR_PLACES
        mean = ZERO
        cents = self.column.cents[self.first : self.after].tolist()
        places = self.column.places[self.first : self.after].tolist()
        for n, amount in enumerate(map(_amount, cents, places), 1):
            mean = fit(mean + divide(fit(amount - mean), Decimal(n)))
        return mean

    def average(self) -> str:
        """Text of the mean."""
        return four_places(self.mean(emulated=True)) if self.emulated() else _ratio(self.sum, 100 * len(self), PLACES)

    def deviation(self) -> float:
        """Sample standard deviation in dollars; a double in LEAN too."""
        count, total = len(self), self.sum
        if self.lowest == self.highest:
            return 0.0
        squares = self.column.squares[self.after] - self.column.squares[self.first]
        return math.sqrt((count * squares - total * total) / (count * (count - 1))) / 100


def _reduce(ufunc: np.ufunc, column: NDArray[Any], bounds: NDArray[np.int64]) -> NDArray[Any]:
    """(W,) lowest or highest of column[first:after] for each row of (W, 2) bounds; zero where that is empty."""
    filled = bounds[:, 0] < bounds[:, 1]
    found = np.zeros(len(bounds), dtype=column.dtype)
    found[filled] = ufunc.reduceat(np.append(column, column[-1:]), bounds[filled].ravel())[::2]
    return found


def _places(x: Decimal) -> int:
    return -int(x.as_tuple().exponent)


def _microseconds(times: Sequence[datetime]) -> NDArray[np.int64]:
    """Since 1970; there are fewer moments than times."""
    moments = {time: (time - _EPOCH) // _MICROSECOND for time in set(times)}
    return np.array([moments[time] for time in times], dtype=np.int64)


def _amount(cents: int, places: int) -> Decimal:
    """Cents as dollars, written with that many places."""
    return Decimal(cents // 10 ** (_CENTS - places)).scaleb(-places)


def _mean_durations(ticks: NDArray[np.int64], bounds: NDArray[np.int64]) -> list[int]:
    """Running mean in seconds of ticks[first:after] for each row of (W, 2) bounds, cut to ticks of 100 ns at every
    step, as LEAN's is: many of them side by side, the last few one by one.
    """
    seconds, a_second = ticks / _TICKS_PER_SECOND, float(_TICKS_PER_SECOND)
    counts = bounds[:, 1] - bounds[:, 0]
    longest_first = np.argsort(-counts, kind="stable")
    first, counts = bounds[longest_first, 0], counts[longest_first]
    means = np.zeros(len(counts))  # whole numbers of ticks, which doubles hold
    steps = int(counts[_SIDE_BY_SIDE]) if len(counts) > _SIDE_BY_SIDE else 0
    lanes = np.searchsorted(-counts, -np.arange(steps)).tolist()  # how many have more values than those steps
    for n, width in enumerate(lanes):
        mean = means[:width]
        mean += np.trunc((seconds[first[:width] + n] - mean / a_second) / (n + 1) * a_second)
    for at in range(min(_SIDE_BY_SIDE, len(counts))):
        begin, count, single = int(first[at]), int(counts[at]), float(means[at])
        for n, value in enumerate(seconds[begin + steps : begin + count].tolist(), steps + 1):
            single += int((value - single / a_second) / n * a_second)
        means[at] = single
    found: list[int] = means[np.argsort(longest_first)].astype(np.int64).tolist()
    return found


def _median(ticks: NDArray[np.int64]) -> int:
    """The middle value, of two the upper one."""
    return int(np.partition(ticks, len(ticks) // 2)[len(ticks) // 2]) if len(ticks) else 0


def _longest_runs(flags: NDArray[np.bool_], bounds: NDArray[np.int64]) -> NDArray[np.int64]:
    """The most flags one after the other within each row of (W, 2) bounds."""
    count = len(flags)
    at = np.arange(count + 1)
    unset = np.append(~flags, True)
    streaks = at - np.maximum.accumulate(np.where(unset, at, -1))
    run_ends = np.minimum.accumulate(np.where(unset, at, count)[::-1])[::-1]
    first, after = bounds.T
    cut = np.minimum(run_ends[first], after)  # the first run may have begun before
    return np.maximum(cut - first, _reduce(np.maximum, streaks, np.stack((cut, after), axis=1)))


def _dollars(cents: int, places: int) -> str:
    """Text of an amount with at most two places."""
    written = f"{abs(cents):0{_CENTS + 1}d}"
    part = written[-_CENTS:][:places]
    return f"{'-' if cents < 0 else ''}{written[:-_CENTS]}{'.' if part else ''}{part}"


def _ratio(a: int, b: int, places: int = 0) -> str:
    """Text of a / b, b > 0, to four places, ties to even; an exact one has as many places as it needs, or those."""
    digits, rest = divmod(abs(a) * 10**PLACES, b)
    if rest:
        digits += 2 * rest > b or (2 * rest == b and digits % 2)
        places = PLACES
    written = f"{digits:0{PLACES + 1}d}"
    part = written[-PLACES:].rstrip("0").ljust(places, "0")
    return f"{'-' if a < 0 < digits else ''}{written[:-PLACES]}{'.' if part else ''}{part}"


def _ratio_or_ten(gain: int, loss: int, places: int) -> str:
    """Text of gain / loss; where nothing was lost LEAN says ten, or zero if nothing was gained either."""
    if loss:
        return _ratio(gain, loss, max(0, places))
    return "10" if gain > 0 else "0"


def _near(value: float, exact: Callable[[], Decimal]) -> str:
    """Text to four places of the number that a double is next to; where that may not tell the last, exact gives it."""
    half = 2 * 10**PLACES * value
    if abs(half - round(half)) > _CLOSE * max(1.0, abs(half)):
        return f"{value:z.4f}"
    return four_places(exact())


def _ratio_of_means(gain: _Part, loss: _Part) -> str:
    """Text of the mean of gains over that of losses, zero where nothing was lost."""
    if not loss.sum:
        return "0"
    value = gain.sum * len(loss) / (max(1, len(gain)) * -loss.sum)
    means = (part.mean(emulated=part.emulated()) for part in (gain, loss))
    return _near(value, lambda: divide(next(means), -next(means)))


_DURATIONS = (
    "averageTradeDuration",
    "averageWinningTradeDuration",
    "averageLosingTradeDuration",
    "medianTradeDuration",
    "medianWinningTradeDuration",
    "medianLosingTradeDuration",
)
NO_TRADES: dict[str, str | int | None] = {  # tradeStatistics where nothing was closed
    "startDateTime": None,
    "endDateTime": None,
    **dict.fromkeys(("totalNumberOfTrades", "numberOfWinningTrades", "numberOfLosingTrades"), 0),
    **dict.fromkeys(
        (
            "totalProfitLoss",
            "totalProfit",
            "totalLoss",
            "largestProfit",
            "largestLoss",
            "averageProfitLoss",
            "averageProfit",
            "averageLoss",
        ),
        "0",
    ),
    **dict.fromkeys(_DURATIONS, "00:00:00"),
    **dict.fromkeys(("maxConsecutiveWinningTrades", "maxConsecutiveLosingTrades"), 0),
    **dict.fromkeys(
        (
            "profitLossRatio",
            "winLossRatio",
            "winRate",
            "lossRate",
            "averageMAE",
            "averageMFE",
            "largestMAE",
            "largestMFE",
            "maximumClosedTradeDrawdown",
            "maximumIntraTradeDrawdown",
            "profitLossStandardDeviation",
            "profitLossDownsideDeviation",
            "profitFactor",
            "sharpeRatio",
            "sortinoRatio",
            "profitToMaxDrawdownRatio",
            "maximumEndTradeDrawdown",
            "averageEndTradeDrawdown",
        ),
        "0",
    ),
    "maximumDrawdownDuration": "00:00:00",
    "totalFees": "0",
}
