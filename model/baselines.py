"""What a learner has to beat: portfolio rules, and two online learners that look at returns alone. No torch.

A rule maps a `Market` to weights (N,): at least 0, 0 where a stock is not tradable, sum 1. Rules serve as allocators
and as the learner's `prior`. Axes: N stocks, M of them tradable, T past sessions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from model.allocator import Decision, Market, NoOpenDecisionError, State, StepReport, entropy

Floats = NDArray[np.float64]

SESSIONS_OF_A_MONTH = 21
WINNERS = 0.3  # the share of stocks that momentum holds: the usual top 30 %, for example of Fama and French's UMD


def equal(market: Market) -> Floats:
    """The same weight for every tradable stock, which is hard to beat out of sample: DeMiguel, Garlappi and Uppal,
    Review of Financial Studies 22 (2009)."""
    return _normalised(market.tradable.astype(np.float64))


def cap(market: Market) -> Floats:
    """The ETF's own weights, over the tradable stocks whose weight is known.

    Raises ValueError where none is.
    """
    known = market.tradable & (market.caps > 0)  # NaN is not
    if not known.any():
        raise ValueError(
            f"market of {market.instant}: no tradable stock has a weight in the ETF: choose another allocator or prior"
        )
    return _normalised(np.where(known, market.caps, 0.0))


def inverse_volatility(market: Market) -> Floats:
    """Weights in proportion to 1 / standard deviation of the past daily returns: risk parity for stocks of equal
    correlation (Maillard, Roncalli and Teiletche, Journal of Portfolio Management 36, 2010).

    A stock whose price never moved has no weight; equal weights where no stock's has.
    """
    scores = np.zeros(len(market.stocks))
    for row in np.flatnonzero(market.tradable):
        returns = market.past[row][np.isfinite(market.past[row])]
        volatility = returns.std(ddof=1) if len(returns) > 1 else 0.0
        scores[row] = 1 / volatility if volatility > 0 else 0.0
    return _normalised(scores) if scores.any() else equal(market)


def minimum_variance(market: Market) -> Floats:
    """The long-only portfolio of least variance, by skfolio, on a covariance shrunk as by Ledoit and Wolf, Journal of
    Multivariate Analysis 88 (2004).

    It looks at the sessions in which all tradable stocks have a return; equal weights where there are fewer than two.
    """
    returns = complete_sessions(market)
    if len(returns) < 2 or not returns.any():
        return equal(market)
    from skfolio.moments import LedoitWolf
    from skfolio.optimization import MeanRisk
    from skfolio.prior import EmpiricalPrior

    model = MeanRisk(prior_estimator=EmpiricalPrior(covariance_estimator=LedoitWolf()))
    weights = np.zeros(len(market.stocks))
    in_percent = 100 * returns  # the solver's tolerances are absolute
    weights[market.tradable] = model.fit(in_percent).weights_.clip(0.0)
    return _normalised(weights)


def momentum(market: Market) -> Floats:
    """Equal weights on the 30 % of stocks with the largest return over the past year less its last month: Jegadeesh and
    Titman, Journal of Finance 48 (1993); 12-1 as in Fama and French's UMD.

    A stock without all of these returns is not ranked; equal weights where none is.
    """
    formation = market.past[:, :-SESSIONS_OF_A_MONTH]
    ranked = np.flatnonzero(market.tradable & np.isfinite(formation).all(axis=1))
    if not len(ranked) or not formation.size:
        return equal(market)
    growth = np.log1p(formation[ranked]).sum(axis=1)
    best_first = ranked[np.argsort(-growth, kind="stable")]
    scores = np.zeros(len(market.stocks))
    scores[best_first[: max(1, round(WINNERS * len(ranked)))]] = 1.0
    return _normalised(scores)


RULES: dict[str, Callable[[Market], Floats]] = {
    rule.__name__: rule for rule in (equal, cap, inverse_volatility, minimum_variance, momentum)
}
"""The rules by their name in the settings `allocator` and `prior`."""


def complete_sessions(market: Market) -> Floats:
    """(T', M) past returns of the tradable stocks, in the sessions in which all of them have one."""
    returns = market.past[market.tradable].T
    complete: Floats = returns[np.isfinite(returns).all(axis=1)]
    return complete


class Method(Protocol):
    """What differs between the allocators below: weights from a market, and what is kept of a month's returns."""

    def weights(self, market: Market) -> Floats: ...

    def update(self, stocks: tuple[str, ...], weights: Floats, relatives: Floats) -> None:
        """Learn from M stocks' weights and price relatives, one plus their returns."""

    def arrays(self) -> dict[str, NDArray[Any]]: ...

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None: ...


class Baseline:
    """A rule, EG or ONS as an `Allocator`. Its loss is the reward's negative: there is nothing else it minimises."""

    def __init__(self, method: Method) -> None:
        self._method = method
        self._decision: Decision | None = None
        self._step = 0

    def __str__(self) -> str:
        return f"{self._method}: no model"

    def decide(self, market: Market) -> Floats:
        """See `Allocator.decide`."""
        weights = self._method.weights(market)
        self._decision = Decision(market, weights.copy())
        return weights

    def learn(self, returns: Floats) -> StepReport:
        """See `Allocator.learn`. A stock without a return counts as one that stood still."""
        decision = self._decision
        if decision is None:
            raise NoOpenDecisionError
        market, weights = decision.market, decision.weights
        returns = np.asarray(returns, dtype=np.float64)
        if returns.shape != weights.shape or np.isinf(returns).any():
            raise ValueError(f"learn: {len(weights)} finite returns are needed, NaN where a stock has none")
        earned = np.nan_to_num(returns, nan=0.0)
        rows = np.flatnonzero(market.tradable)
        self._method.update(tuple(market.stocks[row] for row in rows), weights[rows], 1 + earned[rows])
        self._decision = None
        self._step += 1
        reward = float(weights @ earned)
        spread = entropy(weights)
        return StepReport(
            step=self._step,
            loss=-reward,
            reward=reward,
            concentration=float(np.log(len(rows))) - spread,
            effective_names=float(np.exp(spread)),
            gradient_norm=0.0,
            drift=0.0,
            fallbacks=0,
        )

    def state(self) -> State:
        """See `Allocator.state`."""
        return State(self._method.arrays(), self._step, self._decision)

    def restore(self, state: State) -> None:
        """See `Allocator.restore`."""
        own = self._method.arrays().keys()
        if own != state.arrays.keys():
            raise ValueError(f"the state holds {sorted(state.arrays)}, not {sorted(own)}: it is another allocator's")
        self._method.load(state.arrays)
        self._step, self._decision = state.step, state.decision


@dataclass(frozen=True)
class Fixed:
    """A rule, which learns nothing."""

    name: str

    def __str__(self) -> str:
        return self.name

    def weights(self, market: Market) -> Floats:
        return RULES[self.name](market)

    def update(self, stocks: tuple[str, ...], weights: Floats, relatives: Floats) -> None:
        pass

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        pass


@dataclass
class ExponentiatedGradient:
    """EG of Helmbold, Schapire, Singer and Warmuth, Mathematical Finance 8 (1998), with their learning rate:

        w_i <- w_i exp(rate * x_i / w.x) / sum

    A stock that comes in starts at 1 / M, the others share the rest as they did; one that leaves is forgotten.
    """

    rate: float = 0.05
    _stocks: tuple[str, ...] = ()
    _weights: Floats = field(default_factory=lambda: np.empty(0))

    def __str__(self) -> str:
        return "exponentiated gradient"

    def weights(self, market: Market) -> Floats:
        known = dict(zip(self._stocks, self._weights, strict=True))
        new = market.tradable & [stock not in known for stock in market.stocks]
        held = np.where(market.tradable, [known.get(stock, 0.0) for stock in market.stocks], 0.0)
        if held.any():
            held *= (1 - new.sum() / market.tradable.sum()) / held.sum()
        held[new] = 1 / market.tradable.sum()
        return _normalised(held)

    def update(self, stocks: tuple[str, ...], weights: Floats, relatives: Floats) -> None:
        self._stocks = stocks
        self._weights = _normalised(weights * np.exp(self.rate * relatives / (weights @ relatives)))

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"stocks": encoded(self._stocks), "weights": self._weights.copy()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._stocks, self._weights = decoded(arrays["stocks"]), np.array(arrays["weights"])


@dataclass
class OnlineNewtonStep:
    """ONS of Agarwal, Hazan, Kale and Schapire, ICML 2006, with the constants of their experiments: eta 0, beta 1,
    delta 1/8.

        g = x / w.x,  A = I + sum of g g',  b = (1 + 1 / beta) sum of g
        w <- the point of the simplex that is nearest to delta A^-1 b in the norm of A

    A stock that comes in is taken to have earned what the portfolio earned, g = 1, in every month before; one that
    leaves is forgotten.
    """

    beta: float = 1.0
    delta: float = 0.125
    _stocks: tuple[str, ...] = ()
    _a: Floats = field(default_factory=lambda: np.empty((0, 0)))  # (M, M)
    _sum: Floats = field(default_factory=lambda: np.empty(0))  # (M,) sum of g
    _months: int = 0

    def __str__(self) -> str:
        return "online Newton step"

    def weights(self, market: Market) -> Floats:
        self._enter(tuple(s for s, t in zip(market.stocks, market.tradable, strict=True) if t))
        target = self.delta * (1 + 1 / self.beta) * np.linalg.solve(self._a, self._sum)
        weights = np.zeros(len(market.stocks))
        weights[market.tradable] = _nearest(target, self._a)
        return weights

    def update(self, stocks: tuple[str, ...], weights: Floats, relatives: Floats) -> None:
        self._enter(stocks)
        gradient = relatives / (weights @ relatives)
        self._a = self._a + np.outer(gradient, gradient)
        self._sum = self._sum + gradient
        self._months += 1

    def _enter(self, stocks: tuple[str, ...]) -> None:
        """Arrange A and the sum of g for these stocks. In a month of g = 1 an entry of g g' is the other stock's g, so
        that a newcomer's column is the sum of g itself."""
        place = {stock: row for row, stock in enumerate(self._stocks)}
        new = np.array([stock not in place for stock in stocks], dtype=bool)
        old = np.array([place[stock] for stock in stocks if stock in place], dtype=int)
        total = np.full(len(stocks), float(self._months))
        total[~new] = self._sum[old]
        a = np.diag(new.astype(np.float64)) + np.where(new[:, None], total[None, :], total[:, None])
        a[np.ix_(~new, ~new)] = self._a[np.ix_(old, old)]
        self._stocks, self._a, self._sum = stocks, a, total

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "stocks": encoded(self._stocks),
            "a": self._a.copy(),
            "sum": self._sum.copy(),
            "months": np.array([self._months]),
        }

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._stocks = decoded(arrays["stocks"])
        self._a, self._sum = np.array(arrays["a"]), np.array(arrays["sum"])
        self._months = int(arrays["months"][0])


def _normalised(scores: Floats) -> Floats:
    weights: Floats = scores / scores.sum()
    return weights


def _nearest(target: Floats, a: Floats) -> Floats:
    """The point w of the simplex that minimises (w - target)' A (w - target)."""
    import cvxpy as cp

    weights = cp.Variable(len(target), nonneg=True)
    root = np.linalg.cholesky(a).T
    cp.Problem(cp.Minimize(cp.sum_squares(root @ (weights - target))), [cp.sum(weights) == 1]).solve(solver=cp.CLARABEL)
    return _normalised(weights.value.clip(0.0))


def encoded(stocks: tuple[str, ...]) -> NDArray[np.uint8]:
    """Identifiers as bytes: a state holds arrays of numbers only."""
    return np.frombuffer("\n".join(stocks).encode(), dtype=np.uint8).copy()


def decoded(text: NDArray[np.uint8]) -> tuple[str, ...]:
    return tuple(text.tobytes().decode().split("\n")) if text.size else ()
