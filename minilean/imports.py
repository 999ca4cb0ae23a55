"""What `from AlgorithmImports import *` brings into a main.py: LEAN's names, and the modules LEAN adds to them."""

import json
import math
import os
import sys
import types
import typing
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np
import pandas as pd

from minilean import algorithm, enums, frames, views
from minilean.history import TradeBar
from minilean.members import IMPORTS
from minilean.objectstore import ObjectStore
from minilean.schedule import DateRules, ScheduledEvent, TimeRules
from minilean.symbols import SecurityIdentifier, Symbol
from minilean.system import ArgumentException, InvalidOperationException

_CLASSES: tuple[Any, ...] = (
    ArgumentException,
    DateRules,
    InvalidOperationException,
    ObjectStore,
    ScheduledEvent,
    SecurityIdentifier,
    Symbol,
    TimeRules,
    TradeBar,
    algorithm.AlgorithmSettings,
    algorithm.Market,
    algorithm.PortfolioTarget,
    algorithm.QCAlgorithm,
    algorithm.UniverseNames,
    algorithm.UniverseSettings,
    enums.AlgorithmMode,
    enums.DataNormalizationMode,
    enums.DayOfWeek,
    enums.DelistingType,
    enums.OrderDirection,
    enums.OrderStatus,
    enums.OrderType,
    enums.Resolution,
    enums.SecurityType,
    enums.SplitType,
    views.Cash,
    views.CashAmount,
    views.CashBook,
    views.Delisting,
    views.Delistings,
    views.Dividend,
    views.Dividends,
    views.ETFConstituentUniverse,
    views.EquityExchange,
    views.HoldingView,
    views.OrderEventView,
    views.OrderFee,
    views.OrderTicket,
    views.SecurityChanges,
    views.SecurityExchangeHours,
    views.SecurityManager,
    views.SecurityPortfolioManager,
    views.SecurityTransactionManager,
    views.SecurityView,
    views.Slice,
    views.Split,
    views.Splits,
    views.SymbolChangedEvent,
    views.SymbolChangedEvents,
    views.TimeZones,
    views.TradeBars,
    views.UniverseManager,
)
_BASES = {
    "Order": views.OrderView,
    "QCAlgorithmFramework": algorithm.QCAlgorithm,
    "Security": views.SecurityView,
    "SecurityHolding": views.HoldingView,
}
"""LEAN's names of base classes, for the annotations of an algorithm."""


def install() -> None:
    """Make `AlgorithmImports` importable in this process, and pandas find symbols by their tickers."""
    module = types.ModuleType(IMPORTS, __doc__)
    names: dict[str, Any] = {kind.__name__: kind for kind in _CLASSES} | _BASES
    names |= {"np": np, "pd": pd, "math": math, "json": json, "os": os, "sys": sys}
    names |= {"date": date, "datetime": datetime, "time": time, "timedelta": timedelta}
    names |= {name: getattr(typing, name) for name in typing.__all__ if name != "Text"}
    vars(module).update(names)
    module.__all__ = list(names)  # type: ignore[attr-defined]
    sys.modules[IMPORTS] = module
    frames.install()
