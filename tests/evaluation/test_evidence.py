"""The ladder's tests, asked whether a learner learns: yes where an indicator tells the next return, no elsewhere."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from evaluation.ladder import EQUAL
from evaluation.significance import LEVEL, Annualisation, compare, superior_ability
from model import Market, make_allocator
from settings import Settings

STOCKS, SESSIONS, INDICATORS, MONTHS = 30, 2, 6, 72
COPIES = 100
MONTHLY = Annualisation(rate=0.0, samples=12, days=12)

# Of 100 independent markets without a signal, each found "distinct" with a probability of at most 5 %, more than this
# many are found once in a thousand times.
BOUND = int(stats.binom.ppf(0.999, COPIES, 1 - LEVEL))


def earned(seed: int, shuffled: bool) -> pd.DataFrame:
    """Monthly returns of the online linear softmax and of equal weights on an invented market, where one indicator is
    the rank of the stock's return in the month to come, half of it noise; shuffled in time, in some other month."""
    rng = np.random.default_rng(seed)
    returns = 0.008 + 0.04 * rng.standard_normal((MONTHS, 1)) + 0.06 * rng.standard_normal((MONTHS, STOCKS))
    ranks = returns.argsort(axis=1).argsort(axis=1) / (STOCKS - 1) * 2 - 1
    signal = (ranks + rng.uniform(-1, 1, ranks.shape)) / 2
    features = rng.uniform(-1, 1, (MONTHS, STOCKS, SESSIONS, INDICATORS))
    features[..., 2] = (rng.permutation(signal) if shuffled else signal)[:, :, None]
    learner = make_allocator(Settings.from_parameters({"allocator": "linear"}), n_features=INDICATORS)
    names, own = tuple(f"S{i}" for i in range(STOCKS)), []
    for month in range(MONTHS):
        instant = datetime(2010, 1, 4) + timedelta(days=31 * month)
        weights = learner.decide(Market(instant, names, features[month], np.ones(STOCKS, dtype=bool)))
        own.append(float(weights @ returns[month]))
        learner.learn(returns[month])
    return pd.DataFrame({"linear softmax": own, EQUAL: returns.mean(axis=1)})


@pytest.mark.slow
def test_a_planted_signal_is_told_from_equal_weights():
    months = earned(seed=0, shuffled=False)
    learner = months[["linear softmax"]]
    (comparison,) = compare(learner, months[EQUAL], MONTHLY, seed=1)
    assert comparison.sharpe.distinct and comparison.sharpe.low > 0
    assert comparison.annual_return.distinct and comparison.annual_return.low > 0
    assert all(test.p <= 1 - LEVEL for test in superior_ability(learner, months[EQUAL], MONTHLY, seed=1))


@pytest.mark.slow
def test_the_signal_shuffled_in_time_is_found_no_more_often_than_the_level_allows():
    found = {"sharpe": 0, "annual_return": 0}
    for seed in range(COPIES):
        months = earned(seed=seed, shuffled=True)
        (comparison,) = compare(months[["linear softmax"]], months[EQUAL], MONTHLY, seed=1)
        for measure in found:
            found[measure] += getattr(comparison, measure).distinct
    print(f"of {COPIES} shuffled markets found: {found}, bound {BOUND}")
    assert max(found.values()) <= BOUND
