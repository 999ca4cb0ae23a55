"""The whole way from bars to weights finds a planted signal, and only where there is one."""

import itertools
import shutil

import numpy as np
import pytest

from minilean.demo import write_demo_market
from model.checkpoint import unpack
from tests.bars import read_bars, rewrite_bars

SIGNAL_SESSIONS = 4
STOCKS, MONTHS = 24, 31
SETTINGS = {
    "start": "2009-06-01",
    "end": "2011-12-30",
    "n_stocks": STOCKS,
    "window": SIGNAL_SESSIONS,
    "n_indicators": 8,
}

# A correlation of fixed weights with N exchangeable returns has mean 0 and deviation 1 / sqrt(N - 1). The mean over the
# later half of the months lies within 5 of its own deviations of 0 unless there is something to find.
CHANCE = 5 / np.sqrt((STOCKS - 5) * (MONTHS // 2))


def months_of(folder):
    """Ticker -> {yyyymm: (first open, last close, its last sessions)}."""
    found = {}
    for ticker, rows in read_bars(folder).items():
        grouped = itertools.groupby(rows, key=lambda row: row[0][:6])
        months = {month: list(days) for month, days in grouped}
        found[ticker] = {
            month: (days[0][1], days[-1][4], [day[0] for day in days[-SIGNAL_SESSIONS:]])
            for month, days in months.items()
        }
    return found


def plant(folder, shuffled: bool) -> None:
    """Let the balance of power, (close - open) / (high - low), at the end of each month be the rank of the stock's
    return in the next month, or, shuffled, of the return in another month."""
    months = months_of(folder)
    calendar = sorted({month for of in months.values() for month in of})
    told = dict(itertools.pairwise(calendar))
    if shuffled:
        told = {month: calendar[(calendar.index(later) + 7) % len(calendar)] for month, later in told.items()}
    signal = {}
    for month, later in told.items():
        returns = {ticker: of[later][1] / of[later][0] for ticker, of in months.items() if later in of}
        for rank, ticker in enumerate(sorted(returns, key=returns.__getitem__)):
            for day in months[ticker].get(month, (0, 0, ()))[2]:
                signal[ticker, day] = 2 * rank / max(1, len(returns) - 1) - 1

    def change(ticker, day, bar):
        power = signal.get((ticker, day))
        if power is None or ticker == "spy":
            return bar
        close = bar[3]
        reach = close // 100
        return [close - round(0.9 * power * reach), close + reach, close - reach, close, bar[4]]

    rewrite_bars(folder, change)


@pytest.mark.slow
@pytest.mark.parametrize("allocator", ["t5", "linear"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_an_indicator_that_tells_next_months_return_is_found_and_lost_when_shuffled_in_time(
    shuffled, allocator, run_strategy, tmp_path
):
    folder = tmp_path / "oracle"
    write_demo_market(folder, n_stocks=STOCKS, signal=0.0)
    plant(folder, shuffled)
    run = run_strategy(folder, allocator=allocator, **SETTINGS)
    assert run.failure is None
    states = [unpack(content) for content in run.states]
    assert "BOP" in states[0].extra["selection"]["names"]
    earned = months_of(folder)
    correlations = []
    decisions = {state.decision.market.instant: state.decision for state in states if state.decision}
    for decision in decisions.values():
        month = f"{decision.market.instant:%Y%m}"
        of = [earned[name.split()[0].lower()].get(month) for name in decision.market.stocks]
        use = [i for i, found in enumerate(of) if found and decision.market.tradable[i]]
        returns = [of[i][1] / of[i][0] for i in use]
        correlations.append(np.corrcoef(decision.weights[use], returns)[0, 1])
    assert len(correlations) == MONTHS
    later = np.mean(correlations[MONTHS // 2 :])
    print(f"{allocator}, {'shuffled' if shuffled else 'oracle'}: {later:+.3f}, chance {CHANCE:.3f}")
    assert abs(later) < CHANCE if shuffled else later > CHANCE
    shutil.rmtree(folder)
