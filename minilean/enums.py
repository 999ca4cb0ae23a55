"""LEAN's enumerations, as far as a daily equity algorithm meets them."""

import enum


class LeanEnum(enum.IntEnum):
    """An enumeration of LEAN's: a number whose text is its name."""

    def __str__(self) -> str:
        return self.name

    def __format__(self, specification: str) -> str:
        return format(self.name, specification)


class OrderType(LeanEnum):
    MARKET = 0
    MARKET_ON_OPEN = 4
    MARKET_ON_CLOSE = 5


class OrderStatus(LeanEnum):
    NEW = 0
    SUBMITTED = 1
    PARTIALLY_FILLED = 2
    FILLED = 3
    CANCELED = 5
    NONE = 6
    INVALID = 7
    CANCEL_PENDING = 8
    UPDATE_SUBMITTED = 9


class Resolution(LeanEnum):
    TICK = 0
    SECOND = 1
    MINUTE = 2
    HOUR = 3
    DAILY = 4


class DataNormalizationMode(LeanEnum):
    RAW = 0
    ADJUSTED = 1
    SPLIT_ADJUSTED = 2
    TOTAL_RETURN = 3
    FORWARD_PANAMA_CANAL = 4
    BACKWARDS_PANAMA_CANAL = 5
    BACKWARDS_RATIO = 6
    SCALED_RAW = 7


class AlgorithmMode(LeanEnum):
    LIVE = 0
    BACKTESTING = 1
    RESEARCH = 2


class DayOfWeek(LeanEnum):
    SUNDAY = 0
    MONDAY = 1
    TUESDAY = 2
    WEDNESDAY = 3
    THURSDAY = 4
    FRIDAY = 5
    SATURDAY = 6


class OrderDirection(LeanEnum):
    BUY = 0
    SELL = 1
    HOLD = 2


class DelistingType(LeanEnum):
    WARNING = 0
    DELISTED = 1


class SplitType(LeanEnum):
    WARNING = 0
    SPLIT_OCCURRED = 1


class SecurityType(LeanEnum):
    BASE = 0
    EQUITY = 1
