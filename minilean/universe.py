"""Which securities an algorithm is subscribed to: ETF-constituents universes and hand-picked equities."""

import itertools
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilean.calendar import MarketCalendar
from minilean.data import DataFolder
from minilean.decimals import EXACT, ZERO, divide, fit, round_half_even
from minilean.formats import FactorRow
from minilean.portfolio import Portfolio
from minilean.securities import DEFAULT_LEVERAGE, Clock, Feed, Security
from minilean.symbols import Symbol

_SEED_WITHIN = 50
"""Sessions back that LEAN looks for a first price (it asks for 5, then 10, then 50)."""


class CorporateAction(NamedTuple):
    """Something that happens to a security at 00:00 of a day.

    kind: dividend (amount: per share), split (amount: factor), rename, warning or delisted.
    since: the security must have been subscribed on that day already.
    """

    kind: str
    security: Security
    since: date
    amount: Decimal = ZERO
    reference: Decimal = ZERO
    old_ticker: str = ""
    new_ticker: str = ""


@dataclass
class Universe:
    """An ETF-constituents universe of a run."""

    etf: Symbol
    files: dict[date, Path]
    select: Callable[[Path], list[Symbol] | None]
    adjusted: bool
    leverage: Decimal
    settle: Callable[[], None] = lambda: None
    members: dict[str, Security] = field(default_factory=dict)
    leaving: dict[str, Security] = field(default_factory=dict)
    """Not chosen any more, but still held or on order."""
    selected: list[Symbol] | None = None


@dataclass
class Changes:
    """What `on_securities_changed` reports."""

    added: list[Security] = field(default_factory=list)
    removed: list[Security] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


class Subscriptions:
    """Keeps the active securities, their feeds and what is going to happen to them."""

    def __init__(self, data: DataFolder, portfolio: Portfolio, has_open_orders: Callable[[Symbol], bool]):
        self._data = data
        self._calendar: MarketCalendar = data.calendar
        self._portfolio = portfolio
        self._has_open_orders = has_open_orders
        self.universes: list[Universe] = []
        self.hand_picked: dict[str, Security] = {}
        self.agenda: dict[date, list[CorporateAction]] = {}
        self.clock = Clock()
        self._sessions = np.empty(0, dtype=np.int64)
        self.seed_prices = False

    def set_period(self, start: date, end: date) -> None:
        """The sessions of the run; feeds are aligned to them."""
        self._sessions = self._calendar.ordinals(start, end)

    # --- hand-picked equities

    def add_equity(self, symbol: Symbol, now: datetime, adjusted: bool, leverage: Decimal) -> Security:
        security = self._portfolio.registry.get(symbol.sid)
        if security is None or security not in self._portfolio.active():
            security = self._enter(symbol, now, adjusted, leverage)
        self.hand_picked[symbol.sid] = security
        return security

    # --- universe selection

    def apply(self, universe: Universe, chosen: list[Symbol] | None, now: datetime) -> Changes:
        """Carry out one selection (None: unchanged), in LEAN's order.

        First those that left earlier and are sold by now go for good, even if they are chosen again; then members
        that are not chosen any more leave, at once where nothing is held or on order; then the new ones enter.
        """
        changes = Changes()
        wanted = universe.members if chosen is None else {symbol.sid: symbol for symbol in chosen}
        for sid, security in [entry for other in self.universes for entry in other.leaving.items()]:
            if self._is_free(security):
                self._leave(security)
            elif sid in wanted:
                self._keep(security)
        if chosen is None:
            return changes
        universe.selected = chosen
        for security in _by_ticker(s for sid, s in universe.members.items() if sid not in wanted):
            del universe.members[security.symbol.sid]
            changes.removed.append(security)
            if not self._is_member(security):
                universe.leaving[security.symbol.sid] = security
                if self._is_free(security):
                    self._leave(security)
        for symbol in sorted(chosen, key=lambda symbol: symbol.value):
            if symbol.sid in universe.members:
                continue
            known = self._portfolio.registry.get(symbol.sid)
            if known is not None and known.is_delisted:
                known.is_tradable = True  # orders are accepted again, but bars will never come
                continue
            if known is None or known not in self._portfolio.active():
                known = self._enter(symbol, now, universe.adjusted, universe.leverage)
            universe.members[symbol.sid] = known
            changes.added.append(known)
        return changes

    def take_over(self, universe: Universe, symbol: Symbol, now: datetime) -> Security:
        """Subscribe to what the account holds or has on order since before the run: as if it had been a member."""
        security = self._enter(symbol, now, universe.adjusted, universe.leverage)
        universe.leaving[symbol.sid] = security
        return security

    def _is_free(self, security: Security) -> bool:
        return not security.quantity and not self._has_open_orders(security.symbol)

    def delist(self, securities: Iterable[Security]) -> Changes:
        """Take delisted securities out; their price stays until the position is sold.

        Those that were not chosen any more have been reported as removed already.
        """
        changes = Changes()
        for security in _by_ticker(securities):
            if self._is_member(security):
                changes.removed.append(security)
            security.is_delisted = True
            security.is_tradable = False
            self._portfolio.leave(security)
            self._keep(security)
            self.hand_picked.pop(security.symbol.sid, None)
            for universe in self.universes:
                universe.members.pop(security.symbol.sid, None)
        return changes

    def _is_member(self, security: Security) -> bool:
        sid = security.symbol.sid
        return sid in self.hand_picked or any(sid in universe.members for universe in self.universes)

    def _enter(self, symbol: Symbol, now: datetime, adjusted: bool, leverage: Decimal) -> Security:
        security = self._create(symbol, now, adjusted, leverage)
        self._activate(security, now)
        return security

    def _create(self, symbol: Symbol, now: datetime, adjusted: bool, leverage: Decimal) -> Security:
        """The security of a symbol: the one that left earlier, its leverage back at the default, or a new one."""
        known = self._portfolio.registry.get(symbol.sid)
        if known is not None:
            known.leverage = DEFAULT_LEVERAGE
            known.is_tradable = True
            return known
        security = Security(symbol, leverage or DEFAULT_LEVERAGE)
        self._portfolio.registry[symbol.sid] = security
        bars = self._data.daily(symbol.id)
        file = self._data.map_file(symbol.id)
        security.feed = Feed.along(
            self._sessions,
            bars,
            adjusted,
            self.clock,
            self._calendar.session,
            now.date(),
            file.delisting_date if file else None,
        )
        self._plan(security, now.date())
        return security

    def _activate(self, security: Security, now: datetime) -> None:
        feed = _feed(security)
        feed.subscribed = now.date()
        self._portfolio.enter(security)
        row = feed.bars.last_row_before(now.date())
        feed.since = row + 1
        if self.seed_prices and not security.price and row >= 0:
            day = date.fromordinal(int(feed.bars.ordinals[row]))
            if len(self._calendar.sessions(day, now.date())) <= _SEED_WITHIN + 1:
                security.take(row)
                feed.since = row

    def _keep(self, security: Security) -> None:
        """Nothing waits for the security to be sold any more."""
        for universe in self.universes:
            universe.leaving.pop(security.symbol.sid, None)

    def _leave(self, security: Security) -> None:
        self._keep(security)
        self._portfolio.leave(security)
        security.price = ZERO
        security.bar = None
        security.is_tradable = False

    # --- corporate actions

    def _plan(self, security: Security, today: date) -> None:
        """Write all later corporate actions of a new security into the agenda."""

        def at(day: date, action: CorporateAction) -> None:
            if day > today:
                self.agenda.setdefault(day, []).append(action)

        file = self._data.map_file(security.symbol.id)
        if file is not None:
            for last_day, old, new in file.renames():
                day = self._calendar.next_session(last_day)
                at(day, CorporateAction("rename", security, last_day, old_ticker=old.upper(), new_ticker=new.upper()))
            delisting = file.delisting_date
            if delisting is not None:
                at(delisting, CorporateAction("warning", security, delisting))
                at(date.fromordinal(delisting.toordinal() + 1), CorporateAction("delisted", security, delisting))
        factors = _feed(security).bars.factors
        known = bisect_left(factors, today, key=lambda row: row.day)  # nobody was subscribed to those before
        for row, following in itertools.pairwise(factors[known:]):
            if not self._calendar.is_session(row.day):
                continue
            day = self._calendar.next_session(row.day)
            if row.price_factor != following.price_factor:
                per_share = distribution(row, following)
                at(day, CorporateAction("dividend", security, row.day, per_share, row.reference_price))
            if row.split_factor != following.split_factor:
                factor = divide(row.split_factor, following.split_factor)
                at(day, CorporateAction("split", security, row.day, factor, row.reference_price))

    def due(self, day: date) -> list[CorporateAction]:
        """What happens at 00:00 of that day to securities that are subscribed and were so in time, by ticker."""
        due = [
            action
            for action in self.agenda.pop(day, ())
            if action.security in self._portfolio.active()
            and _feed(action.security).subscribed <= action.since
        ]
        return sorted(due, key=lambda action: action.security.symbol.value)


def _feed(security: Security) -> Feed:
    assert security.feed is not None, "a subscribed security has a feed"
    return security.feed


def _by_ticker(securities: Iterable[Security]) -> list[Security]:
    return sorted(securities, key=lambda security: security.symbol.value)


def distribution(row: FactorRow, following: FactorRow) -> Decimal:
    """The cash dividend, in dollars a share, that two rows of a factor file tell of."""
    ratio = divide(row.price_factor, following.price_factor)
    return round_half_even(row.reference_price - fit(EXACT.multiply(row.reference_price, ratio)), 2)
