"""LEAN's enumerations, as far as a daily equity algorithm meets them."""

import enum
from typing import TYPE_CHECKING, Any

from minilean.errors import NotInHost
from minilean.members import hint, snake_case


class _Spellings(enum.EnumMeta):
    """Lets `Resolution.Daily` stand for `Resolution.DAILY`."""

    if not TYPE_CHECKING:

        def __getattr__(cls, name: str) -> Any:
            member = cls._member_map_.get(name, cls._member_map_.get(snake_case(name).upper()))
            if member is None:
                said = f"type object '{cls.__name__}' has no attribute '{name}'"
                raise AttributeError(said + hint(tuple(cls._member_map_), name))
            return member


class LeanEnum(enum.IntEnum, metaclass=_Spellings):
    """An enumeration of LEAN's: a number whose text is its name."""

    def __str__(self) -> str:
        return self.name

    def __format__(self, specification: str) -> str:
        return format(self.name, specification)

    @property
    def net_name(self) -> str:
        """As .NET writes it in its own texts: `PartiallyFilled`."""
        return "".join(part.capitalize() for part in self.name.split("_"))

    def get_type(self) -> Any:
        raise NotInHost("get_type()")


class OrderType(LeanEnum):
    MARKET = 0
    LIMIT = 1
    STOP_MARKET = 2
    STOP_LIMIT = 3
    MARKET_ON_OPEN = 4
    MARKET_ON_CLOSE = 5
    OPTION_EXERCISE = 6
    LIMIT_IF_TOUCHED = 7
    COMBO_MARKET = 8
    COMBO_LIMIT = 9
    COMBO_LEG_LIMIT = 10
    TRAILING_STOP = 11


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
    OPTIMIZATION = 1
    BACKTESTING = 2
    RESEARCH = 3


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
    OPTION = 2
    COMMODITY = 3
    FOREX = 4
    FUTURE = 5
    CFD = 6
    CRYPTO = 7
    FUTURE_OPTION = 8
    INDEX = 9
    INDEX_OPTION = 10
    CRYPTO_FUTURE = 11
