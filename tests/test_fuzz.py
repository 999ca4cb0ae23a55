"""What fuzzing found, and some of it in every run of the suite; `python -m tests.fuzz` does more."""

import json
import subprocess
import sys
from datetime import datetime

import numpy as np
import pytest

from minilean.data import DataFolder
from minilean.errors import DataError
from minilean.symbols import unmapped
from model import Decision, Market, State, checkpoint
from tests.conftest import ROOT
from tests.fuzz import HOURS, INSTALLED, MARKET, TARGETS, repeat

needs_atheris = pytest.mark.skipif(not INSTALLED, reason="atheris is not installed: it has no build for every platform")


def calendar(**changes: object) -> bytes:
    content = json.loads((MARKET / HOURS).read_text())
    content["entries"]["Equity-usa-[*]"] |= changes
    return json.dumps(content).encode()


def state(
    *,
    stocks: tuple = ("A", "B"),
    weights: object = (0.25, 0.75),
    instant: str = "2020-01-02T09:00:00",
    extra: float = 1,
) -> bytes:
    market = Market(datetime.fromisoformat(instant), stocks, np.ones((2, 1, 1), np.float32), np.ones(2, bool))
    packed = checkpoint.pack(State({}, 1, Decision(market, np.array(weights)), {"b": extra}))
    header = packed[8 : 8 + int.from_bytes(packed[:8], "little")]
    assert header.count(b"1e+300") == (extra == 1e300)
    changed = packed.replace(b"1e+300", b"1e9999")  # which JSON reads as infinite
    stored = json.loads(json.loads(header)["__metadata__"]["checkpoint"])["sha256"]
    return changed.replace(stored.encode(), checkpoint._digest(changed, stored).encode(), 1)


@pytest.mark.parametrize("target", TARGETS)
def test_every_seed_is_accepted(target):
    seeds = list(TARGETS[target].seeds())
    assert seeds
    assert all(repeat(target, seed) for seed in seeds)


def test_the_states_and_calendars_that_the_cases_below_change_are_accepted():
    assert repeat("state", state())
    assert repeat("hours", calendar(earlyCloses={"7/3/2014": "13:00"}, lateOpens={"7/3/2014": "10:00:00"}))


FOUND = {
    "a time with more digits": ("bars", b"20120106 00:002,54800,250400,242900,257500,383700\n"),
    "an hour with more digits": ("bars", b"20120106 0000:00,245800,250400,242900,247500,383700\n"),
    "minutes with more digits": ("bars", b"20120106 00:000,245800,250400,242900,247500,383700\n"),
    "a date with more digits": ("bars", b"020120106 00:00,245800,250400,242900,247500,383700\n"),
    "no minutes": ("bars", b"20120106 00,245800,250400,242900,247500,383700\n"),
    "a price with a colon": ("bars", b"20120106 00:00,1:0000,250400,242900,247500,383700\n"),
    "an identifier that is a path": ("constituents", b"T,../T R735QTJ8XC9X,20140331,0.1,1,1\n"),
    "a ticker that is a path": ("constituents", b"S\\T,T R735QTJ8XC9X,20140331,0.1,1,1\n"),
    "an identifier too long for a file": ("constituents", b"T,%s R735QTJ8XC9X,,,,\n" % (b"T" * 300)),
    "a ticker that is the folder above": ("map", b"20120103,..,N\n20501231,x,N\n"),
    "a ticker that is nothing without its number": ("map", b"20120103,..20501232,spin,N\n"),
    "a ticker that is longer in capitals": ("map", b"20120103,%s,N\n" % ("ß" * 50).encode()),
    "a ticker too long for a file": ("map", b"20120103,%s,N\n20501231,x,N\n" % (b"x" * 300)),
    "a date with its lines misplaced": ("rates", b"DATE,rate\n203-10520,0.75\n"),
    "a year beyond every number": ("hours", calendar(holidays=[f"1/1/{10**20}"])),
    "a close with a time zone": ("hours", calendar(earlyCloses={"7/3/2014": "13:00:00Z"})),
    "a close that may be days": ("hours", calendar(earlyCloses={"7/3/2014": "13"})),
    "a close before the open": ("hours", calendar(earlyCloses={"7/3/2014": "09:00:00"})),
    "an open after the close": ("hours", calendar(lateOpens={"7/3/2014": "16:00:00"})),
    "stocks that are numbers": ("state", state(stocks=(1, 2))),
    "weights that are whole numbers": ("state", state(weights=(0, 1))),
    "weights that are not finite": ("state", state(weights=(np.nan, 1.0))),
    "an instant with a time zone": ("state", state(instant="2020-01-02T09:00:00+00:00")),
    "an infinite number beside the arrays": ("state", state(extra=1e300)),
    "a number beyond every double": ("settings", b"lora_alpha=" + b"9" * 400),
}


@pytest.mark.parametrize(("target", "data"), FOUND.values(), ids=FOUND)
def test_what_fuzzing_found_is_refused(target, data):
    assert not repeat(target, data)


@pytest.mark.parametrize("ticker", ["../SPY", "/SPY", "..", "A" * 300])
def test_no_ticker_asked_for_leads_outside_the_data_folder(ticker):
    market = DataFolder(MARKET)
    for look in (market.daily, market.hourly, market.constituent_files):
        with pytest.raises(DataError, match="is no ticker"):
            look(unmapped(ticker).id)


@needs_atheris
@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_thousands_of_mutations_of_an_input_end_in_a_sane_reading_or_a_documented_error(target, tmp_path):
    done = _run(["-m", "tests.fuzz", target, "--runs", "2000", "--output", str(tmp_path)])
    assert done.returncode == 0, done.stdout + done.stderr
    name, rest = done.stdout.split(":")
    runs, accepted, refused = (int(part.split()[0]) for part in rest.split(",")[:3])
    assert (name, runs, list(tmp_path.iterdir())) == (target, 2000, [])
    assert accepted + refused == runs
    assert min(accepted, refused) > 10  # both ways out were tried


@needs_atheris
@pytest.mark.slow
def test_an_input_that_breaks_the_program_is_left_and_said_how_to_repeat(tmp_path):
    broken = """
import runpy, sys, settings
read = settings.Settings.from_parameters
def fails(parameters):
    return read(parameters if parameters.get("window", "21") == "21" else 1 / 0)
settings.Settings.from_parameters = fails
runpy.run_module("tests.fuzz", run_name="__main__")
"""
    done = _run(["-c", broken, "settings", "--output", str(tmp_path)])
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    (left,) = tmp_path.iterdir()
    assert b"window=" in left.read_bytes()
    assert done.stdout.endswith(f"python -m tests.fuzz settings --input {left}\n")
    again = _run(["-c", broken, "settings", "--input", str(left)])
    assert again.returncode == 1
    assert "ZeroDivisionError" in again.stderr
    assert _run(["-m", "tests.fuzz", "settings", "--input", str(left)]).returncode == 0


def _run(arguments: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, errors="replace")
