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

from minilean import algorithm, enums, frames
from minilean.history import TradeBar
from minilean.members import IMPORTS
from minilean.objectstore import ObjectStore
from minilean.schedule import DateRules, ScheduledEvent, TimeRules
from minilean.symbols import SecurityIdentifier, Symbol
from minilean.system import ArgumentException, InvalidOperationException
from minilean.views import calendars, data, orders, securities, universes

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
    securities.Cash,
    orders.CashAmount,
    securities.CashBook,
    data.Delisting,
    data.Delistings,
    data.Dividend,
    data.Dividends,
    universes.ETFConstituentUniverse,
    calendars.EquityExchange,
    securities.HoldingView,
    orders.OrderEventView,
    orders.OrderFee,
    orders.OrderTicket,
    universes.SecurityChanges,
    calendars.SecurityExchangeHours,
    securities.SecurityManager,
    securities.SecurityPortfolioManager,
    orders.SecurityTransactionManager,
    securities.SecurityView,
    data.Slice,
    data.Split,
    data.Splits,
    data.SymbolChangedEvent,
    data.SymbolChangedEvents,
    calendars.TimeZones,
    data.TradeBars,
    universes.UniverseManager,
)
_BASES = {
    "Order": orders.OrderView,
    "QCAlgorithmFramework": algorithm.QCAlgorithm,
    "Security": securities.SecurityView,
    "SecurityHolding": securities.HoldingView,
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
