"""Security identifiers and symbols: LEAN's texts in both directions."""

from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilean.symbols import SYMBOLS, SecurityIdentifier, Symbol


@pytest.mark.parametrize(
    ("text", "ticker", "first"),
    [
        # base 36 of the days since 1899-12-30 times 10**14 plus 101, as LEAN's own data files have them
        ("SPY R735QTJ8XC9X", "SPY", date(1998, 1, 2)),
        ("A RPTMYV3VC57P", "A", date(1999, 11, 18)),
        ("FB V6OIPNZEM8V9", "FB", date(2012, 5, 18)),
        ("AAL VM9RIYHM8ACL", "AAL", date(2013, 12, 9)),
        ("DIVD V2YLWY8G7N1H", "DIVD", date(2012, 1, 3)),
    ],
)
def test_an_identifier_is_its_first_ticker_and_its_first_date(text, ticker, first):
    assert str(SecurityIdentifier.generate_equity(ticker, first)) == text
    found = SecurityIdentifier.parse(text)
    assert (found.symbol, found.date) == (ticker, datetime(first.year, first.month, first.day))


TICKERS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ.0123456789", min_size=1, max_size=6).filter(lambda text: text[0] != ".")


@given(TICKERS, st.dates(date(1900, 1, 1), date(2100, 1, 1)))
def test_a_text_reads_back_as_the_identifier_it_was_made_of(ticker, first):
    sid = SecurityIdentifier.generate_equity(ticker, first)
    assert SecurityIdentifier.parse(str(sid)) == sid


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SPY",
        " R735QTJ8XC9X",
        "SPY ",
        "SPY R735QTJ8XC9Y",  # not a US equity
        "SPY r735qtj8xc9x",
        "SPY R735_QTJ8XC9X",
        "SPY +R735QTJ8XC9X",
        "SPY -R735QTJ8XC9X",
        "SPY R735QTJ8XC9!",
        "SPY ZZZZZZZZZZZZZZZZZZZZZZZZ",
    ],
)
def test_a_text_that_names_no_us_equity_is_refused(text):
    with pytest.raises(ValueError, match="is not the identifier of a US equity"):
        SecurityIdentifier.parse(text)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_with_a_value_error(text):
    try:
        sid = SecurityIdentifier.parse(text)
    except ValueError:
        return
    assert SecurityIdentifier.parse(str(sid)) == sid


def test_symbols_are_equal_and_hash_by_identifier_not_by_ticker():
    sid = SecurityIdentifier.parse("RNAM V2YLWY8G7N1H")
    old, new = Symbol(sid, "RNAM"), Symbol(sid, "RNMD")
    assert old == new
    assert len({old, new}) == 1
    assert old != Symbol(SecurityIdentifier.parse("RNMD V2YLWY8G7N1H"), "RNAM")


def test_symbols_sort_by_ticker():
    sids = ["MSFT R735QTJ8XC9X", "A RPTMYV3VC57P", "AAPL R735QTJ8XC9X"]
    symbols = [Symbol(SecurityIdentifier.parse(sid), ticker) for sid, ticker in zip(sids, "BCA", strict=True)]
    assert [symbol.value for symbol in sorted(symbols)] == ["A", "B", "C"]


def test_a_symbol_is_and_prints_the_ticker_that_a_security_was_added_by():
    symbol = Symbol(SecurityIdentifier.parse("SPY R735QTJ8XC9X"), "SPY")
    SYMBOLS.start(lambda ticker, day: symbol)
    assert str(symbol) == "SPY R735QTJ8XC9X"
    assert symbol != "SPY"
    SYMBOLS.add(symbol)
    assert str(symbol) == "SPY"
    assert symbol == "SPY"
    SYMBOLS.start(lambda ticker, day: symbol)
    assert symbol != "SPY"
