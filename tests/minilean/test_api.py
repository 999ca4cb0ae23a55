"""The host's API beside a recording of what the real engine returned to Python, call by call.

docs/fidelity.md shows the comparison as tables; `python -m tests.minilean.test_api` writes them anew.
"""

import gzip
import json
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from minilean.members import LeanObject, members
from minilean.orders import order_list_hash
from minilean.system import NetException
from tests.conftest import ROOT, SHARED
from tests.minilean.compare import differences, log_differences
from tests.minilean.test_golden import FAULTS, PARITY, REAL, run_probe

RECORDING = SHARED / "golden" / "api"
DOCUMENT = ROOT / "docs" / "fidelity.md"


@dataclass(frozen=True)
class Difference:
    """Something that cannot be equal: where a text says it, both sides say `shown` before they are compared."""

    pattern: str
    shown: str
    reason: str


DIFFERENCES = (
    Difference(r"object at 0x[0-9a-f]+", "object at 0x...", "addresses in memory"),
    Difference(r'\\n   at [^"]*', "", "the .NET stack below a .NET exception's message"),
    Difference(r'(?<=")[^"]*/store(?=/)|<object-store-root>', "<store>", "where the Object Store lies"),
    Difference(r"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12} 2T", "-<guid> 2T", "a random GUID in a universe's name"),
)
UNORDERED = {"active_securities.keys": "LEAN lists the members of universes by hashes with a random seed"}


@cache
def recorded() -> dict[str, list[Any]]:
    facts: dict[str, list[Any]] = json.loads((RECORDING / "facts.json").read_text(encoding="utf-8"))
    return facts


@cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    """Of the run; goes with the process."""
    return tempfile.TemporaryDirectory()


@cache
def run() -> tuple[Any, Path]:
    """The probe on the host, over an Object Store with what an earlier run had left for the recorded one."""
    folder = Path(_folder().name)
    for name, content in (("a/b.bin", b"\x00\x01\xff"), ("direct/file.txt", b"hello")):
        path = folder / "store" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    return run_probe("api", RECORDING, SHARED / "marketdata" / "lean", folder)


@cache
def seen() -> dict[str, list[Any]]:
    engine, _ = run()
    facts: dict[str, list[Any]] = json.loads(engine.object_store.read("probe/facts.json"))
    return facts


def comparison(name: str) -> tuple[str, str]:
    """What became of a fact, and why where it is not simply `equal`.

    Otherwise `equal but for` what DIFFERENCES and UNORDERED explain, `refused` by name, or `different`.
    """
    ours, theirs = seen().get(name), recorded()[name]
    if name in UNORDERED and ours is not None:
        ours, theirs = [sorted(entry) for entry in ours], [sorted(entry) for entry in theirs]
    texts = [json.dumps(ours), json.dumps(theirs)]
    reasons = [UNORDERED[name]] if name in UNORDERED else []
    if texts[0] == texts[1]:
        return ("equal but for", reasons[0]) if reasons else ("equal", "")
    if "minilean.errors.NotInHost" in texts[0]:
        return "refused", texts[0]
    for difference in DIFFERENCES:
        changed = [re.sub(difference.pattern, difference.shown, text) for text in texts]
        if changed != texts:
            reasons.append(difference.reason)
        texts = changed
    return ("equal but for" if texts[0] == texts[1] else "different"), "; ".join(reasons)


FACTS = list(recorded()) if RECORDING.is_dir() else []

needs_recording = pytest.mark.skipif(not FACTS, reason="the recording of the API is not beside the project")


@pytest.mark.parametrize("name", FACTS)
def test_a_call_returns_what_python_saw_on_lean_or_is_refused_by_name(name):
    assert comparison(name)[0] != "different", f"\nhost {seen().get(name)}\nLEAN {recorded()[name]}"


@needs_recording
def test_the_algorithm_is_called_as_often_and_in_the_same_order_as_on_lean():
    assert [(name, len(values)) for name, values in seen().items()] == [
        (name, len(values)) for name, values in recorded().items()
    ]


@needs_recording
def test_every_documented_difference_is_there():
    reasons = {reason for name in FACTS for reason in comparison(name)[1].split("; ") if reason}
    assert reasons == {difference.reason for difference in DIFFERENCES} | set(UNORDERED.values())


@needs_recording
def test_the_probes_result_files_and_log_are_leans():
    engine, out = run()
    assert order_list_hash(engine.brokerage.orders) == (RECORDING / "order_list_hash.txt").read_text().strip()
    assert differences(out, RECORDING) == []
    assert log_differences(out, RECORDING) == []


@needs_recording
def test_the_document_shows_what_the_recordings_and_the_run_give():
    written = DOCUMENT.read_text(encoding="utf-8")
    assert with_tables(written) == written, "write it anew with `python -m tests.minilean.test_api`"


# --- docs/fidelity.md


def with_tables(document: str) -> str:
    """The document with its tables made anew, each between `<!-- name -->` and `<!-- end -->`."""
    for name, lines in (("runs", _runs()), ("faults", _faults()), ("calls", _calls()), ("members", _members())):
        before, start, rest = document.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        assert end, f"{DOCUMENT.name} has no place for {name}"
        document = "".join([before, start, *(f"{line}\n" for line in lines), end, after])
    return document


def _table(head: str, rows: Iterable[Iterable[object]]) -> list[str]:
    columns = head.split(" | ")
    lines = [f"| {head} |", "|" + "---|" * len(columns)]
    return lines + ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]


def _runs() -> list[str]:
    rows = []
    for name, probe in {**PARITY, **REAL, "api": "api"}.items():
        folder = SHARED / "golden" / name
        statistics = json.loads((folder / "statistics.json").read_text(encoding="utf-8"))
        with gzip.open(folder / "charts.json.gz", "rt", encoding="utf-8") as file:
            points = sum(len(series["values"]) for series in json.load(file).values())
        data = "`tests/fixtures/parity_market`" if name in PARITY else "real daily data"
        whole = "yes" if (folder / "result.json.gz").exists() else "not recorded"
        order_hash = (folder / "order_list_hash.txt").read_text().strip()
        orders = int(statistics["statistics"]["Total Orders"])
        rows.append((f"`{name}`", f"`probes/{probe}`", data, f"{orders:,}", f"{points:,}", whole, f"`{order_hash}`"))
    return _table("recording | algorithm | data | orders | chart points | whole result files | order list hash", rows)


def _faults() -> list[str]:
    rows = []
    for fault in FAULTS:
        state = json.loads((SHARED / "golden" / "faults" / fault / "statistics.json").read_text())["state"]
        error = state["RuntimeError"].split("\n")[0]
        rows.append((f"`{fault}`", state["Status"], state["OrderCount"], error or "none"))
    return _table("fault | status | orders | runtime error, first line", rows)


def _calls() -> list[str]:
    rows = []
    for name, values in recorded().items():
        what, reason = comparison(name)
        rows.append((f"`{name}`", len(values), _short(values[0]), f"{what} {reason}".strip()))
    return _table("call | times | LEAN gave, the first time | the host", rows)


def _short(value: Any) -> str:
    if isinstance(value, dict) and "shape" in value:
        return f"{value['type']} of {value['shape'][0]} x {value['shape'][1]}"
    text = value if isinstance(value, str) else json.dumps(value)
    text = re.sub(r"object at 0x[0-9a-f]+", "object at 0x...", text.split("\n")[0])
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return f"`{shown[:60]}{'...' if len(shown) > 60 else ''}`" if shown else "an empty text"


def _members() -> list[str]:
    rows = []
    for thing in _things():
        known = members(thing._lean_name) - members("Object")
        there = [name for name in sorted(known) if _has(thing, name)]
        rows.append((thing._lean_name, len(known), len(there), ", ".join(f"`{name}`" for name in there)))
    return _table("class of LEAN's | members | in the host | which", rows)


def _has(thing: LeanObject, name: str) -> bool:
    try:
        getattr(thing, name)
    except AttributeError:
        return False
    except NetException:
        pass
    return True


def _things() -> list[LeanObject]:
    """One object of each class that an algorithm holds, out of the finished run of the probe."""
    engine, _ = run()
    algorithm = engine.algorithm
    security = algorithm.securities["SPY"]
    universe = algorithm.universe_manager.values()[1]
    ticket = algorithm.transactions.get_order_tickets()[0]
    return [
        algorithm,
        algorithm.settings,
        algorithm.universe_settings,
        algorithm.universe,
        universe,
        algorithm.universe_manager,
        algorithm.schedule,
        algorithm.date_rules,
        algorithm.time_rules,
        algorithm.securities,
        security,
        security.exchange,
        security.exchange.hours,
        algorithm.portfolio,
        security.holdings,
        algorithm.portfolio.cash_book,
        algorithm.portfolio.cash_book["USD"],
        algorithm.transactions,
        algorithm.transactions.get_orders()[0],
        ticket,
        ticket.symbol,
        ticket.symbol.id,
        algorithm.trading_calendar,
        algorithm.trading_calendar.get_trading_day(),
        algorithm.risk_free_interest_rate_model,
        algorithm.object_store,
    ]


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
