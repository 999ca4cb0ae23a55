"""Decimal numbers as LEAN has them.

LEAN keeps money, prices and quantities in .NET `decimal`: a 96-bit integer times 10**-scale, scale 0 to 28, rounded
half to even when a result does not fit. Python's `decimal` gives the same digits and scales for sums and products
that fit; `fit` and `divide` handle those that may not. Scale is visible: `1430.7840` and `1430.784` are equal
numbers with different texts, and the texts are part of LEAN's results.
"""

import decimal
import math
from collections.abc import Sequence
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal

EXACT = decimal.Context(prec=64, rounding=ROUND_HALF_EVEN)
"""Wide enough that no sum or product of two .NET decimals is rounded."""

ZERO = Decimal(0)
ONE = Decimal(1)
_UNITS = [Decimal(1).scaleb(-scale) for scale in range(29)]
_LARGEST = [Decimal(2**96 - 1).scaleb(-scale, EXACT) for scale in range(29)]
LARGEST = _LARGEST[0]
"""Of all .NET decimals."""
_LARGEST_DOUBLE = float(LARGEST)
_HOLDS = decimal.Context(prec=28, Emin=-1, Emax=27, clamp=1, traps=[])
"""Takes exactly the numbers of at most 28 digits and scale 0 to 28, as they are; anything else it rounds."""
_hold = _HOLDS.plus
_HELD_FLAGS = _HOLDS.flags
_ROUNDED = decimal.Rounded

_SHORT = decimal.Context(prec=15, Emin=-8, Emax=14, clamp=1, traps=[decimal.Rounded, decimal.Overflow])
"""The same for at most 15 digits and scale 0 to 22."""

_SEVEN_DIGITS = EXACT.copy()
_SEVEN_DIGITS.prec = 7

_WITHOUT_EXPONENT = EXACT.copy()
_WITHOUT_EXPONENT.Emax, _WITHOUT_EXPONENT.clamp = EXACT.prec - 1, 1
"""Writes no positive exponent."""

_QUOTIENT = EXACT.copy()
_divide = _QUOTIENT.divide
_QUOTIENT_FLAGS = _QUOTIENT.flags
_INEXACT = decimal.Inexact
_quantize = EXACT.quantize
_multiply = EXACT.multiply


def fit(x: Decimal) -> Decimal:
    """The .NET decimal for the exact result x: the largest scale up to 28 whose 96-bit integer holds it.

    Raises OverflowError where not even scale 0 does, as .NET does.
    """
    held = _hold(x)
    if _HELD_FLAGS[_ROUNDED]:
        _HOLDS.clear_flags()
        return _rounded(x)
    return held


def _rounded(x: Decimal) -> Decimal:
    magnitude = x.adjusted()
    if magnitude > 27 and x.copy_abs() > LARGEST:
        raise _too_large(x)
    scale = 28 - magnitude if magnitude > 0 else 28
    rounded = _quantize(x, _UNITS[scale])
    if rounded.copy_abs() > _LARGEST[scale]:
        rounded = _quantize(x, _UNITS[scale - 1])
    return rounded


def _too_large(x: Decimal | float) -> OverflowError:
    return OverflowError(f"{x:.6e} is too large for a decimal of LEAN, which ends at {LARGEST:.6e}")


def divide(a: Decimal, b: Decimal) -> Decimal:
    """a / b as .NET divides: as many digits as fit, no needless trailing zeros."""
    quotient = _divide(a, b)
    if _QUOTIENT_FLAGS[_INEXACT]:
        _QUOTIENT.clear_flags()
        return normalise(_rounded(quotient))
    rounded = fit(quotient)
    return rounded if rounded.same_quantum(quotient) else normalise(rounded)


def multiply(a: Decimal, b: Decimal) -> Decimal:
    """a * b, scales added, rounded only where 96 bits do not hold it."""
    return fit(_multiply(a, b))


def from_float(x: float | int | str) -> Decimal:
    """The decimal that LEAN makes of a Python number: the shortest text that reads back as x, 100000.0 as 100000."""
    return normalise(Decimal(str(x)))


def from_double(x: float) -> Decimal:
    """.NET's conversion of a double to decimal: at most 15 significant digits, no trailing zeros.

    Zero of what is no finite number. Raises OverflowError for what is too large, as .NET does.
    """
    if not math.isfinite(x):
        return ZERO
    if abs(x) >= _LARGEST_DOUBLE:
        raise _too_large(x)
    return fit(plain(Decimal(f"{x:.15g}")))


def clamped(x: float) -> Decimal:
    """LEAN's safe conversion: what is too large becomes the largest decimal.

    Raises OverflowError for what is no finite number.
    """
    if not math.isfinite(x):
        raise OverflowError(f"{x} is no decimal of LEAN")
    return from_double(x) if abs(x) < _LARGEST_DOUBLE else LARGEST.copy_sign(Decimal(x))


def to_double(x: Decimal) -> float:
    """The Python float of a .NET decimal: its low 64 and high 32 bits, each a double, added, over a power of ten."""
    try:
        return float(_SHORT.plus(x))  # integer and power are doubles: their quotient is the nearest one
    except decimal.DecimalException:
        pass
    scale = -int(x.as_tuple().exponent)
    integer = int(x.scaleb(scale, EXACT))
    high, low = divmod(abs(integer), 2**64)
    value = (float(low) + float(high) * 2.0**64) / 10.0**scale
    return -value if integer < 0 else value


def plain(x: Decimal) -> Decimal:
    """x without a positive exponent (.NET has none): 1E+3 becomes 1000."""
    return EXACT.quantize(x, ONE) if x.adjusted() > 0 and "E+" in str(x) else x


def normalise(x: Decimal) -> Decimal:
    """x without trailing zeros."""
    return x.normalize(_WITHOUT_EXPONENT) if x else ZERO


def round_half_even(x: Decimal, places: int) -> Decimal:
    """Round to places; as in .NET never adds digits: 2.5 stays 2.5."""
    rounded = _quantize(x, _UNITS[places])
    if rounded != x:
        return rounded
    return x if -int(x.as_tuple().exponent) <= places else rounded


def round_half_up(x: Decimal, places: int) -> Decimal:
    """x with exactly that many places, ties away from zero: the rounding of LEAN's money texts."""
    return x.quantize(_UNITS[places], ROUND_HALF_UP, EXACT)


def smart(x: Decimal) -> Decimal:
    """LEAN's SmartRounding: above 1000 four places, else (all negatives too) seven significant digits.

    Trailing zeros go before the rounding; those that it leaves stay above 1000 (101988.16704 -> 101988.1670).
    """
    if not x:
        return ZERO
    if x <= 1000 and x.is_finite():
        return plain(x.normalize(_SEVEN_DIGITS))
    rounded = EXACT.quantize(x, _UNITS[4])
    return rounded if rounded != x else normalise(x)


def in_units(amounts: Sequence[Decimal]) -> tuple[list[int], int]:
    """The amounts as whole numbers of 10**-places, and the places: those of the one that has most."""
    places = max((-int(x.as_tuple().exponent) for x in amounts), default=0)
    return [int(x.scaleb(places, EXACT)) for x in amounts], places


def truncate(x: Decimal) -> int:
    """Toward zero."""
    return int(x.to_integral_value(ROUND_DOWN))


def text(x: Decimal) -> str:
    """Plain notation with the number's own scale; a negative zero loses its sign."""
    written = str(x)
    return written if x and "E" not in written else format(x if x else abs(x), "f")


def four_places(x: Decimal) -> str:
    """Text rounded half to even to four places, as most statistics are written."""
    return text(round_half_even(x, 4))


def number(x: Decimal | int) -> str:
    """JSON number: the decimal's text, `.0` appended when it has no point."""
    written = str(x)
    if not x or "E" in written:
        written = text(Decimal(x))
    return written if "." in written else written + ".0"


def shortest(x: Decimal) -> str:
    """JSON number without needless zeros: that of `normalise(x)`."""
    if not x:
        return "0.0"
    written = str(x)
    if "E" in written:
        return number(normalise(x))
    if "." not in written:
        return written + ".0"
    written = written.rstrip("0")
    return written + "0" if written.endswith(".") else written
