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

from minilean import algorithm as api
from minilean.orders import OrderStatus, OrderType
from minilean.symbols import Symbol

_CLASSES: tuple[Any, ...] = (
    api.AlgorithmMode,
    api.DataNormalizationMode,
    api.DayOfWeek,
    api.Delisting,
    api.DelistingType,
    api.Dividend,
    api.ETFConstituentUniverse,
    api.Market,
    api.OrderDirection,
    api.OrderTicket,
    api.PortfolioTarget,
    api.QCAlgorithm,
    api.Resolution,
    api.SecurityChanges,
    api.SecurityType,
    api.Slice,
    api.Split,
    api.TradeBar,
    OrderStatus,
    OrderType,
    Symbol,
)


def install() -> None:
    """Make `AlgorithmImports` importable in this process."""
    module = types.ModuleType("AlgorithmImports", __doc__)
    names: dict[str, Any] = {kind.__name__: kind for kind in _CLASSES}
    names |= {"Universe": api.UniverseNames, "OrderEvent": api.OrderEventView}
    names |= {"np": np, "pd": pd, "math": math, "json": json}
    names |= {"date": date, "datetime": datetime, "time": time, "timedelta": timedelta}
    names |= {name: getattr(typing, name) for name in typing.__all__ if name != "Text"}
    vars(module).update(names)
    module.__all__ = list(names)  # type: ignore[attr-defined]
    sys.modules["AlgorithmImports"] = module
