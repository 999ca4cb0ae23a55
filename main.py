# region imports
from AlgorithmImports import *
# endregion
from dataclasses import replace

import numpy as np

from indicators import Bars, Selection, compute, required_bars, scale, select
from model import make_allocator
from model.allocator import Market as MonthMarket
from model.allocator import StepReport
from model.checkpoint import pack, unpack
from settings import Settings

STATE_KEY = "online-portfolio/state"
# LEAN counts back in whole days from the last close, so that after an early close fewer sessions come than are asked
# for, down to five for six: requests are generous, and what is not needed is not looked at.
SESSIONS_OF_A_MONTH = 35
PAST_SESSIONS = 252  # of daily returns that the model and the rules see: a year


class OnlinePortfolio(QCAlgorithm):
    """An online-learning portfolio of the largest SPY constituents.

    A month, in order: `_select` refreshes the universe with the first data of each quarter; `_month_start`, 30 minutes
    before the first open, computes indicators, lets the model decide and orders at the open; `_month_end`, one minute
    after the last close, realises the returns and lets the model take one step.

    Source: Engel, Xerri, Gannon, "Training LLMs for Portfolio Optimization with Parameter-Efficient Online Learning"
    (SQA Alphathon 2024). Every number that could be chosen differently is a setting; see config.json and settings.py.
    """

    def initialize(self):
        settings = Settings.from_parameters(dict(self.get_parameters()))
        self._options = settings
        run = settings.run
        self.set_start_date(run.start.year, run.start.month, run.start.day)
        self.set_end_date(run.end.year, run.end.month, run.end.day)
        self.set_cash(run.cash)
        # Without these LEAN would skip stocks that were selected today, and drop most changes of a 1 % position.
        self.settings.seed_initial_prices = True
        self.settings.minimum_order_margin_portfolio_percentage = 0
        self.universe_settings.resolution = Resolution.DAILY

        self._etf = self.add_equity(settings.universe.etf, Resolution.DAILY).symbol
        self.set_benchmark(self._etf)
        self.add_universe(self.universe.etf(self._etf, self.universe_settings, self._select))
        self.schedule.on(
            self.date_rules.month_start(self._etf),
            self.time_rules.before_market_open(self._etf, 30),
            self._month_start,
        )
        self.schedule.on(
            self.date_rules.month_end(self._etf),
            self.time_rules.after_market_close(self._etf, 1),
            self._month_end,
        )
        self._quarter = None  # (year, 0..3) that the chosen stocks belong to
        self._chosen = {}  # stock -> weight in the ETF
        self._selection = None  # frozen with the first decision
        self._allocator = None
        self._open = []  # the stocks of the decision that is not learnt from yet
        self._month = None  # (year, month) of that decision
        self._turnover, self._left_out = 0.0, 0
        self._decisions = self._steps = 0
        self._restored = None
        if self.live_mode:
            self._resume()

    # --- universe

    def _select(self, constituents):
        """The largest constituents by weight, chosen anew with the first data of a quarter.

        The quarter is that of the next session: data that arrives in a month's last, long weekend is already the new
        quarter's.
        """
        opening = self.securities[self._etf].exchange.hours.get_next_market_open(self.time, False)
        quarter = (opening.year, (opening.month - 1) // 3)
        if quarter == self._quarter and self._chosen:
            return Universe.UNCHANGED
        weighted = [row for row in constituents if row.weight]
        if not weighted:
            return Universe.UNCHANGED
        weighted.sort(key=lambda row: (-row.weight, str(row.symbol.id)))
        self._quarter = quarter
        self._chosen = {row.symbol: float(row.weight) for row in weighted[: self._options.universe.n_stocks]}
        return list(self._chosen)

    # --- month start: decide

    def _month_start(self):
        if self._open:
            self._learn()  # the last month's bars were late: learning comes before the next decision
        stocks = [
            s
            for s in self._chosen
            if s in self.securities and self.securities[s].is_tradable and self.securities[s].price > 0
        ]
        history = self.history(stocks, required_bars(self._options.indicators.window) * 5 // 4, Resolution.DAILY)
        bars = Bars.from_history(history, stocks)
        panel = self._panel(bars)
        usable = int(panel.usable.sum())
        if usable < self._options.universe.min_stocks:
            self._hold(panel, usable)
            return
        features = scale(panel.values, panel.usable, self._options.indicators.scaling)
        closes = bars.close[:, -PAST_SESSIONS - 1 :]
        market = MonthMarket(
            self.time,
            tuple(str(s.id) for s in stocks),
            features,
            panel.usable,
            caps=np.array([self._chosen[s] for s in stocks]),
            past=closes[:, 1:] / closes[:, :-1] - 1,
        )
        weights = self._ready_allocator().decide(market)
        self._check(weights, panel.usable)
        self._turnover = self._turnover_to(stocks, weights)
        targets = [PortfolioTarget(s, float(w)) for s, w in zip(stocks, weights, strict=True) if w > 0]
        self.set_holdings(targets, True)
        self._open, self._month = stocks, (self.time.year, self.time.month)
        self._decisions += 1
        self._left_out = len(self._chosen) - usable
        self._save()

    def _hold(self, panel, usable):
        """Sit a month out, and say why."""
        if not self._chosen:
            why = f"no constituents of {self._etf.value} have arrived yet"
        else:
            why = (
                f"{usable} of {len(self._chosen)} stocks can be used, fewer than min_stocks = "
                f"{self._options.universe.min_stocks}"
            )
            if panel.reasons:
                why += f" (the first one {next(iter(panel.reasons.values()))})"
        self.log(f"{self.time:%Y-%m}: {why}: the positions stay as they are")

    def _panel(self, bars):
        """The indicators of all members that can be traded; with the first of them the selection is made."""
        window = self._options.indicators.window
        if self._selection is not None:
            return compute(bars, window, self._selection.names)
        panel = compute(bars, window)
        if panel.usable.sum() < self._options.universe.min_stocks:
            return panel
        self._selection = select(
            panel.values,
            panel.names,
            n_indicators=self._options.indicators.n_indicators,
            max_vif=self._options.indicators.max_vif,
            instant=f"{self.time}",
        )
        self.log(f"VIF keeps {len(self._selection.names)} of {len(panel.names)} indicators")
        kept = [panel.names.index(name) for name in self._selection.names]
        return replace(panel, values=panel.values[:, :, kept], names=self._selection.names)

    def _ready_allocator(self):
        """The allocator; torch and the backbone are loaded here, at the first decision (LEAN times imports)."""
        if self._allocator is None:
            self._allocator = make_allocator(self._options, n_features=len(self._selection.names))
            self.log(f"{self._allocator}")
            if self._restored is not None:
                self._allocator.restore(self._restored)
                self._restored = None
        return self._allocator

    def _check(self, weights, usable):
        """Nothing is ordered on weights that are not a long-only portfolio of the usable stocks."""
        if not np.isfinite(weights).all() or (weights < 0).any() or weights[~usable].any():
            raise ValueError(
                f"{self.time:%Y-%m}: weights are not finite, negative or on unusable stocks: nothing is ordered"
            )
        if abs(weights.sum() - 1) > 1e-6:
            raise ValueError(f"{self.time:%Y-%m}: weights sum to {weights.sum()}, not 1: nothing is ordered")

    def _turnover_to(self, stocks, weights):
        """The share of the portfolio that changes hands: half the sum of |new - drifted weight|, cash included."""
        total = self.portfolio.total_portfolio_value
        held = {pair.key: pair.value.holdings_value / total for pair in self.portfolio if pair.value.invested}
        changes = [w - held.pop(s, 0.0) for s, w in zip(stocks, weights, strict=True)] + [-w for w in held.values()]
        return (sum(map(abs, changes)) + abs(sum(changes))) / 2

    # --- month end: realise and learn

    def _month_end(self):
        if self._open:
            self._learn(until=self.time.date())

    def _learn(self, until=None):
        """One step from the returns of the open month. With `until`, only once that day's bars have arrived."""
        history = self.history(self._open, SESSIONS_OF_A_MONTH, Resolution.DAILY, fill_forward=False)
        if until is not None and (history.empty or history.index.get_level_values("time").max().date() < until):
            self.log(f"{until:%Y-%m}: the bars of {until} are not here yet: learning waits for them")
            return
        report = self._ready_allocator().learn(self._realised(history))
        self._steps = report.step
        self._open = []
        self._report(report)
        self._save()

    def _realised(self, history):
        """(N,) last close of the month over its first open, less one; NaN where a stock has no bar in the month."""
        returns = np.full(len(self._open), np.nan)
        if history.empty:
            return returns
        times = history.index.get_level_values("time")
        month = history[(times.year == self._month[0]) & (times.month == self._month[1])]
        if month.empty:
            return returns
        by_stock = month.groupby(level="symbol", sort=False)
        realised = by_stock["close"].last() / by_stock["open"].first() - 1
        for row, stock in enumerate(self._open):
            if stock in realised.index:
                returns[row] = realised[stock]
        return returns

    def _report(self, report: StepReport):
        """One log line a month, and the charts."""
        year, month = self._month
        self.log(
            f"{year}-{month:02d}: {self._left_out} left out, return {report.reward:+.2%}, loss {report.loss:+.5f}, "
            f"effective names {report.effective_names:.1f}, turnover {self._turnover:.0%}, "
            f"gradient norm {report.gradient_norm:.2e}, step {report.step}"
            + (", fell back to fp32" if report.fallbacks else "")
        )
        self.plot("Learning", "loss", report.loss)
        self.plot("Learning", "gradient norm", report.gradient_norm)
        self.plot("Positions", "effective names", report.effective_names)
        self.plot("Turnover a month", "turnover", self._turnover)
        self.set_runtime_statistic("Learning Steps", str(report.step))
        self.set_runtime_statistic("Effective Names", f"{report.effective_names:.1f}")
        self.set_runtime_statistic("Loss", f"{report.loss:.5f}")

    def on_end_of_algorithm(self):
        self.set_summary_statistic("Decisions", str(self._decisions))
        self.set_summary_statistic("Learning Steps", str(self._steps))
        self.set_summary_statistic("Backbone", self._options.model.backbone)

    # --- state

    def _save(self):
        """Keep all that a restart needs, after every decision and every step."""
        extra = {
            "selection": self._selection.as_dict(),
            "settings": self._options.as_parameters(),
            "month": self._month,
            "decisions": self._decisions,
            "turnover": self._turnover,
            "left_out": self._left_out,
        }
        state = replace(self._allocator.state(), extra=extra)
        if not self.object_store.save_bytes(STATE_KEY, pack(state)):
            self.log(f"{self.time:%Y-%m}: the Object Store did not take the state: is it full?")

    def _resume(self):
        """Go on from the saved state: live, LEAN starts a redeployed algorithm with its holdings and no memory."""
        if not self.object_store.contains_key(STATE_KEY):
            return
        state = unpack(bytes(self.object_store.read_bytes(STATE_KEY)))
        extra = state.extra
        self._restored = state
        self._selection = Selection.from_dict(extra["selection"])
        self._decisions, self._steps = extra["decisions"], state.step
        self._turnover, self._left_out = extra["turnover"], extra["left_out"]
        if state.decision is not None:
            self._month = tuple(extra["month"])
            self._open = [self.symbol(sid) for sid in state.decision.market.stocks]
        self.log(f"resumed after {self._decisions} decisions and {self._steps} steps")
