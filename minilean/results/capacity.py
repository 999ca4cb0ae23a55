"""LEAN's estimate of a strategy's capacity: how large it could be before its smallest asset limits it."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from operator import attrgetter

from minilean.decimals import EXACT, ONE, ZERO, divide, fit
from minilean.securities import Security

_HOURLY_SHARE = Decimal("0.05")
_NEW_WEIGHT, _OLD_WEIGHT = Decimal("0.33"), Decimal("0.66")
_HALF_SESSION = timedelta(minutes=195)
_HALF_SESSION_MINUTES = Decimal(195)
_SLOWEST = Decimal("0.2")
_FORGET = timedelta(days=30)
_THOUSAND = Decimal(1000)


@dataclass(slots=True, eq=False)
class _Asset:
    """What the estimate remembers of one security since the last snapshot."""

    security: Security
    last_fill: datetime
    discount: Decimal = ONE
    sold: Decimal = ZERO
    market: Decimal = ZERO
    trades: int = 0
    restart: bool = False


class CapacityEstimate:
    """Follows fills and their bars, and takes a snapshot every few days.

    value: dollars, before the rounding of what is published; lowest: the asset that limits it; due: when it is time
    for a snapshot.
    """

    def __init__(self, start: date, end: date):
        days = (end - start).days + 1
        self.value = ZERO
        self.lowest: Security | None = None
        self._period = timedelta(days=max(1, min(7, days - 1)))
        self.due = datetime.combine(start, time()) + self._period
        self._slots: list[_Asset | None] = []
        self._free: list[int] = []
        self._index: dict[Security, int] = {}
        self._filled: dict[_Asset, None] = {}
        self._latest = datetime.min

    @property
    def published(self) -> Decimal:
        """Rounded to thousands, half away from zero."""
        return EXACT.divide(self.value, _THOUSAND).quantize(ONE, ROUND_HALF_UP, EXACT) * _THOUSAND

    def fill(self, security: Security, utc: datetime, volume: Decimal) -> None:
        """A fill worth `volume` dollars."""
        asset = self._known(security, utc)
        asset.sold += volume
        asset.last_fill = utc
        if asset.restart:
            asset.market, asset.trades, asset.restart = ZERO, 0, False
        asset.trades += 1
        if utc != self._latest:
            self._filled, self._latest = {}, utc
        self._filled[asset] = None

    def _known(self, security: Security, utc: datetime) -> _Asset:
        slot = self._index.get(security)
        if slot is not None:
            asset = self._slots[slot]
            assert asset is not None
            asset.discount = _discount(utc - asset.last_fill)
            return asset
        asset = _Asset(security, utc)
        if self._free:
            slot = self._free.pop()
            self._slots[slot] = asset
        else:
            slot = len(self._slots)
            self._slots.append(asset)
        self._index[security] = slot
        return asset

    def end_of_slice(self, utc: datetime) -> None:
        """Look at the bars that ended with this slice, of what was filled in it."""
        if utc != self._latest:
            return
        for asset in self._filled:
            bar = asset.security.bar
            if bar is None or bar.session.utc_close != utc:
                continue
            volume = bar.volume
            if volume:
                traded = fit(EXACT.multiply(bar.close, volume))
                asset.market = fit(asset.market + fit(EXACT.multiply(traded, asset.discount)))

    def snapshot(self, utc: datetime, total_value: Decimal, *, forced: bool) -> None:
        """Blend in the capacity of the smallest asset, when it is time or at the end of the run."""
        if not self._index or not (forced or utc >= self.due):
            return
        assets = [asset for asset in self._slots if asset is not None]
        smallest = min(assets, key=attrgetter("market"))
        self.lowest = smallest.security
        sold = sum((asset.sold for asset in assets), ZERO)
        held = abs(self.lowest.quantity * self.lowest.price)
        share = max(
            divide(smallest.sold, sold) if sold else ZERO,
            divide(held, total_value) if total_value else ZERO,
        )
        new = self.value
        if share:
            # A daily bar of 6.5 hours counts as an hourly one: the bar of the fill itself, and no other.
            new = divide(divide(fit(smallest.market * _HOURLY_SHARE), Decimal(smallest.trades)), share)
        if not self.value:
            self.value = new
        else:
            self.value = fit(fit(_NEW_WEIGHT * new) + fit(_OLD_WEIGHT * self.value))
        for asset in assets:
            if asset.security.quantity or utc - asset.last_fill < _FORGET:
                asset.restart = True
                asset.sold = ZERO
            else:
                slot = self._index.pop(asset.security)
                self._slots[slot] = None
                self._free.append(slot)
        self.due = datetime.combine(utc.date(), time()) + self._period


def _discount(pause: timedelta) -> Decimal:
    """How much of a bar's volume counts after a pause since the last fill: all of it from half a session on."""
    if pause >= _HALF_SESSION:
        return ONE
    minutes = divide(Decimal(int(pause.total_seconds())), Decimal(60))
    return max(_SLOWEST, divide(minutes, _HALF_SESSION_MINUTES))
