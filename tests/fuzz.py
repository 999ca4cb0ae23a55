"""`python -m tests.fuzz TARGET`: coverage-guided fuzzing of whatever comes from outside.

Every target takes the bytes of one real input. Only its documented errors may come out, and what it accepts must be
sane. An input that breaks this is left in a file, which `python -m tests.fuzz TARGET --input FILE` repeats, where
atheris is not installed too.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import json
import math
import os
import re
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import numpy as np

INSTALLED = importlib.util.find_spec("atheris") is not None
if INSTALLED and __name__ == "__main__":
    import atheris

    instrumented = atheris.instrument_imports(include=["settings", "model", "minilean"])
else:
    instrumented = contextlib.nullcontext()

with instrumented:
    from minilean.calendar import MarketCalendar
    from minilean.data import DailyBars, DataFolder
    from minilean.errors import HostError
    from minilean.formats import (
        files_by_ticker,
        read_bars,
        read_constituents,
        read_factor_file,
        read_interest_rates,
        read_map_file,
    )
    from minilean.project import Project
    from minilean.symbols import SecurityIdentifier, Symbol
    from model import Decision, Market, State, checkpoint
    from settings import Settings, SettingsError

ROOT = Path(__file__).parents[1]
STATES = ROOT / "tests" / "fixtures" / "states"
MARKET = ROOT / "tests" / "fixtures" / "parity_market"
EQUITY = MARKET / "equity" / "usa"
HOURS = Path("market-hours", "market-hours-database.json")

Mutator = Callable[[bytes, int, int], bytes]


@dataclass(frozen=True)
class Target:
    """check: raises anything but `refuses` where the program is wrong; it may write in the folder it is given."""

    check: Callable[[bytes, Path], None]
    refuses: tuple[type[Exception], ...]
    seeds: Callable[[], Iterator[bytes]]
    words: tuple[str, ...] = ()
    mutate: Mutator | None = None


# --- settings and project


def check_settings(data: bytes, folder: Path) -> None:
    """Lines of name=text."""
    lines = data.decode("utf-8", "replace").split("\n")
    found = Settings.from_parameters(dict(line.split("=", 1) for line in lines if "=" in line))
    assert Settings.from_parameters(found.as_parameters()) == found
    for group in fields(found):
        for setting in fields(getattr(found, group.name)):
            value = getattr(getattr(found, group.name), setting.name)
            assert type(value) is setting.type
            low, high, choices = (setting.metadata[key] for key in ("low", "high", "choices"))
            assert not choices or value in choices
            if isinstance(value, int | float):
                assert abs(value) < 2**63 or isinstance(value, float)
                assert math.isfinite(value)
                assert (low is None or value >= low) and (high is None or value <= high)


def seeds_of_settings() -> Iterator[bytes]:
    lines = [f"{name}={text}" for name, text in Settings().as_parameters().items()]
    yield from (line.encode() for line in ["\n".join(lines), *lines])


def check_project(data: bytes, folder: Path) -> None:
    """One file that is config.json and lean.json alike."""
    for name in ("config.json", "lean.json"):
        (folder / name).write_bytes(data)
    (folder / "main.py").touch()
    project = Project(folder, {})
    assert all(type(text) is str for pair in project.parameters.items() for text in pair)
    with contextlib.suppress(SettingsError):
        Settings.from_parameters(project.parameters)
    with contextlib.suppress(HostError):
        DataFolder(project.data_folder())


def seeds_of_projects() -> Iterator[bytes]:
    contents = [json.loads((ROOT / name).read_text()) for name in ("config.json", "lean.json")]
    yield from (json.dumps(content, indent=1).encode() for content in [contents[0] | contents[1], *contents])
    yield b'\xef\xbb\xbf{"parameters": {"seed": 1, "cash": 1e9, "use_dora": true}, /* a */ "data-folder": "x//y"} // b'


# --- state


def check_state(data: bytes, folder: Path) -> None:
    state = checkpoint.unpack(data)
    assert type(state.step) is int and state.step >= 0
    assert all(array.flags.c_contiguous for array in state.arrays.values())
    if state.decision is not None:
        assert all(type(stock) is str for stock in state.decision.market.stocks)
        assert state.decision.weights.dtype == np.float64
        assert np.isfinite(state.decision.weights).all()
        assert state.decision.market.instant.tzinfo is None
    packed = checkpoint.pack(state)  # equal states give equal bytes
    assert checkpoint.pack(checkpoint.unpack(packed)) == packed


def seeds_of_states() -> Iterator[bytes]:
    yield from (path.read_bytes() for path in sorted(STATES.iterdir()))
    market = Market(datetime(2020, 1, 2, 9), ("A", "B"), np.ones((2, 1, 1), np.float32), np.ones(2, bool))
    for decision in (None, Decision(market, np.array([0.25, 0.75]))):
        yield checkpoint.pack(State({"a": np.ones(1)}, 1, decision, {"b": [1.5, None]}))


def mutate_state(data: bytes, max_size: int, seed: int) -> bytes:
    """Change the JSON, the table of the arrays or anything; then make the lengths and the digest right again, since
    otherwise every change ends there."""
    if seed % 4 == 0:
        return atheris.Mutate(data, max_size)
    try:
        end = 8 + int.from_bytes(data[:8], "little")
        header, body = json.loads(data[8:end]), data[end:]
        content = header["__metadata__"]["checkpoint"].encode()
        if seed % 4 == 1:
            body = atheris.Mutate(body, max_size)
        elif seed % 4 == 2:
            header["__metadata__"]["checkpoint"] = atheris.Mutate(content, max_size).decode()
        else:
            table = json.dumps({name: entry for name, entry in header.items() if name != "__metadata__"})
            changed = json.loads(atheris.Mutate(table.encode(), max_size))
            header = {"__metadata__": header["__metadata__"]} | changed
        text = json.dumps(header).encode()
        data = len(text).to_bytes(8, "little") + text + body
        stored = json.loads(header["__metadata__"]["checkpoint"])["sha256"].encode()
        blank = data.replace(stored, b"0" * 64, 1)
        data = data.replace(stored, hashlib.sha256(blank).hexdigest().encode(), 1)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass  # no state any more: as good an input as any
    return data[:max_size]


# --- data files


def check_bars(data: bytes, folder: Path) -> None:
    """The csv file inside a zip file, daily and hourly, against a plain reading of it line by line."""
    path = folder / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.csv", data)
    for with_hours in (False, True):
        bars = read_bars(path, with_hours)
        assert bars is not None
        assert bars.tolist() == _plain_bars(data, with_hours)
        assert (bars[:, 1:5] > 0).all() and (bars[:, 5] >= 0).all()


def _plain_bars(data: bytes, with_hours: bool) -> list[list[int]]:
    rows: dict[tuple[int, int], list[int]] = {}
    for line in re.split(rb"[\r\n]", data.removeprefix(b"\xef\xbb\xbf")):
        if line.strip():
            found = re.fullmatch(r"\s*(\d{8})\s+(\d\d?):00((?:,\s*\d+(?:\.0*)?\s*){5})", line.decode("ascii"))
            assert found, f"accepted: {line!r}"
            ordinal, hour = datetime.strptime(found[1], "%Y%m%d").toordinal(), int(found[2])
            moment = (ordinal, hour * with_hours)
            if not rows or moment > max(rows):
                cells = [int(Decimal(cell.strip())) for cell in found[3][1:].split(",")]
                rows[moment] = [ordinal, *cells, *([hour] if with_hours else [])]
    return list(rows.values())


def seeds_of_bars() -> Iterator[bytes]:
    for name in ("daily/alfa", "daily/hole", "hour/spy"):
        with zipfile.ZipFile(EQUITY / f"{name}.zip") as archive:
            lines = archive.read(archive.namelist()[0]).splitlines()[:4]
        yield from (b"\n".join(lines), b"\r\n".join([*lines, b""]))
    yield b"\xef\xbb\xbf20120103 9:00,1.0,2.00,3.0,4.0,5.0\n\n20120103 00:00,1,1,1,1,0\n"


def check_archive(data: bytes, folder: Path) -> None:
    """A zip file itself: of bars, of map files, of factor files."""
    with contextlib.suppress(HostError):
        (folder / "x.zip").write_bytes(data)
        read_bars(folder / "x.zip")
    for kind, read in (("map_files", read_map_file), ("factor_files", read_factor_file)):
        inside = folder / kind
        inside.mkdir(exist_ok=True)
        (inside / f"{kind}_20200102.zip").write_bytes(data)
        for file in files_by_ticker(inside).values():
            with contextlib.suppress(HostError):
                read(file)


def seeds_of_archives() -> Iterator[bytes]:
    contents = {
        "x.csv": b"20120103 00:00,1,1,1,1,0\n",
        "map_files/x.csv": b"20120103,x,N\n20501231,x,N\n",
        "a.csv": b"20120103,1,1,1\n",
    }
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        for names in (["x.csv"], list(contents)):
            buffer = BytesIO()
            with zipfile.ZipFile(buffer, "w", compression) as archive:
                for name in names:
                    archive.writestr(name, contents[name])
            yield buffer.getvalue()


def check_factors(data: bytes, folder: Path) -> None:
    (folder / "x.csv").write_bytes(data)
    rows = read_factor_file(folder / "x.csv")
    assert all(one.day < other.day for one, other in pairwise(rows))
    ordinals = np.array([date(year, 1, 2).toordinal() for year in range(1990, 2030)])
    prices = np.array([10 ** (i % 15) for i in range(40)])
    prices[-1] = 10**14 - 1
    bars = DailyBars(ordinals, prices, prices, prices, prices, prices, rows)
    every = np.arange(40)
    doubles = bars.doubles(every, True)
    assert np.isfinite(doubles).all()
    assert (doubles[:4] > 0).all()
    closes, places = bars.closes(every, True)
    for row in every.tolist():
        price = bars.price(bars.close, row, True)
        assert math.isclose(price, doubles[0, row], rel_tol=1e-14)
        assert math.isclose(Decimal(closes[row]).scaleb(-places), price, rel_tol=1e-14)
        assert bars.adjusted_volume(row) >= 0


def check_map(data: bytes, folder: Path) -> None:
    """Whatever a map file names is looked for in its data folder only."""
    files = _folder_with(folder, "equity/usa/map_files/x.csv", data)
    found = read_map_file(files / "equity/usa/map_files/x.csv")
    assert all(one[0] < other[0] for one, other in pairwise(found.rows))
    assert all(one[2] < other[1] for one, other in pairwise(found.segments()))
    market = DataFolder(files)
    for day, ticker in found.rows:
        _check_symbol(market.resolve(ticker, day), market)


def check_constituents(data: bytes, folder: Path) -> None:
    files = _folder_with(folder, "equity/usa/universes/etf/x/20200102.csv", data)
    market = DataFolder(files)
    for row in read_constituents(files / "equity/usa/universes/etf/x/20200102.csv"):
        assert all(math.isfinite(float(n or 0)) for n in (row.weight, row.shares_held, row.market_value))
        _check_symbol(row.symbol, market)


def _folder_with(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    if not path.exists():
        path.parent.mkdir(parents=True)
        (folder / HOURS).parent.mkdir()
        shutil.copyfile(MARKET / HOURS, folder / HOURS)
    path.write_bytes(data)
    return folder


def _check_symbol(symbol: Symbol, market: DataFolder) -> None:
    assert SecurityIdentifier.parse(symbol.sid) == symbol.id
    for name in (symbol.id.symbol, symbol.value):
        assert Path("daily", name).parent == Path("daily") and ".." not in Path(name).parts and "\\" not in name, name
    assert len(market.daily(symbol.id)) == 0
    market.constituent_files(symbol.id)


def check_rates(data: bytes, folder: Path) -> None:
    (folder / "x.csv").write_bytes(data)
    rates = read_interest_rates(folder / "x.csv")
    assert all(one[0] < other[0] for one, other in pairwise(rates))
    lines = re.split("\r\n|\r|\n", data.decode("utf-8-sig"))[1:]  # the first has names
    cells = [[cell.strip() for cell in line.split(",")] for line in lines]
    written = {row[0]: row[1] for row in cells if len(row) > 1 and row[1]}
    for day, rate in rates:
        assert Decimal(written[str(day)]) / 100 == rate


def check_hours(data: bytes, folder: Path) -> None:
    path = folder / HOURS
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    calendar = MarketCalendar.read(folder)
    for day in calendar.sessions(date(2014, 1, 1), date(2014, 12, 31)):
        session = calendar.session(day)
        assert session.open < session.close
        assert session.utc_open < session.utc_close
        assert calendar.is_open(session.open) and not calendar.is_open(session.close)
        assert calendar.previous_session(calendar.next_session(day)) == day
    days = np.arange(date(2014, 1, 1).toordinal(), date(2015, 1, 1).toordinal())
    assert calendar.are_sessions(days).sum() == len(calendar.sessions(date(2014, 1, 1), date(2014, 12, 31)))
    calendar.are_open(days, np.full(len(days), 12))


def seeds_in(*patterns: str, more: bytes = b"") -> Callable[[], Iterator[bytes]]:
    """The first lines of files of the small market, and one more."""

    def seeds() -> Iterator[bytes]:
        if more:
            yield more
        for path in sorted(path for pattern in patterns for path in MARKET.glob(pattern)):
            yield path.read_bytes() if path.suffix == ".json" else b"".join(path.read_bytes().splitlines(True)[:8])

    return seeds


_NUMBERS = ("0.5", "1e5", "1e-12", "1E+28", "-", "inf", "0.00000001", "99999999999999999999999999999", "20140102")
TARGETS = {
    "settings": Target(
        check_settings,
        (SettingsError,),
        seeds_of_settings,
        (*(f"{name}=" for name in Settings().as_parameters()), "1e400", "9" * 60, "nan", "true", "1_0", "2009-W01-1"),
    ),
    "project": Target(check_project, (HostError,), seeds_of_projects, ("//", "/*", "*/", '\\"', "\\u0000", "\\ud800")),
    "state": Target(
        check_state,
        (checkpoint.CheckpointError,),
        seeds_of_states,
        ("NaN", "Infinity", "null", '"I64"', '"BF16"', '"shape"', "1e999", "+00:00", "true", "[", "{"),
        mutate_state,
    ),
    "bars": Target(check_bars, (HostError,), seeds_of_bars, (*_NUMBERS, ":00", " ", ".0", "\x1c", ",")),
    "archive": Target(check_archive, (HostError,), seeds_of_archives, ("PK", "../", "/", ".csv")),
    "factors": Target(check_factors, (HostError,), seeds_in("equity/usa/factor_files/*.csv"), _NUMBERS),
    "map": Target(
        check_map,
        (HostError,),
        seeds_in("equity/usa/map_files/*.csv", more=b"20120103,%s,N\n20501231,x,N\n" % (b"x" * 60)),
        ("..", "../", "\\", "x" * 60, ".1", "ß"),
    ),
    "constituents": Target(
        check_constituents,
        (HostError,),
        seeds_in("equity/usa/universes/etf/spy/201*0331.csv", more=b"x,%s R735QTJ8XC9X,,,,\n" % (b"x" * 60)),
        (*_NUMBERS, "../", "\\", " R735QTJ8XC9X", "x" * 60),
    ),
    "rates": Target(check_rates, (HostError,), seeds_in("alternative/interest-rate/usa/*.csv"), _NUMBERS),
    "hours": Target(
        check_hours,
        (HostError,),
        seeds_in("market-hours/*.json"),
        ('"13:00:00Z"', '"09:00:00"', '"7/3/2014"', '"earlyCloses"', '"lateOpens"', "null", "T13", "+01:00"),
    ),
}


# --- running


def repeat(name: str, data: bytes) -> bool:
    """Check one input; whether it was accepted rather than refused."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        return _accepts(TARGETS[name], data, Path(folder))


def _accepts(target: Target, data: bytes, folder: Path) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            target.check(data, folder)
        except target.refuses as error:
            assert str(error), "a refusal without a sentence"
            return False
    return True


def fuzz(name: str, runs: int, seed: int, output: Path) -> NoReturn:
    """Run a target so often, on mutations of its seeds that reach code not reached before, and end the process."""
    target, counts = TARGETS[name], {True: 0, False: 0}
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    corpus, scratch, words = folder / "corpus", folder / "scratch", folder / "words"
    corpus.mkdir()
    scratch.mkdir()
    for number, content in enumerate(target.seeds()):
        (corpus / f"seed-{number:03d}").write_bytes(content)
    escaped = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in target.words)
    words.write_text("".join(f'"{word}"\n' for word in escaped))

    def end(status: int) -> NoReturn:
        sys.stdout.flush()
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(status)  # libFuzzer knows no other way out

    def once(data: bytes) -> None:
        try:
            counts[_accepts(target, data, scratch)] += 1
        except BaseException:
            traceback.print_exc()
            found = output / f"fuzz-{name}-{hashlib.sha256(data).hexdigest()[:12]}"
            found.write_bytes(data)
            print(f"{name}: run {sum(counts.values()) + 1} failed; repeat it with")
            print(f"  python -m tests.fuzz {name} --input {found}")
            end(1)
        if sum(counts.values()) >= runs:
            print(f"{name}: {runs} runs, {counts[True]} accepted, {counts[False]} refused, none failed")
            end(0)

    longest = max(path.stat().st_size for path in corpus.iterdir())
    options = [f"-seed={seed}", f"-dict={words}", f"-max_len={2 * longest}", f"-artifact_prefix={output / 'fuzz-'}"]
    # Ten seconds, or 2 GB, for an input of a few kilobytes is a finding too. The peak of memory that is asked for is at
    # least that of whoever started this process.
    limit = 2048 + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    arguments = [sys.argv[0], str(corpus), *options, "-verbosity=0", "-timeout=10", f"-rss_limit_mb={limit}"]
    atheris.Setup(arguments, once, **({"custom_mutator": target.mutate} if target.mutate else {}))
    atheris.Fuzz()
    raise AssertionError("atheris came back")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path(), help="where an input that fails is left")
    parser.add_argument("--input", type=Path, help="check this one input and no other")
    chosen = parser.parse_args()
    if chosen.input:
        print("accepted" if repeat(chosen.target, chosen.input.read_bytes()) else "refused")
    elif not INSTALLED:
        raise SystemExit("atheris is not installed: pip install atheris==3.0.0, which Linux on x86-64 has")
    else:
        fuzz(chosen.target, chosen.runs, chosen.seed, chosen.output)


if __name__ == "__main__":
    main()
