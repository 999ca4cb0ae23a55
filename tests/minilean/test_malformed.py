"""A data folder that was damaged in any way ends in a sentence, or is read as LEAN reads it; never in a traceback.

The one folder of these tests has every kind of file; a mutation changes some of its files, then the whole host runs on
it: universe, history, orders, raw or adjusted.
"""

import json
import re
import shutil
import warnings
import zipfile
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minilean.algorithm import PortfolioTarget, QCAlgorithm
from minilean.check import check_folder
from minilean.data import DataFolder
from minilean.enums import Resolution
from minilean.errors import HostError
from tests.minilean.tiny_market import Scripted, TinyMarket, engine_on, everything

RATES = "alternative/interest-rate/usa/interest-rate.csv"
HOURS = "market-hours/market-hours-database.json"


def rebalance(a: Any) -> None:
    """What a monthly strategy does: looks at the past, then orders a list of targets."""
    ready = [s for s in a.securities.keys() if a.securities[s].price > 0 and a.securities[s].is_tradable]  # noqa: SIM118
    a.history(ready, 10, Resolution.DAILY)
    if ready:
        a.set_holdings([PortfolioTarget(symbol, 0.9 / len(ready)) for symbol in ready], True)


class Everyday(Scripted):
    """Trades the whole universe three times; SPY is an equity of its own."""

    start, end = "2013-06-03", "2013-06-14"
    tickers = ("SPY",)
    universe_of = staticmethod(everything)
    script: ClassVar[Any] = {f"2013-06-{at}": rebalance for at in ("03 09:00", "06 12:00", "10 16:01")}


class EverydayRaw(Everyday):
    raw = True


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A market with a dividend, a split, a delisting and a rename, from May 20 to June 21."""
    market = TinyMarket(tmp_path_factory.mktemp("market") / "data", date(2013, 5, 20), date(2013, 6, 21))
    market.stock("AAA", {"2013-05-20": 100, "2013-06-06": 50}, factors=["20130605,0.99,0.5,100"])
    market.stock("OLD", renamed=("2013-06-05", "NEW"))
    market.stock("DEAD", delisted="2013-06-07")
    market.constituents("2013-05-31", "AAA", "OLD", "DEAD", weights={"DEAD": ""})
    market.constituents("2013-06-06", "AAA", "NEW", born={"NEW": "OLD"})
    rates = market.folder / RATES
    rates.parent.mkdir(parents=True)
    rates.write_text("DATE,rate\n2010-02-19,0.75\n2013-06-05,1.00\n")
    return market.folder


def outcome(folder: Path, algorithm: type[QCAlgorithm]) -> str:
    """The sentence that a run on the folder ends with, empty where it completes; its results are written.

    Everything but a HostError is a failure of the host: exceptions, warnings, and errors inside the algorithm's calls.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            engine = engine_on(folder, algorithm)
            failure = engine.run()
        except HostError as error:
            return str(error)
        with TemporaryDirectory() as results:
            engine.results().write(Path(results), engine.name, engine.brokerage.orders)
    if failure is None:
        return ""
    assert "Runtime Error" not in failure.message, failure.message
    assert "initialization" not in failure.message, failure.message
    return failure.message


def test_the_folder_itself_runs_and_has_no_problem(folder):
    assert outcome(folder, Everyday) == outcome(folder, EverydayRaw) == ""
    assert check_folder(folder).problems == []


# --- one damage, one sentence


def damaged(folder: Path, tmp_path: Path, name: str, change: Callable[[bytes], bytes | None]) -> Path:
    """A copy of the folder in which the content of one file is changed; of a zip file what is in it; None deletes."""
    target = tmp_path / "damaged"
    shutil.copytree(folder, target)
    path = target / name if (target / name).exists() else target / "equity" / "usa" / name
    write(path, change(content(path)))
    return target


def content(path: Path) -> bytes:
    if path.suffix != ".zip":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return archive.read(archive.namelist()[0])


def write(path: Path, new: bytes | None) -> None:
    if new is None:
        path.unlink()
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{path.stem}.csv", new)
    else:
        path.write_bytes(new)


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("daily/aaa.zip", lambda raw: raw.replace(b",1000", b"", 1), "daily/aaa.zip, line 1: "),
        ("daily/aaa.zip", lambda raw: raw + b"20130624 00:0", "daily/aaa.zip, line 25: "),
        ("daily/aaa.zip", lambda raw: raw.replace(b"1000000", b"-1", 1), "daily/aaa.zip, line 1: "),
        ("daily/old.zip", lambda raw: raw.replace(b"20130520", b"20130532"), "daily/old.zip, line 1: "),
        ("hour/spy.zip", lambda raw: raw.replace(b"09:00", b"09:3O", 1), "hour/spy.zip, line 1: "),
        ("map_files/new.csv", lambda raw: raw.replace(b"20130605", b"2013065"), "map_files/new.csv, line 2: "),
        ("map_files/dead.csv", lambda raw: b"", "map_files/dead.csv is empty"),
        ("factor_files/aaa.csv", lambda raw: raw.replace(b"0.99", b"O.99"), "factor_files/aaa.csv, line 1: "),
        ("universes/etf/spy/20130531.csv", lambda raw: raw[:-20], "20130531.csv, line 3: "),
        (RATES, lambda raw: raw.replace(b"0.75", b"3/4"), "interest-rate.csv, line 2: "),
        (HOURS, lambda raw: raw.replace(b"Equity-usa-[*]", b"Equity-usa-SPY"), "has no usable entry Equity-usa-[*]"),
        (HOURS, lambda raw: raw[:-9], "is not readable JSON"),
        (HOURS, lambda raw: None, "is missing"),
    ],
)
def test_a_damaged_file_ends_in_a_sentence_with_file_line_and_remedy(folder, tmp_path, name, change, sentence):
    target = damaged(folder, tmp_path, name, change)
    said = outcome(target, Everyday)
    assert sentence in said
    assert any(remedy in said for remedy in ("get it", "get or make", "copy it"))
    assert "\n" not in said
    if name != HOURS:
        assert any(sentence in problem for problem in check_folder(target).problems)


def test_a_truncated_zip_ends_in_a_sentence(folder, tmp_path):
    target = shutil.copytree(folder, tmp_path / "damaged")
    path = target / "equity/usa/daily/aaa.zip"
    path.write_bytes(path.read_bytes()[:-30])
    assert f"{path} is not a readable zip file" in outcome(target, Everyday)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("daily/aaa.zip", lambda raw: b"\xef\xbb\xbf" + raw.replace(b"\n", b"\r\n")),
        ("daily/aaa.zip", lambda raw: raw + raw),
        ("daily/aaa.zip", lambda raw: raw.replace(b",1000\n", b",1000.0\n\n")),
        ("map_files/new.csv", lambda raw: b"\n".join(raw.split(b"\n")[::-1])),
        ("factor_files/aaa.csv", lambda raw: b"\xef\xbb\xbf" + b"\r\n".join(raw.split(b"\n")[::-1])),
        ("factor_files/aaa.csv", lambda raw: b"20130521,inf,1,1\n" + raw + raw),
        ("universes/etf/spy/20130531.csv", lambda raw: b"\xef\xbb\xbf" + raw.replace(b"\n", b"\r\n\r\n")),
        (RATES, lambda raw: b"\xef\xbb\xbf" + raw.replace(b"\n", b"\r\n")),
        (HOURS, lambda raw: b"\xef\xbb\xbf" + raw),
    ],
)
def test_what_lean_reads_past_changes_no_order(folder, tmp_path, name, change):
    def orders(of: Path) -> list[Any]:
        engine = engine_on(of, EverydayRaw)
        assert engine.run() is None
        return [(o.symbol.sid, o.quantity, o.price, o.last_fill_time) for o in engine.brokerage.orders]

    expected = orders(folder)
    assert len(expected) > 5
    assert orders(damaged(folder, tmp_path, name, change)) == expected


def test_an_empty_constituents_file_leaves_the_members_as_they_are(folder, tmp_path):
    target = damaged(folder, tmp_path, "universes/etf/spy/20130606.csv", lambda raw: b"")
    engine = engine_on(target, Everyday)
    assert engine.run() is None
    assert engine.algorithm.selections == [datetime(2013, 6, 3)]


# --- any damage


NUMBERS = ["-1", "0", "0.0", "1", "nan", "inf", "-inf", "1e5", "1e99", "1e-99", "1e-12", "1_0", "9" * 14, "9" * 20]
DATES = ["20130605", "20130608", "20130631", "20501231", "99991231", "00000000", "19000101", "2013060", "2013-06-05"]
TEXTS = ["", " ", "abc", ".", "..", "../../x", ";", '"', "'", "\x00", "\ufeff", "\u0661", "true", "null", "[]", "{}"]
NAMES = ["AAA VCY032R250MD", "ZZZ ZZZZZZZZZZZZ", "12:00:00", "25:00", "7/4/2013", "13/45/2013"]
NASTY = st.sampled_from([*NUMBERS, *DATES, *TEXTS, *NAMES])


def cells(raw: bytes, draw: Any) -> bytes:
    """Another value in one cell of one line."""
    lines = raw.split(b"\n")
    number = draw(st.integers(0, len(lines) - 1))
    parts = lines[number].split(b",")
    parts[draw(st.integers(0, len(parts) - 1))] = draw(NASTY).encode()
    lines[number] = b",".join(parts)
    return b"\n".join(lines)


def columns(raw: bytes, draw: Any) -> bytes:
    """A column less or more in one line, or in all."""
    lines = raw.split(b"\n")
    number = draw(st.integers(-1, len(lines) - 1))
    for at in range(len(lines)) if number < 0 else [number]:
        lines[at] = lines[at].rpartition(b",")[0] if draw(st.booleans()) else lines[at] + b",7"
    return b"\n".join(lines)


def order(raw: bytes, draw: Any) -> bytes:
    """Lines in another order, repeated or gone."""
    lines = raw.split(b"\n")
    return b"\n".join(lines[n] for n in draw(st.lists(st.integers(0, len(lines) - 1), max_size=len(lines) + 2)))


def cut(raw: bytes, draw: Any) -> bytes:
    """Some bytes gone, at the end or anywhere."""
    begin = draw(st.integers(0, len(raw)))
    return raw[:begin] + raw[draw(st.integers(begin, len(raw))) :]


def insert(raw: bytes, draw: Any) -> bytes:
    """Any bytes anywhere."""
    begin = draw(st.integers(0, len(raw)))
    return raw[:begin] + draw(st.binary(min_size=1, max_size=6)) + raw[begin:]


def line_ends(raw: bytes, draw: Any) -> bytes:
    """Another way to begin and to end lines."""
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf", b"\xff\xfe"])) + raw.replace(
        b"\n", draw(st.sampled_from([b"\r\n", b"\r", b"\n\n", b" \n", b"\n "]))
    )


def units(raw: bytes, draw: Any) -> bytes:
    """Whole numbers in other units from one line on."""
    lines = raw.split(b"\n")
    since, zeros = draw(st.integers(0, len(lines))), b"0" * draw(st.integers(1, 8))
    return b"\n".join([*lines[:since], *(re.sub(rb",(\d+)", rb",\g<1>" + zeros, line) for line in lines[since:])])


def values(raw: bytes, draw: Any) -> bytes:
    """Another value, or none, somewhere in a JSON document; other files are replaced by it."""
    try:
        document = json.loads(raw)
        here = document["entries"]["Equity-usa-[*]"]
        key = draw(st.sampled_from(sorted(here)))
    except (ValueError, LookupError, TypeError):
        return draw(NASTY).encode()
    if draw(st.booleans()):
        del here[key]
    else:
        others = [None, 7, "x", [], {}, [7], ["x"], {"x": "y"}, [{"state": "market"}], {"1/1/1": 1}]
        here[key] = draw(st.sampled_from(others))
    return json.dumps(document).encode()


@st.composite
def mutations(draw: Any) -> list[tuple[int, Callable[[bytes, Any], bytes] | None, bool, Any]]:
    """A few times: which file (as a number), what happens to it, and whether to the zip file as such."""
    kinds = [cells, columns, order, cut, insert, line_ends, units, values, None]
    return [
        (draw(st.integers(0, 10**6)), draw(st.sampled_from(kinds)), draw(st.booleans()), draw(st.data()))
        for _ in range(draw(st.integers(1, 2)))
    ]


def survives(folder: Path, tmp_path_factory: pytest.TempPathFactory, changes: Any, raw: bool) -> None:
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    target = shutil.copytree(folder, tmp_path_factory.mktemp("mutated") / "data")
    try:
        for number, change, whole, data in changes:
            path = target / paths[number % len(paths)]
            if not path.exists():
                continue
            if change is None:
                path.unlink()
            elif whole or path.suffix != ".zip":
                path.write_bytes(change(path.read_bytes(), data.draw))
            else:
                try:
                    inside = content(path)
                except (zipfile.BadZipFile, IndexError, OSError):
                    continue
                write(path, change(inside, data.draw))
        said = outcome(target, EverydayRaw if raw else Everyday)
        assert "\n" not in said
        try:
            DataFolder(target)
            check_folder(target)
        except HostError as error:
            assert "\n" not in str(error)
    finally:
        shutil.rmtree(target.parent)


ANY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@settings(ANY, max_examples=120)
@given(changes=mutations(), raw=st.booleans())
def test_any_damage_ends_in_a_sentence_or_in_a_run(folder, tmp_path_factory, changes, raw):
    survives(folder, tmp_path_factory, changes, raw)


@pytest.mark.slow
@settings(ANY, max_examples=4000)
@given(changes=mutations(), raw=st.booleans())
def test_thousands_of_damages_end_in_a_sentence_or_in_a_run(folder, tmp_path_factory, changes, raw):
    survives(folder, tmp_path_factory, changes, raw)
