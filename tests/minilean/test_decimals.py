""".NET's decimals against exact arithmetic: every result is recomputed with fractions and integers."""

from decimal import Decimal, InvalidOperation
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minilean.decimals import (
    clamped,
    divide,
    fit,
    from_double,
    from_float,
    multiply,
    normalise,
    number,
    plain,
    round_half_even,
    round_half_up,
    shortest,
    smart,
    text,
    to_double,
    truncate,
)

LIMIT = 2**96


def decimal(integer: int, scale: int) -> Decimal:
    """integer * 10**-scale, trailing zeros kept."""
    return Decimal((int(integer < 0), tuple(map(int, str(abs(integer)))), -scale))


def parts(x: Decimal) -> tuple[int, int]:
    """(integer, scale) of a decimal."""
    sign, digits, exponent = x.as_tuple()
    return (-1) ** sign * int("".join(map(str, digits))), -int(exponent)


def half_even(x: Fraction) -> int:
    return round(x)  # Python rounds fractions half to even


def held(exact: Fraction, scale: int) -> tuple[int, int]:
    """The .NET decimal of an exact value that wants that scale: no more than 28, and as many digits as 96 bits hold."""
    for places in range(min(scale, 28), -1, -1):
        integer = half_even(exact * 10**places)
        if abs(integer) < LIMIT:
            return integer, places
    raise OverflowError


NET = st.builds(decimal, st.integers(1 - LIMIT, LIMIT - 1), st.integers(0, 28))
MONEY = st.builds(decimal, st.integers(-(10**15), 10**15), st.integers(0, 9))
WIDE = st.builds(decimal, st.integers(-(10**56), 10**56), st.integers(0, 56))
"""As wide as a product of two .NET decimals."""


@given(NET)
def test_a_net_decimal_fits_as_it_is(x):
    assert parts(fit(x)) == parts(x)


@given(WIDE)
@example(Decimal("79228162514264337593543950335"))
@example(Decimal("7.92281625142643375935439503355"))  # rounds up past 96 bits, so it loses a digit
@example(Decimal("0.00000000000000000000000000005"))  # half of the smallest: even is zero
@example(Decimal("1234567890123456789012345678.25"))
@example(Decimal("1234567890123456789012345678.35"))
def test_a_wide_result_is_rounded_half_to_even_to_the_digits_that_96_bits_hold(x):
    exact = Fraction(x)
    try:
        expected = held(exact, parts(x)[1])
    except OverflowError:
        with pytest.raises(OverflowError, match="too large for a decimal of LEAN"):
            fit(x)
        return
    assert parts(fit(x)) == expected


@pytest.mark.parametrize(("x", "expected"), [("1E+3", "1000"), ("1E+30", None), ("0E+5", "0"), ("0E-40", "0E-28")])
def test_there_are_no_positive_exponents_and_none_below_the_least(x, expected):
    if expected is None:
        with pytest.raises(OverflowError):
            fit(Decimal(x))
    else:
        assert str(fit(Decimal(x))) == expected


@given(NET, NET)
def test_a_product_adds_the_scales_and_is_rounded_once(x, y):
    (a, m), (b, n) = parts(x), parts(y)
    exact = Fraction(a * b, 10 ** (m + n))
    if abs(half_even(exact)) < LIMIT:
        assert parts(multiply(x, y)) == held(exact, m + n)
    else:
        with pytest.raises(OverflowError):
            multiply(x, y)


@given(MONEY, MONEY)
def test_a_sum_has_the_larger_scale(x, y):
    (a, m), (b, n) = parts(x), parts(y)
    scale = max(m, n)
    assert parts(fit(x + y)) == (a * 10 ** (scale - m) + b * 10 ** (scale - n), scale)


def net_quotient(x: Decimal, y: Decimal) -> tuple[int, int]:
    """Long division as .NET does it: the natural scale where that is exact, else digits without trailing zeros."""
    (a, m), (b, n) = parts(x), parts(y)
    natural = max(m - n, 0)
    exact = Fraction(a * 10**n, b * 10**m)
    if (exact * 10**natural).denominator == 1 and abs(exact * 10**natural) < LIMIT:
        return int(exact * 10**natural), natural
    integer, scale = held(exact, 28)
    while scale and integer % 10 == 0:
        integer, scale = integer // 10, scale - 1
    return integer, scale


@given(MONEY, MONEY.filter(bool))
@example(Decimal("1.00"), Decimal("8"))
@example(Decimal("1.00"), Decimal("1"))
@example(Decimal("20"), Decimal("0.5"))
@example(Decimal("2"), Decimal("3"))
@example(Decimal("1"), Decimal("7.9999999999999999999999999999"))  # 0.125 and a bit beyond 28 places
@example(Decimal("0.00"), Decimal("5"))
def test_a_quotient_has_as_many_digits_as_fit_and_no_needless_zeros(x, y):
    assert parts(divide(x, y)) == net_quotient(x, y)


@given(NET, st.integers(0, 10))
def test_rounding_goes_half_to_even_and_never_adds_digits(x, places):
    integer, scale = parts(x)
    if scale <= places:
        assert parts(round_half_even(x, places)) == (integer, scale)
    else:
        assert parts(round_half_even(x, places)) == (half_even(Fraction(integer, 10 ** (scale - places))), places)


@given(MONEY, st.integers(0, 6))
def test_rounding_half_up_goes_away_from_zero_and_has_all_places(x, places):
    exact = abs(Fraction(x)) * 10**places
    magnitude = int(exact + Fraction(1, 2))
    assert parts(round_half_up(x, places)) == (magnitude if x >= 0 else -magnitude, places)


def places_before_the_point(x: Fraction) -> int:
    """Decimal digits of |x| before its point, negative for leading zeros behind it."""
    count = 0
    while abs(x) >= Fraction(10) ** count:
        count += 1
    while abs(x) < Fraction(10) ** (count - 1):
        count -= 1
    return count


@given(st.builds(decimal, st.integers(-(10**18), 10**18), st.integers(0, 20)))
@example(Decimal("1000"))
@example(Decimal("1000.00005"))
@example(Decimal("999.99995"))
@example(Decimal("0.99999995"))
@example(Decimal("-123456.75"))
def test_smart_rounding_keeps_four_places_above_1000_and_seven_digits_otherwise(x):
    exact = Fraction(x)
    if exact > 1000:
        assert Fraction(smart(x)) == Fraction(half_even(exact * 10**4), 10**4)
    elif exact:
        unit = Fraction(10) ** (places_before_the_point(exact) - 7)
        assert Fraction(smart(x)) == half_even(exact / unit) * unit
        assert parts(smart(x)) == parts(normalise(smart(x)))
    else:
        assert parts(smart(x)) == (0, 0)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ("101988.16704", "101988.1670"),  # zeros that the rounding leaves stay
        ("101988.167000", "101988.167"),  # those of before go
        ("1398.1200", "1398.12"),
        ("143.07840", "143.0784"),
        ("40.294617329", "40.29462"),
        ("0.000012345675", "0.00001234568"),
        ("1000", "1000"),
        ("-214175.22", "-214175.2"),
        ("2.5", "2.5"),
    ],
)
def test_smart_rounding_leaves_these_texts(x, expected):
    assert text(smart(Decimal(x))) == expected


@given(NET)
def test_normalising_changes_no_value_and_leaves_no_trailing_zero(x):
    integer, scale = parts(normalise(x))
    assert Fraction(integer, 10**scale) == Fraction(x)
    assert scale == 0 or integer % 10
    assert scale >= 0


@given(NET)
def test_truncation_goes_toward_zero(x):
    assert truncate(x) == (abs(Fraction(x)).__floor__() if x >= 0 else -abs(Fraction(x)).__floor__())


@given(st.floats(-1e15, 1e15))
def test_a_python_number_becomes_the_decimal_of_its_shortest_text(x):
    found = from_float(x)
    assert float(found) == x
    assert len(str(abs(parts(normalise(found))[0]))) <= 17


@pytest.mark.parametrize(
    ("x", "expected"), [(100000.0, "100000"), (0.1, "0.1"), (1e-7, "0.0000001"), (1e15, "1000000000000000"), (0.0, "0")]
)
def test_a_python_number_has_no_exponent_and_no_trailing_zero(x, expected):
    assert text(from_float(x)) == expected


@given(st.builds(decimal, st.integers(-(2**53), 2**53), st.integers(0, 22)))
def test_a_decimal_with_an_integer_that_a_double_holds_becomes_the_nearest_double(x):
    # both the integer and the power of ten are exact, so the one division is rounded correctly
    assert to_double(x) == float(x)


def test_a_double_comes_of_the_rounded_integer_not_of_the_exact_value():
    # 10**17 + 9 is no double; its neighbour is 10**17 + 16. The exact quotient is nearer to another double.
    x = decimal(10**17 + 9, 3)
    assert to_double(x) == float(10**17 + 9) / 1000.0


@pytest.mark.parametrize(
    ("x", "shown", "in_json"),
    [
        ("1430.7840", "1430.7840", "1430.7840"),
        ("412", "412", "412.0"),
        ("0.00000010", "0.00000010", "0.00000010"),
        ("-0.0000", "0.0000", "0.0000"),
        ("1E+3", "1000", "1000.0"),
    ],
)
def test_numbers_print_plainly_with_their_own_scale(x, shown, in_json):
    value = plain(Decimal(x))
    assert text(value) == shown
    assert number(value) == in_json


def test_an_integer_prints_with_a_point_in_json():
    assert number(-5) == "-5.0"


@given(NET)
@example(Decimal("0.00"))
@example(Decimal("-0.0"))
@example(Decimal("1E+3"))
@example(Decimal("0.00000010"))
def test_the_shortest_number_is_that_of_the_normalised_decimal(x):
    assert shortest(x) == number(normalise(x))


@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_not_rounded(written):
    with pytest.raises(InvalidOperation):
        smart(Decimal(written))


@pytest.mark.parametrize(
    ("double", "written"),
    [
        (0.1, "0.1"),
        (0.0, "0"),
        (1 / 3, "0.333333333333333"),
        (123456789.123456789, "123456789.123457"),
        (1e-20, "0.00000000000000000001"),
        (2.5e20, "250000000000000000000"),
        (float("nan"), "0"),
    ],
)
def test_a_double_becomes_a_decimal_of_fifteen_digits_without_trailing_zeros(double, written):
    assert format(from_double(double), "f") == written


def test_what_is_too_large_becomes_the_largest_decimal_where_lean_converts_safely():
    largest = Decimal("79228162514264337593543950335")
    assert (clamped(1e300), clamped(-8e28), clamped(1e28)) == (largest, largest.copy_negate(), Decimal(10) ** 28)
    for double in (1e29, -1e300):
        with pytest.raises(OverflowError, match="is too large for a decimal of LEAN"):
            from_double(double)
    for double in (float("nan"), float("inf")):
        with pytest.raises(OverflowError, match="is no decimal of LEAN"):
            clamped(double)
