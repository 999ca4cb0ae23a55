"""What `from AlgorithmImports import *` brings into a main.py: LEAN's names, and the modules LEAN adds to them."""

import json
import math
import sys
import types
import typing
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np
import pandas as pd

from minilean import enums, views
from minilean.algorithm import Market, PortfolioTarget, QCAlgorithm, UniverseNames
from minilean.history import TradeBar
from minilean.symbols import Symbol

_CLASSES: tuple[Any, ...] = (
    enums.AlgorithmMode,
    enums.DataNormalizationMode,
    enums.DayOfWeek,
    enums.DelistingType,
    enums.OrderDirection,
    enums.OrderStatus,
    enums.OrderType,
    enums.Resolution,
    enums.SecurityType,
    Market,
    PortfolioTarget,
    QCAlgorithm,
    Symbol,
    TradeBar,
    views.Delisting,
    views.Dividend,
    views.ETFConstituentUniverse,
    views.OrderTicket,
    views.SecurityChanges,
    views.Slice,
    views.Split,
)


def install() -> None:
    """Make `AlgorithmImports` importable in this process."""
    module = types.ModuleType("AlgorithmImports", __doc__)
    names: dict[str, Any] = {kind.__name__: kind for kind in _CLASSES}
    names |= {"Universe": UniverseNames, "OrderEvent": views.OrderEventView}
    names |= {"np": np, "pd": pd, "math": math, "json": json}
    names |= {"date": date, "datetime": datetime, "time": time, "timedelta": timedelta}
    names |= {name: getattr(typing, name) for name in typing.__all__ if name != "Text"}
    vars(module).update(names)
    module.__all__ = list(names)  # type: ignore[attr-defined]
    sys.modules["AlgorithmImports"] = module
