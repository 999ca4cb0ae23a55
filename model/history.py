"""What the loss of a month needs to know: of its market, and of the months before.

N stocks, M of them tradable, L sessions, F indicators.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.allocator import Decision, Market
from model.baselines import RULES, SESSIONS_OF_A_MONTH, complete_sessions, decoded, encoded
from model.objective import INITIAL_MOMENTS, Moments, moments_after
from settings import LearningSettings

# Minimum variance gives most stocks nothing. The logarithm of 0 would keep a stock at 0 for ever; this share of its
# equal weight, 1 % of the portfolio at most over all of them, lets scores of a few units bring it back.
PRIOR_FLOOR = 0.01


@lru_cache(maxsize=1)  # for the learners of an ensemble, and for `learn` after `decide`; a market never changes
def prior(market: Market, rule: str) -> NDArray[np.float64]:
    """(M,) weights that the rule gives to the tradable stocks, at least `PRIOR_FLOOR` / M each, over the largest.

    Raises what the rule raises.
    """
    weights = RULES[rule](market)[market.tradable]
    floored = np.maximum(weights, PRIOR_FLOOR / len(weights))
    relative: NDArray[np.float64] = floored / floored.max()
    return relative


@lru_cache(maxsize=1)
def covariance(market: Market) -> NDArray[np.float64]:
    """(M, M) covariance of a month's returns of the tradable stocks: of the daily ones, times 21, shrunk as by Ledoit
    and Wolf, Journal of Multivariate Analysis 88 (2004).

    It looks at the sessions in which all of them have a return. Raises ValueError where there are fewer than two.
    """
    returns = complete_sessions(market)
    if len(returns) < 2:
        raise ValueError(
            f"market of {market.instant}: there are {len(returns)} sessions in which all {market.tradable.sum()} "
            "tradable stocks have a return, and a covariance needs two: set variance_aversion = 0, or give more past"
        )
    from sklearn.covariance import ledoit_wolf  # type: ignore[import-untyped]

    shrunk: NDArray[np.float64] = ledoit_wolf(returns)[0] * SESSIONS_OF_A_MONTH
    return shrunk


@dataclass(frozen=True, eq=False)
class Month:
    """A month as the loss sees it.

    features: (M, L, F) float32.
    returns: (M,) simple fractions; 0 where a stock has none, which is to drop out.
    prior: (M,) positive, the largest 1.
    moments: (2,) of the rewards of the months before, see `objective.differential_sharpe`.
    covariance: (M, M) of the month's returns, or None where the loss has no variance term.
    drifted: (M,) weights before the month's orders, or None where the loss has no turnover term.
    """

    features: NDArray[np.float32]
    returns: NDArray[np.float64]
    prior: NDArray[np.float64]
    moments: NDArray[np.float64]
    covariance: NDArray[np.float64] | None
    drifted: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class History:
    """What is remembered of the months that have been learnt from: nothing that the settings do not ask for.

    months: the last ones, oldest first, at most `replay` of them. A hundred stocks with 21 sessions of 41 indicators
        take 344 KB a month, and 80 KB more where there is a variance term.
    drifted: stock -> the weight that it had at the end of the last month.
    moments: of the rewards so far, for the Sharpe ratio.
    """

    months: tuple[Month, ...] = ()
    drifted: Mapping[str, float] = field(default_factory=dict)
    moments: Moments = INITIAL_MOMENTS

    def month(self, market: Market, returns: NDArray[np.float64], rule: str, learning: LearningSettings) -> Month:
        """The month of a decision whose returns (N,) have become known. rule: of the prior."""
        tradable = market.tradable
        drifted = np.array([self.drifted.get(stock, 0.0) for stock in market.stocks])[tradable]
        return Month(
            features=market.features[tradable],
            returns=np.nan_to_num(returns[tradable], nan=0.0),
            prior=prior(market, rule),
            moments=np.array(self.moments),
            covariance=covariance(market) if learning.variance_aversion else None,
            drifted=drifted if learning.turnover_cost else None,
        )

    def after(self, month: Month, decision: Decision, learning: LearningSettings) -> "History":
        """The history with one month more. A stock without a return counts as one that stood still."""
        drifted: dict[str, float] = {}
        held = decision.weights[decision.market.tradable]
        reward = float(held @ month.returns)
        if learning.turnover_cost:
            names = np.array(decision.market.stocks, dtype=object)[decision.market.tradable]
            grown = held * (1 + month.returns) / (1 + reward)
            drifted = dict(zip(names, grown.tolist(), strict=True))
        moments = moments_after(reward, self.moments) if learning.reward == "sharpe" else INITIAL_MOMENTS
        months = (*self.months, month)[-learning.replay :] if learning.replay else ()
        return History(months, drifted, moments)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it by name; empty where nothing is remembered."""
        arrays: dict[str, NDArray[Any]] = {}
        if self.drifted:
            arrays["drifted/stocks"] = encoded(tuple(self.drifted))
            arrays["drifted/weights"] = np.array(list(self.drifted.values()))
        if self.moments != INITIAL_MOMENTS:
            arrays["moments"] = np.array(self.moments)
        for place, month in enumerate(self.months):
            known = {item.name: getattr(month, item.name) for item in fields(Month)}
            arrays |= {f"{place}/{name}": array.copy() for name, array in known.items() if array is not None}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], n_features: int) -> "History":
        """The history that `arrays` has come from. Raises ValueError for arrays of another kind or width."""
        n_months = len({name.partition("/")[0] for name in arrays if name.partition("/")[0].isdecimal()})
        try:
            months = tuple(
                Month(
                    features=arrays[f"{place}/features"],
                    returns=arrays[f"{place}/returns"],
                    prior=arrays[f"{place}/prior"],
                    moments=arrays[f"{place}/moments"],
                    covariance=arrays.get(f"{place}/covariance"),
                    drifted=arrays.get(f"{place}/drifted"),
                )
                for place in range(n_months)
            )
            drifted = {}
            if "drifted/stocks" in arrays:
                stocks, weights = decoded(arrays["drifted/stocks"]), arrays["drifted/weights"].tolist()
                drifted = dict(zip(stocks, weights, strict=True))
            mean, square = arrays.get("moments", np.array(INITIAL_MOMENTS)).tolist()
        except KeyError as error:
            raise ValueError(f"the state's history has no {error}: use an older one") from None
        for month in months:
            if month.features.ndim != 3 or month.features.shape[2] != n_features:
                raise ValueError(
                    f"the state's history has months of {month.features.shape} features, but the model was made for "
                    f"{n_features} indicators: use the n_indicators of the state"
                )
        return cls(months, drifted, (mean, square))
