"""The 61 candidate indicators, one row each.

The paper takes "technical indicators from TA-Lib" in six groups; these are the functions of those groups as they stood
in TA-Lib 0.4: Cycle 5, Momentum 30, Overlap 16 (MAVP needs a series of periods, so it is left out), Price Transform 4,
Volatility 3 and Volume 3. ACCBANDS, AVGDEV and IMI came later. Every function runs with TA-Lib's own default
parameters, read from TA-Lib like its lookback, so that neither can drift from the library.

How much past an indicator needs is `lookback + settle` bars before its first value that counts: TA-Lib's lookback gives
a number, and a recursive indicator needs `settle` bars more until the arbitrary start of its recursion is forgotten:

* recursions with a fixed decay (EMA, Wilder): an unlimited past would move no value by more than a thousandth of the
  indicator's standard deviation over time;
* recursions whose memory depends on the prices (Hilbert transform, KAMA, MAMA, SAR): it would move fewer than one value
  in a thousand by more than a hundredth of it. No bound holds for all prices: a quiet market can slow them at will.

AD and OBV are running totals and never forget: they count from the first bar they are given (`panel.compute` fixes
which one that is).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import talib
from numpy.typing import NDArray
from talib import abstract

FIELDS = ("open", "high", "low", "close", "volume")

CYCLE = "Cycle Indicators"
MOMENTUM = "Momentum Indicators"
OVERLAP = "Overlap Studies"
PRICE = "Price Transform"
VOLATILITY = "Volatility Indicators"
VOLUME = "Volume Indicators"


@dataclass(frozen=True)
class Indicator:
    """One TA-Lib function, reduced to one series.

    name: TA-Lib's name of the function.
    group: TA-Lib's name of its group.
    inputs: initials of the `FIELDS` it takes, in the order of the call.
    settle: bars it needs beyond TA-Lib's lookback until its start no longer matters.
    output: which of its series is used, in TA-Lib's words; empty where it returns only one.
    note: why that series, or what else a reader must know.
    """

    name: str
    group: str
    inputs: str
    settle: int = 0
    output: str = ""
    note: str = ""

    @cached_property
    def parameters(self) -> Mapping[str, float]:
        """TA-Lib's default parameters, which are the ones used."""
        return dict(self._description.parameters)

    @cached_property
    def lookback(self) -> int:
        """Bars before the first value, from TA-Lib."""
        return int(self._description.lookback)

    def evaluate(self, bars: NDArray[np.float64]) -> NDArray[np.float64]:
        """Run the function over the bars of one stock.

        bars: (5, T) float64, C-contiguous, rows in the order of `FIELDS`, finite.
        Returns (T,): the value at each session, from that session's bar and those before it.
        """
        function, rows, series = self._call
        result = function(*[bars[row] for row in rows])
        return cast("NDArray[np.float64]", result if series is None else result[series])

    @cached_property
    def _description(self) -> Any:
        return abstract.Function(self.name)  # type: ignore[no-untyped-call]

    @cached_property
    def _call(self) -> tuple[Any, tuple[int, ...], int | None]:
        initials = [field[0] for field in FIELDS]
        wrapped = getattr(talib, self.name)
        function = getattr(wrapped, "__wrapped__", wrapped)  # without its search for pandas' and polars' series
        series = list(self._description.output_names).index(self.output) if self.output else None
        return function, tuple(initials.index(letter) for letter in self.inputs), series


_ROWS = (
    Indicator("HT_DCPERIOD", CYCLE, "c", settle=180),
    Indicator("HT_DCPHASE", CYCLE, "c", settle=140),
    Indicator("HT_PHASOR", CYCLE, "c", 140, "inphase", "the component in phase with the price"),
    Indicator("HT_SINE", CYCLE, "c", 140, "sine", "leadsine is the same wave 45 degrees ahead"),
    Indicator("HT_TRENDMODE", CYCLE, "c", settle=100),
    Indicator("ADX", MOMENTUM, "hlc", settle=140),
    Indicator("ADXR", MOMENTUM, "hlc", settle=130),
    Indicator("APO", MOMENTUM, "c"),
    Indicator("AROON", MOMENTUM, "hl", 0, "aroonup", "AROONOSC is up less down, so the pair holds all three"),
    Indicator("AROONOSC", MOMENTUM, "hl"),
    Indicator("BOP", MOMENTUM, "ohlc"),
    Indicator("CCI", MOMENTUM, "hlc"),
    Indicator("CMO", MOMENTUM, "c", settle=110),
    Indicator("DX", MOMENTUM, "hlc", settle=130),
    Indicator("MACD", MOMENTUM, "c", 100, "macd", "the line that gives the function its name"),
    Indicator("MACDEXT", MOMENTUM, "c", 0, "macdhist", "its line is APO: both subtract the same simple averages"),
    Indicator("MACDFIX", MOMENTUM, "c", 100, "macdhist", "its line is MACD but for the third digit of the decay"),
    Indicator("MFI", MOMENTUM, "hlcv"),
    Indicator("MINUS_DI", MOMENTUM, "hlc", settle=110),
    Indicator("MINUS_DM", MOMENTUM, "hl", settle=110),
    Indicator("MOM", MOMENTUM, "c"),
    Indicator("PLUS_DI", MOMENTUM, "hlc", settle=110),
    Indicator("PLUS_DM", MOMENTUM, "hl", settle=110),
    Indicator("PPO", MOMENTUM, "c"),
    Indicator("ROC", MOMENTUM, "c"),
    Indicator("ROCP", MOMENTUM, "c", note="ROC / 100"),
    Indicator("ROCR", MOMENTUM, "c", note="ROC / 100 + 1"),
    Indicator("ROCR100", MOMENTUM, "c", note="ROC + 100"),
    Indicator("RSI", MOMENTUM, "c", settle=110, note="CMO / 2 + 50"),
    Indicator("STOCH", MOMENTUM, "hlc", 0, "slowd", "slowk is the 3-session mean of STOCHF's fastk"),
    Indicator("STOCHF", MOMENTUM, "hlc", 0, "fastk", "fastd is STOCH's slowk"),
    Indicator("STOCHRSI", MOMENTUM, "c", 110, "fastk", "fastd is its 3-session mean"),
    Indicator("TRIX", MOMENTUM, "c", settle=130),
    Indicator("ULTOSC", MOMENTUM, "hlc"),
    Indicator("WILLR", MOMENTUM, "hlc"),
    Indicator("BBANDS", OVERLAP, "c", 0, "upperband", "the middle band is a simple average, of which there are enough"),
    Indicator("DEMA", OVERLAP, "c", settle=90),
    Indicator("EMA", OVERLAP, "c", settle=90),
    Indicator("HT_TRENDLINE", OVERLAP, "c", settle=110),
    Indicator("KAMA", OVERLAP, "c", settle=180),
    Indicator("MA", OVERLAP, "c", note="SMA, by TA-Lib's default type"),
    Indicator("MAMA", OVERLAP, "c", 80, "mama", "the average itself; fama trails it"),
    Indicator("MIDPOINT", OVERLAP, "c"),
    Indicator("MIDPRICE", OVERLAP, "hl"),
    Indicator("SAR", OVERLAP, "hl", settle=90),
    Indicator("SAREXT", OVERLAP, "hl", settle=90, note="SAR, negative while short"),
    Indicator("SMA", OVERLAP, "c"),
    Indicator("T3", OVERLAP, "c", settle=8),
    Indicator("TEMA", OVERLAP, "c", settle=80),
    Indicator("TRIMA", OVERLAP, "c"),
    Indicator("WMA", OVERLAP, "c"),
    Indicator("AVGPRICE", PRICE, "ohlc"),
    Indicator("MEDPRICE", PRICE, "hl"),
    Indicator("TYPPRICE", PRICE, "hlc"),
    Indicator("WCLPRICE", PRICE, "hlc"),
    Indicator("ATR", VOLATILITY, "hlc", settle=100),
    Indicator("NATR", VOLATILITY, "hlc", settle=110),
    Indicator("TRANGE", VOLATILITY, "hlc"),
    Indicator("AD", VOLUME, "hlcv", note="a running total"),
    Indicator("ADOSC", VOLUME, "hlcv", settle=40),
    Indicator("OBV", VOLUME, "cv", note="a running total"),
)

CATALOGUE: Mapping[str, Indicator] = MappingProxyType({row.name: row for row in _ROWS})


def table() -> str:
    """The catalogue as a Markdown table, one line an indicator."""
    lines = [
        "| indicator | group | inputs | parameters (TA-Lib's defaults) | lookback | settle | series used, note |",
        "|---|---|---|---|---:|---:|---|",
    ]
    for row in CATALOGUE.values():
        parameters = ", ".join(f"{name} {value:g}" for name, value in row.parameters.items())
        remark = f"`{row.output}`: {row.note}" if row.output else row.note
        cells = (row.name, row.group, row.inputs, parameters, str(row.lookback), str(row.settle), remark)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
