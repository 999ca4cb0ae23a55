# region imports
from AlgorithmImports import *
# endregion
import builtins
from dataclasses import replace
from datetime import datetime, timedelta
from math import fsum

import numpy as np

from indicators import Bars, Selection, compute, required_bars, scale, select
from model import make_allocator
from model.allocator import Market as MonthMarket
from model.allocator import StepReport
from model.statestore import StateError, StateStore
from settings import Settings

LEAD = 30  # minutes before the open at which a month is decided
LEAST_TARGET = 1e-9  # LEAN passes over targets below 1e-10 and leaves their positions; what is not listed is sold
LAST_CALL = 5  # minutes before the open at which a live run tries again
# LEAN counts back in whole days from the last close, so that after an early close fewer sessions come than are asked
# for, down to five for six: requests are generous, and what is not needed is not looked at.
SESSIONS_OF_A_MONTH = 35
MONTHS_OF_HISTORY = 600  # of the learning, kept in the state: fifty years
CHARTS = {
    "loss": "Learning",
    "gradient norm": "Learning",
    "step KL": "Learning",
    "effective names": "Positions",
    "active share": "Active share",
    "turnover": "Turnover a month",
}  # what is plotted a month, and where
PAST_SESSIONS = 252  # of daily returns that the model and the rules see: a year


def _name(month):
    """2009-06 for (2009, 6)."""
    return f"{month[0]}-{month[1]:02d}"


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
        # Live, every session is a chance for what was missed while the process was down or bars were late. Each handler
        # does its work once a month, however often it is called.
        dates, times = self.date_rules, self.time_rules
        starts, ends = (dates.every_day,) * 2 if self.live_mode else (dates.month_start, dates.month_end)
        self.schedule.on(starts(self._etf), times.before_market_open(self._etf, LEAD), self._month_start)
        self.schedule.on(ends(self._etf), times.after_market_close(self._etf, 1), self._month_end)
        if self.live_mode:
            self.schedule.on(starts(self._etf), times.before_market_open(self._etf, LAST_CALL), self._month_start)

        self._quarter = None  # (year, 0..3) that the chosen stocks belong to
        self._chosen = {}  # stock -> weight in the ETF
        self._subscribed = False  # whether LEAN has been told of them
        self._delisted = set()  # which LEAN would not know after a restart
        self._selection = None  # frozen with the first decision
        self._allocator = None
        self._month = None  # (year, month) of the last decision
        self._open = {}  # stock -> weight of that decision, until it is learnt from
        self._held = {}  # stock -> shares before it was ordered
        self._ordered = True  # whether it was
        self._left_out, self._turnover, self._active_share, self._moves = 0, 0.0, 0.0, ""  # of that decision
        self._decisions = self._steps = 0
        self._learnt = []  # a record of each step
        self._sitting_out = set()  # of last month's stocks
        self._told: tuple[str, set[str]] = "", set()  # a month, and the matters that it was logged of
        self._restored, self._unsaved = None, False
        self._resumed = False  # and nothing ordered since
        name = "live" if self.live_mode else "backtest"
        objects = self.object_store  # whose stub takes a list of whole numbers for bytes
        self._states = StateStore(objects, f"online-portfolio/{name}", settings, self.log)  # type: ignore[arg-type]
        if settings.run.resume == "require" or (settings.run.resume == "auto" and self.live_mode):
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
            if self._subscribed:
                return Universe.UNCHANGED
            self._subscribed = True  # a run that goes on from a state has chosen already, but LEAN does not know
            return list(self._chosen)
        weighted = [row for row in constituents if row.weight]
        if not weighted:
            return Universe.UNCHANGED
        weighted.sort(key=lambda row: (-row.weight, str(row.symbol.id)))
        self._quarter = quarter
        self._chosen = {row.symbol: float(row.weight) for row in weighted[: self._options.universe.n_stocks]}
        self._subscribed = True
        self._delisted &= self._chosen.keys()
        return list(self._chosen)

    def on_delistings(self, delistings):
        """Remember who is gone: a restarted run gets a delisted stock from LEAN as one that can be traded."""
        gone = {event.symbol for event in delistings.values() if event.type == DelistingType.DELISTED}
        self._delisted |= gone & self._chosen.keys()
        if self.live_mode and self._month:
            self._save()

    # --- month start: decide

    def _month_start(self):
        """Decide and order, once a month, as of the month's first open however late this is called."""
        month = (self.time.year, self.time.month)
        if month == self._month:
            if self._unsaved:
                self._save()
            if not self._ordered and self._has_universe():
                self._order()
            return
        if self._resumed:
            self._look_back(month)
        opening = self._first_open(self.time)
        if self._month is None and self.time > opening:
            return  # live, started within a month: the first decision is the next month's
        if self._open and not self._learn():
            return  # learning comes before the next decision
        if not self._has_universe():
            return
        stocks = list(self._chosen)
        late = max(0, (self.time - opening).days)
        sessions = required_bars(self._options.indicators.window) * 5 // 4 + late
        history = self.history([s for s in stocks if self._is_alive(s)], sessions, Resolution.DAILY)
        if not history.empty:
            history = history[history.index.get_level_values("time") < opening]
        bars = Bars.from_history(history, stocks)
        instant = opening - timedelta(minutes=LEAD)
        panel = self._panel(bars, instant)
        self._tell_of(stocks, panel)
        usable = int(panel.usable.sum())
        if usable < self._options.universe.min_stocks:
            self._hold(panel, usable)
            return
        features = scale(panel.values, panel.usable, self._options.indicators.scaling)
        market = MonthMarket(
            instant,
            tuple(str(s.id) for s in stocks),
            features,
            panel.usable,
            caps=np.array([self._chosen[s] for s in stocks]),
            past=bars.returns(PAST_SESSIONS),
        )
        weights = self._ready_allocator().decide(market)
        self._month = month
        problem = self._check(weights, panel.usable)
        if problem:
            if not self.live_mode:
                raise ValueError(problem)
            self.log(f"{problem}: the positions stay as they are")
            return
        self._open = dict(zip(stocks, weights.tolist(), strict=True))
        self._note_changes()
        self._held = self._positions()
        self._ordered = False
        self._decisions += 1
        self._left_out = len(self._chosen) - usable
        # Saved before it is ordered: whatever happens in between, no other weights are ordered this month.
        self._save()
        self._order()

    def _positions(self):
        return {pair.key: pair.value.quantity for pair in self.portfolio if pair.value.invested}

    def _order(self):
        """Order the weights of the open decision at the next open.

        The first time after a restart only what the run before has not: no order is open, the position is as it was.
        """
        targets = {s: weight for s, weight in self._open.items() if weight > LEAST_TARGET and s in self.securities}
        if self._resumed:
            held = self._positions()
            on_order = {order.symbol for order in self.transactions.get_open_orders()}
            concerned = held.keys() | targets.keys()
            left = {s for s in concerned if s not in on_order and held.get(s, 0) == self._held.get(s, 0)}
            if len(left) < len(concerned):
                self.log(f"{self.time:%Y-%m}: {len(left)} of {len(concerned)} positions were still to be ordered")
            for stock in sorted(left - targets.keys(), key=lambda s: s.value):
                self.liquidate(stock)
            targets = {s: weight for s, weight in targets.items() if s in left}
        self.set_holdings([PortfolioTarget(s, weight) for s, weight in targets.items()], not self._resumed)
        self._ordered, self._resumed = True, False
        self._save()

    def _has_universe(self):
        """Whether LEAN has been told of the chosen stocks, which a restarted run cannot trade before."""
        if self._chosen and not self._subscribed:
            text = f"the constituents of {self._etf.value} have not arrived since the restart: orders wait for them"
            self._log_once("universe", text)
            return False
        return True

    def _is_alive(self, stock):
        """Whether it can be traded and has a price."""
        if stock in self._delisted or stock not in self.securities:
            return False
        security = self.securities[stock]
        return security.is_tradable and security.price > 0

    def _first_open(self, when):
        """The first open of the month that `when` lies in."""
        midnight = when.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return self.securities[self._etf].exchange.hours.get_next_market_open(midnight, False)

    def _tell_of(self, stocks, panel):
        """Log which stocks are new among those that sit the month out, and why."""
        now = {stocks[row]: reason for row, reason in panel.reasons.items()}
        now |= {s: "cannot be traded or has no price" for s in stocks if not self._is_alive(s)}
        new = [f"{s.value} {reason}" for s, reason in now.items() if s not in self._sitting_out]
        if new and len(now) < len(self._chosen):
            more = f", and {len(new) - 3} more" if len(new) > 3 else ""
            self.log(f"{self.time:%Y-%m}: sitting out from now: {'; '.join(new[:3])}{more}")
        self._sitting_out = set(now)

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
        self._log_once("stocks", f"{why}: the positions stay as they are")

    def _panel(self, bars, instant):
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
            instant=f"{instant}",
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
        """Why these weights are not ordered; an empty text for a long-only portfolio of the usable stocks."""
        at_most = self._options.universe.max_weight
        if not np.isfinite(weights).all() or (weights < 0).any() or weights[~usable].any():
            problem = "weights are not finite, negative or on unusable stocks"
        elif abs(weights.sum() - 1) > 1e-6:
            problem = f"weights sum to {weights.sum()}, not 1"
        elif weights.max() > at_most:
            problem = f"a weight of {weights.max():.4f} exceeds max_weight = {at_most:g}"
        else:
            return ""
        return f"{self.time:%Y-%m}: {problem}: nothing is ordered"

    def _note_changes(self):
        """Turnover and largest moves from the drifted weights to the new ones, and active share against the ETF's."""
        total = self.portfolio.total_portfolio_value
        held = {pair.key: pair.value.holdings_value / total for pair in self.portfolio if pair.value.invested}
        changes = {s: self._open.get(s, 0.0) - held.get(s, 0.0) for s in [*self._open, *held]}
        # With cash, half of all that changes; rounded, because the last bits depend on the order of positions.
        bought = fsum(changes.values())
        self._turnover = round((fsum(map(abs, changes.values())) + abs(bought)) / 2, 9)
        largest = sorted(changes, key=lambda s: (-round(abs(changes[s]), 9), s.value))[:3]
        self._moves = ", ".join(f"{s.value} {changes[s]:+.1%}" for s in largest)
        caps = fsum(self._chosen.values())
        self._active_share = fsum(abs(w - self._chosen[s] / caps) for s, w in self._open.items()) / 2

    # --- month end: realise and learn

    def _month_end(self):
        upcoming = self.securities[self._etf].exchange.hours.get_next_market_open(self.time, False)
        if self._open and (upcoming.year, upcoming.month) != self._month:
            self._learn()

    def _learn(self):
        """One step from the returns of the open month, once its bars are here; whether they were."""
        year, month = self._month
        first = datetime(year, month, 1)
        following = self._first_open(first + timedelta(days=31))
        last = self.securities[self._etf].exchange.hours.get_previous_trading_day(following).date()
        sessions = SESSIONS_OF_A_MONTH + max(0, (self.time.date() - last).days)
        history = self.history([self._etf, *self._open], sessions, Resolution.DAILY, fill_forward=False)
        arrived = set()
        if not history.empty:
            recent = history.index.get_level_values("time") >= datetime(last.year, last.month, last.day)
            arrived.update(history[recent].index.get_level_values("symbol"))
        # Live, bars come one by one: on the evening itself a missing one may be late; the next morning there is none.
        is_evening = self.live_mode and self.time.date() == last
        held = [self._etf, *(s for s, weight in self._open.items() if weight > LEAST_TARGET)]
        late = is_evening and any(s not in arrived for s in held if self._is_alive(s))
        if late or not arrived:
            self._log_once("bars", f"the bars of {last} are not here yet: learning waits for them")
            return False
        report = self._ready_allocator().learn(self._realised(history))
        self._steps = report.step
        self._learnt.append(
            {
                "month": _name((year, month)),
                "loss": report.loss,
                "gradient norm": report.gradient_norm,
                "step KL": report.step_kl,
                "effective names": report.effective_names,
                "active share": self._active_share,
                "turnover": self._turnover,
                "fallbacks": report.fallbacks,
            }
        )
        del self._learnt[:-MONTHS_OF_HISTORY]
        self._open = {}
        self._report(report)
        self._save()
        return True

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
        """Two log lines a month, and the charts."""
        record = self._learnt[-1]
        month = record["month"]
        self.log(
            f"{month}: {self._left_out} left out, return {report.reward:+.2%}, loss {report.loss:+.5f}, "
            f"effective names {report.effective_names:.1f}, turnover {self._turnover:.0%}, "
            f"gradient norm {report.gradient_norm:.2e}, step {report.step}"
            + (", fell back to fp32" if report.fallbacks else "")
            + (f", weights recomputed with a difference of {report.drift:.1e}" if report.drift else "")
        )
        moved = np.argsort(report.saliency)[::-1][:3]  # none for a rule
        by = ", ".join(self._selection.names[column] for column in moved)
        self.log(
            f"{month}: active share {self._active_share:.0%}, largest moves {self._moves}"
            + (f", learnt most through {by}" if by else "")
        )
        for name, chart in CHARTS.items():
            if record[name] is not None:
                self.plot(chart, name, record[name])
        self.set_runtime_statistic("Learning Steps", str(report.step))
        self.set_runtime_statistic("Effective Names", f"{report.effective_names:.1f}")
        self.set_runtime_statistic("Loss", f"{report.loss:.5f}")
        fallbacks = sum(record.get("fallbacks", 0) for record in self._learnt)
        if fallbacks:
            self.plot("Precision", "fallbacks to fp32", fallbacks)
            self.set_runtime_statistic("Fallbacks", str(fallbacks))

    def on_end_of_algorithm(self):
        self.set_summary_statistic("Decisions", str(self._decisions))
        self.set_summary_statistic("Learning Steps", str(self._steps))
        model = self._options.model
        self.set_summary_statistic("Allocator", model.allocator)
        if model.allocator == "t5":
            self.set_summary_statistic("Backbone", model.backbone)

    # --- state

    def _save(self):
        """Keep all that a restart needs, after every decision, its orders and every step."""
        extra = {
            "selection": self._selection.as_dict(),
            "month": self._month,
            "quarter": self._quarter,
            "chosen": {str(s.id): weight for s, weight in self._chosen.items()},
            "delisted": sorted(str(s.id) for s in self._delisted),
            "held": {str(s.id): quantity for s, quantity in self._held.items()},
            "ordered": self._ordered,
            "decisions": self._decisions,
            "left_out": self._left_out,
            "turnover": self._turnover,
            "active_share": self._active_share,
            "moves": self._moves,
            "learnt": self._learnt,
        }
        state = self._ready_allocator().state()
        problem = self._states.save(replace(state, decision=state.decision if self._open else None, extra=extra))
        self._unsaved = bool(problem)
        if problem:
            text = f"the Object Store has not got the new state ({problem}): the last good one stays there"
            self._log_once("store", text)

    def _resume(self):
        """Go on from the saved state: LEAN starts a redeployed algorithm with its holdings and no memory."""
        state = self._states.load()
        if state is None:
            if self._options.run.resume == "require":
                raise StateError("resume = require, but the Object Store has no state: start anew with resume = auto")
            self.log("no saved state: a fresh start, and the first decision comes with the next month's first open")
            return
        try:
            self._restore(state)
        except builtins.Exception as error:  # .NET's among them; AlgorithmImports may bring another Exception
            raise StateError(
                f"the saved state is intact but was not made by this strategy ({error!r}): put another in its place, "
                "or start anew with resume = never"
            ) from error
        self.log(
            f"resumed after {self._decisions} decisions and {self._steps} steps; the last decision is of "
            f"{_name(self._month)}" + (", not learnt from yet" if self._open else "")
        )

    def _look_back(self, month):
        """Log which months have passed since the state's; stop where it is the state that lies ahead."""
        saved = _name(self._month)
        if self._month > month:
            raise StateError(
                f"the saved state is of {saved}, later than {self.time:%Y-%m}: begin after it, or start anew with "
                "resume = never"
            )
        first, now = (12 * year + number - 1 for year, number in (self._month, month))
        missed = [_name((count // 12, count % 12 + 1)) for count in range(first + 1, now)]
        if missed:
            text = f"no decision is on record for {', '.join(missed)}: the positions stayed as they were"
            self._log_once("missed", text)

    def _restore(self, state):
        extra = state.extra
        selection = Selection.from_dict(extra["selection"])
        year, month = extra["month"]
        quarter = extra.get("quarter")  # this and what else has a default was not kept in schema 1
        self._chosen = {self.symbol(sid): float(weight) for sid, weight in extra.get("chosen", {}).items()}
        self._quarter = tuple(quarter) if quarter else None
        self._held = {self.symbol(sid): float(quantity) for sid, quantity in extra.get("held", {}).items()}
        self._delisted = {self.symbol(sid) for sid in extra.get("delisted", [])}
        self._ordered = bool(extra.get("ordered", True))
        self._decisions, self._steps = int(extra["decisions"]), state.step
        self._left_out, self._turnover = int(extra["left_out"]), float(extra["turnover"])
        self._active_share, self._moves = float(extra.get("active_share", 0.0)), str(extra.get("moves", ""))
        self._learnt = list(extra.get("learnt", []))
        self._month, self._selection = (int(year), int(month)), selection
        if state.decision is not None:
            stocks = [self.symbol(sid) for sid in state.decision.market.stocks]
            self._open = dict(zip(stocks, state.decision.weights.tolist(), strict=True))
        self._restored = state
        self._resumed = True

    def _log_once(self, matter, text):
        """Log what may be due every day, but each matter once a month."""
        month, told = self._told
        now = f"{self.time:%Y-%m}"
        self._told = now, (told if month == now else set()) | {matter}
        if month != now or matter not in told:
            self.log(f"{now}: {text}")
