"""File by file: what LEAN reads past is read past, everything else is refused with the file, the line and a remedy."""

import io
import re
import zipfile
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minilean.errors import DataError
from minilean.formats import (
    FactorRow,
    read_bars,
    read_constituents,
    read_factor_file,
    read_interest_rates,
    read_map_file,
)

DAY = date(2013, 6, 3)


@pytest.fixture
def csv(tmp_path: Path) -> Any:
    """Writes a csv file of that content; texts as UTF-8."""

    def write(content: str | bytes, name: str = "abc.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def zipped(tmp_path: Path) -> Any:
    """Writes a zip file with one csv file of that content in it."""

    def write(content: str | bytes, name: str = "abc.zip") -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("abc.csv", content)
        return path

    return write


def refused(reader: Any, path: Path, line: int | None = None) -> str:
    """The sentence with which a reader refuses a file; it names the file, the line and what to do."""
    with pytest.raises(DataError) as caught:
        reader(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}")
    assert "\n" not in sentence
    assert "get it" in sentence or "get or make the file again" in sentence
    if line is not None:
        assert f", line {line}: " in sentence
    return sentence


# --- map files


@pytest.mark.parametrize(
    "content",
    [
        "20130603,abc,N\n20130607,abc,N\n20501231,xyz,N\n",
        "\ufeff20130603,abc,N\r\n20130607,abc,N\r\n20501231,xyz,N",
        "20130603,ABC\r\r20130607,abc\r20501231,xyz\r",
        "20501231,xyz,N\n20130607,abc,N\n\n20130603,abc,N\n",  # out of order
        "20130603,abc,N\n20130603,abc,N\n20130607,abc,N\n20130607,other,N\n20501231,xyz,N,2\n",  # repeated
        " 20130603 , abc \n20130607,abc\n20501231,xyz\n",
    ],
)
def test_a_map_file_is_read_whatever_its_order_line_ends_and_repetitions(csv, content):
    file = read_map_file(csv(content))
    assert file.segments() == (("abc", DAY, date(2013, 6, 7)), ("xyz", date(2013, 6, 8), date(2050, 12, 31)))
    assert (file.permanent_ticker, file.first_date, file.delisting_date) == ("abc", DAY, None)


def test_a_ticker_of_the_first_day_alone_is_a_change_too(csv):
    file = read_map_file(csv("20130603,abc,N\n20501231,xyz,N\n"))
    assert list(file.renames()) == [(DAY, "abc", "xyz")]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("20130603,abc,N\n2013060,abc,N\n", 2),
        ("20130603,abc,N\n20130631,abc,N\n", 2),
        ("20130603\n", 1),
        ("20130603,,N\n", 1),
        ("\n\nabc,20130603,N\n", 3),
        ("20130603,../abc,N\n", 1),
        ("18990603,abc,N\n", 1),
        ("20130603;abc;N\n", 1),
        ("\x0020130603,abc", 1),
        ("\uff12\uff10\uff11\uff13\uff10\uff16\uff10\uff13,abc", 1),  # digits of another script
    ],
)
def test_a_map_file_with_a_row_that_is_none_is_refused(csv, content, line):
    assert "is not date,ticker,exchange" in refused(read_map_file, csv(content), line)


@pytest.mark.parametrize("content", ["", "\n \n", b"\xff\xfe2\x000\x00", b"\x80\x81"])
def test_a_map_file_without_rows_or_in_another_encoding_is_refused(csv, content):
    refused(read_map_file, csv(content))


# --- factor files


@pytest.mark.parametrize(
    "content",
    [
        "20130603,0.98,0.5,100\n20501231,1,1,0\n",
        "\ufeff20130603,0.98,0.5,100\r\n20501231,1,1\r\n",
        "20501231,1,1,0\n\n20130603,0.98,0.5,100\n",  # out of order
        "20130603,0.98,0.5,100\n20130603,0.7,0.7,7\n20501231,1,1,0,more,cells\n",  # repeated: the first stays
        "20120603,inf,1,1\n20120604,1.6e+6,1,1\n20120605,0,1,1\n20120606,1,0,1\n20130603,0.98,0.5,100\n20501231,1,1,0\n",
    ],
)
def test_a_factor_file_is_read_without_the_rows_that_lean_leaves_out(csv, content):
    first, last = read_factor_file(csv(content))
    assert first == FactorRow(DAY, Decimal("0.98"), Decimal("0.5"), Decimal(100))
    assert (last.day, last.price_factor, last.reference_price) == (date(2050, 12, 31), 1, 0)


def test_factors_keep_the_places_they_are_written_with(csv):
    (row,) = read_factor_file(csv("20130603,0.9800,1e-05,1.50\n"))
    assert [str(x) for x in (row.price_factor, row.split_factor, row.reference_price)] == ["0.9800", "0.00001", "1.50"]


def test_a_missing_factor_file_has_no_rows(tmp_path):
    assert read_factor_file(tmp_path / "none.csv") == ()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("20130603,1,1,1\n20130604,abc,1,1\n", 2),
        ("20130603,1\n", 1),
        ("20130603\n", 1),
        ("20130603,,1,1\n", 1),
        ("20130603,nan,1,1\n", 1),
        ("20130603,-1,1,1\n", 1),
        ("20130603,-1,-1,1\n", 1),
        ("20130603,1,1,x\n", 1),
        ("20130603,1_0,1,1\n", 1),
        ("20130603,999999999999,1,1\n", 1),
        ("20130603,1e-20,1,1\n", 1),
        ("20130603,1e99,1,1\n", 1),
        ("20130603,1,0.\n20130", 2),  # cut off
        ("201306031,1,1,1\n", 1),
    ],
)
def test_a_factor_file_with_a_row_that_is_none_is_refused(csv, content, line):
    assert "is not date,price factor,split factor" in refused(read_factor_file, csv(content), line)


# --- constituents

ROW = "AAA,AAA VCY032R250MD,20130531,0.25,1000,5000\n"


@pytest.mark.parametrize("content", [ROW, "\ufeff" + ROW.replace("\n", "\r\n\r\n"), ROW[:-1], ROW[:-1] + ",more\n"])
def test_constituents_are_read_whatever_the_line_ends(csv, content):
    (row,) = read_constituents(csv(content))
    assert (row.symbol.value, row.symbol.sid) == ("AAA", "AAA VCY032R250MD")
    assert (row.weight, row.shares_held, row.market_value) == (Decimal("0.25"), 1000, 5000)
    assert row.last_update == datetime(2013, 5, 31)


@pytest.mark.parametrize("text", ["", "yesterday", "2013-05-31", "20130531 00:00"])
def test_a_last_update_that_is_no_date_is_none(csv, text):
    (row,) = read_constituents(csv(f"AAA,AAA VCY032R250MD,{text},,,\n"))
    assert (row.last_update, row.weight, row.shares_held, row.market_value) == (None, None, None, None)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (ROW + "BBB,BBB VCY032R2", 2),  # half written
        (ROW + "BBB,BBB VCY032R250MD,20130531,0.2", 2),
        (ROW + "BBB,BBB VCY032R250MD,20130531,0.25,1000\n", 2),
        ("AAA\n", 1),
        (",AAA VCY032R250MD,20130531,0.25,1000,\n", 1),
        ("AAA,AAA,20130531,0.25,1000,\n", 1),
        ("AAA,AAA vcy032r250md,20130531,0.25,1000,\n", 1),
        ("AAA,AAA VCY032R250MD,20130531,25%,1000,\n", 1),
        ("AAA,AAA VCY032R250MD,20130531,nan,1000,\n", 1),
        ("AAA,AAA VCY032R250MD,20130531,0.25,1e30,\n", 1),
        ("ticker,sid,date,weight,shares,value\n" + ROW, 1),
    ],
)
def test_constituents_with_a_row_that_is_none_are_refused(csv, content, line):
    assert "is not ticker,SID,date,weight,shares,value" in refused(read_constituents, csv(content), line)


@pytest.mark.parametrize(
    "rows",
    [
        [ROW.strip(), "BRK.B,BRK VCY032R250MD,20130531,1,0.5,"],
        ["AAA,AAA VCY032R250MD,,,,", "AAA,AAA VCY032R250MD,20130631,0.0100,12345678901234567890,007"],
    ],
)
def test_a_list_of_usual_rows_reads_as_each_does_among_unusual_ones(csv, rows):
    usual = read_constituents(csv("\n".join(rows)))
    found = read_constituents(csv("\n".join([*(f" {row} " for row in rows), "ZZZ,ZZZ VCY032R250MD,x,-1,1e3,+.5"])))

    def shown(row: Any) -> list[str]:
        return [str(x) for x in (row.symbol, row.last_update, row.weight, row.shares_held, row.market_value)]

    assert [shown(row) for row in usual] == [shown(row) for row in found[:-1]]
    assert shown(found[-1])[1:] == ["None", "-1", "1000", "0.5"]


def test_factors_of_usual_rows_read_as_each_does_among_unusual_ones(csv):
    rows = ["20130603,0.9800,0.5,100", "20120603,1,1.000,007.50", "20130603,1,1,1", "20501231,1,1,0"]
    usual = read_factor_file(csv("\n".join(rows)))
    found = read_factor_file(csv("\n\n".join([*rows, "20130604,0,1,1"])))
    assert [repr(row) for row in usual] == [repr(row) for row in found]
    assert len(usual) == 3


@pytest.mark.parametrize("row", ["20130631,1,1,1", "20130605,999999999,1,1", "20130605,0.000001,0.0000001,1"])
def test_factors_that_look_usual_are_refused_all_the_same(csv, row):
    refused(read_factor_file, csv(f"20130603,1,1,1\n{row}\n20501231,1,1,0\n"), 2)


# --- interest rates


def test_interest_rates_come_by_day_and_lines_without_a_rate_are_read_past(csv):
    content = "DATE,rate\r\n2014-06-20,1.00\r\n2010-02-19,0.75\r\n2015-03-20,.\n".replace(",.", ",")
    assert read_interest_rates(csv(content)) == [
        (date(2010, 2, 19), Decimal("0.0075")),
        (date(2014, 6, 20), Decimal("0.01")),
    ]


@pytest.mark.parametrize("row", ["20140620,1.00", "2014-06-20,one", "2014-06-31,1.00", "2014-06-20,nan"])
def test_interest_rates_with_a_row_that_is_none_are_refused(csv, row):
    assert "is not date,rate in percent" in refused(read_interest_rates, csv(f"DATE,rate\n{row}\n"), 2)


# --- bars

BARS = "20130603 00:00,10,12,9,11,100\n20130604 00:00,11,13,10,12,0\n"
READ = [[DAY.toordinal(), 10, 12, 9, 11, 100], [DAY.toordinal() + 1, 11, 13, 10, 12, 0]]


@pytest.mark.parametrize(
    "content",
    [
        BARS,
        BARS[:-1],
        "\ufeff" + BARS.replace("\n", "\r\n"),
        BARS.replace("\n", "\r"),
        "\n" + BARS.replace("\n", "\n\n"),
        BARS.replace("100", "100.0").replace(",10,", ",10.00,"),  # whole numbers all the same
        BARS + "20130604 00:00,9,9,9,9,9\n",  # repeats a day
        BARS + "20130531 00:00,9,9,9,9,9\n20130603 00:00,9,9,9,9,9\n",  # goes back in time
    ],
)
def test_bars_are_read_whatever_the_line_ends_without_those_that_are_not_later(zipped, content):
    bars = read_bars(zipped(content))
    assert bars is not None
    assert bars.tolist() == READ


@pytest.mark.parametrize("with_hours", [False, True])
@pytest.mark.parametrize("mark", ["\ufeff", ""])
@pytest.mark.parametrize("end", ["\r\n", "\n\n", "\n"])
@pytest.mark.parametrize("last", ["", "\n"])
def test_a_file_with_marks_and_other_line_ends_gives_the_bars_of_a_plain_one(zipped, with_hours, mark, end, last):
    days = [date(2013, 1, 1) + timedelta(days=at) for at in range(300)]
    volumes = [10**at % 7**19 for at in range(300)]
    lines = [f"{d:%Y%m%d} {at % 24:02}:00,{at + 9},{at + 99},1,{at + 50},{volumes[at]}" for at, d in enumerate(days)]
    plain = read_bars(zipped("\n".join(lines)), with_hours)
    found = read_bars(zipped(mark + end.join(lines) + last, "other.zip"), with_hours)
    assert plain is not None and len(plain) == len(days)
    assert (found == plain).all()
    assert plain[41].tolist()[:6] == [days[41].toordinal(), 50, 140, 1, 91, volumes[41]]


def test_hourly_bars_have_their_hour(zipped):
    content = "20130603 09:00,1,1,1,1,1\n20130603 10:00,2,2,2,2,2\n20130603 10:00,3,3,3,3,3\n"
    bars = read_bars(zipped(content), with_hours=True)
    assert bars is not None
    assert bars[:, [1, 6]].tolist() == [[1, 9], [2, 10]]


@given(st.lists(st.tuples(*[st.integers(1, 10**14 - 1)] * 4, st.integers(0, 10**18 - 1)), min_size=1, max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_numbers_of_any_length_are_read_to_the_digit(zipped, cells):
    days = [DAY + timedelta(days=at) for at in range(len(cells))]
    lines = [f"{day:%Y%m%d} 00:00,{','.join(str(cell) for cell in row)}" for day, row in zip(days, cells, strict=True)]
    bars = read_bars(zipped("\n".join(lines)))
    assert bars is not None
    assert bars.tolist() == [[day.toordinal(), *row] for day, row in zip(days, cells, strict=True)]


def test_zeros_before_a_number_change_nothing(zipped):
    bars = read_bars(zipped(BARS.replace(",12,", ",000000000000012,")))
    assert bars is not None
    assert bars.tolist() == READ


def test_an_archive_that_begins_with_a_folder_is_refused(tmp_path):
    path = tmp_path / "abc.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("abc/", b"")
        archive.writestr("abc/abc.csv", BARS)
    assert f"({path}/abc/)" in refused(read_bars, path)


@pytest.mark.parametrize("content", ["", "\n\r\n ", "\ufeff"])
def test_a_file_without_bars_is_empty(zipped, content):
    for with_hours, width in ((False, 6), (True, 7)):
        bars = read_bars(zipped(content), with_hours)
        assert bars is not None
        assert bars.shape == (0, width)


def test_a_missing_file_is_none(tmp_path):
    assert read_bars(tmp_path / "none.zip") is None


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ("20130604 00:00,11,13,10,12", "is not yyyyMMdd"),  # a column too few
        ("20130604 00:00,11,13,10,12,0,7", "is not yyyyMMdd"),
        ("20130604,11,13,10,12,0", "is not yyyyMMdd"),
        ("20130604 00:00,11,13,10,x,0", "is not yyyyMMdd"),
        ("20130604 00:00,11,13,10,,0", "is not yyyyMMdd"),
        ("20130604 00:00,11,13,10,12.5,0", "is not yyyyMMdd"),
        ("20130604 00:00,11,13,10,nan,0", "is not yyyyMMdd"),
        ("20130604 00:00,11,13,10,-12,0", "is not yyyyMMdd"),
        ("20130604 00:00,11,13,10,12,-1", "is not yyyyMMdd"),
        ("20130604 00:00,11,13,10,1_2,0", "is not yyyyMMdd"),
        ("20130604 24:00,11,13,10,12,0", "is not yyyyMMdd"),
        ("20130604 00:00,11,13,10,99999999999999999999,0", "is not yyyyMMdd"),
        ("# a comment", "is not yyyyMMdd"),
        ("date,open,high,low,close,volume", "is not yyyyMMdd"),
        ("\x00", "is not yyyyMMdd"),
        ("20130604 00:00,0,13,10,12,0", "price that is not above zero"),
        ("20130604 00:00,11,13,10,0,0", "price that is not above zero"),
        ("20130604 00:00,11,13,10,100000000000000,0", "below ten billion"),
        ("20130631 00:00,11,13,10,12,0", "has no date between"),
        ("20131304 00:00,11,13,10,12,0", "has no date between"),
        ("20130600 00:00,11,13,10,12,0", "has no date between"),
        ("00000000 00:00,11,13,10,12,0", "has no date between"),
        ("99991231 00:00,11,13,10,12,0", "has no date between"),
    ],
)
def test_a_line_that_is_no_bar_is_refused(zipped, second, reason):
    first = BARS.splitlines()[0]
    assert reason in refused(read_bars, zipped(f"{first}\n{second}\n{BARS}"), 2)


def test_a_file_that_is_no_zip_is_refused(csv):
    for content in (b"", b"PK", BARS.encode()):
        assert "is not a readable zip file" in refused(read_bars, csv(content, "abc.zip"))


def test_a_truncated_zip_is_refused_at_every_length(zipped):
    path = zipped(BARS * 50)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:length])
        refused(read_bars, path)


def test_a_damaged_zip_is_refused_or_read_in_full(zipped):
    path = zipped(BARS)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            bars = read_bars(path)
        except DataError as error:
            assert re.match(re.escape(f"{path}"), str(error))
        else:
            assert bars is not None
            assert bars.tolist() == READ


def test_an_archive_without_a_file_holds_no_bars(tmp_path):
    path = tmp_path / "abc.zip"
    with zipfile.ZipFile(path, "w"):
        pass
    bars = read_bars(path)
    assert bars is not None
    assert len(bars) == 0


def test_of_several_files_in_an_archive_the_first_is_read(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("abc.csv", BARS)
        archive.writestr("readme.txt", "not bars")
    (tmp_path / "abc.zip").write_bytes(buffer.getvalue())
    bars = read_bars(tmp_path / "abc.zip")
    assert bars is not None
    assert bars.tolist() == READ
