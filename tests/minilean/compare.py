"""Holds the result files of a run against a recording of the real engine."""

import csv
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

IGNORED = {
    r"/state/(StartTime|EndTime)": "wall clock of the recording",
    r"/state/Hostname": "name of the machine",
    r"/serverStatistics(/.*)?": "processor, memory and version of the machine",
    r"/totalPerformance/closedTrades/\d+/id": "random in LEAN",
    r"/order events/\d+/(id|algorithmId)": "contain the name that the run was started under",
}
"""What is not compared, path -> why. Everything else has to be equal, keys and their order included."""

_IGNORED = re.compile("|".join(IGNORED))
_ORDER_COLUMNS = ("type", "status", "quantity", "price", "value")


def differences(result_folder: Path, golden_folder: Path) -> list[str]:
    """One line for everything that is not equal; empty if all is.

    result_folder: where the run wrote its files. golden_folder: a recording, whose README says what it may hold.
    """
    result, events = read_results(result_folder)
    found: list[str] = []
    found += _orders(result, golden_folder / "orders.csv.gz")
    found += _fees(events, golden_folder / "fees.csv.gz")
    found += _recorded_statistics(result, golden_folder / "statistics.json")
    found += _charts(result, golden_folder / "charts.json.gz")
    if (golden_folder / "result.json.gz").exists():
        found += unequal("", result, _gzipped(golden_folder / "result.json.gz"))
    if (golden_folder / "order-events.json.gz").exists():
        found += unequal("/order events", events, _gzipped(golden_folder / "order-events.json.gz"))
    return found


def read_results(folder: Path) -> tuple[dict[str, Any], list[Any]]:
    """The main result and the order events of the one run in a folder."""
    (summary,) = folder.glob("*-summary.json")
    name = summary.name.removesuffix("-summary.json")
    events = folder / f"{name}-order-events.json"
    return (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8")),
        json.loads(events.read_text(encoding="utf-8")) if events.exists() else [],
    )


def unequal(path: str, ours: Any, theirs: Any) -> Iterator[str]:
    """Every path at which two parsed JSON values differ, in value, type, keys or their order."""
    if _IGNORED.fullmatch(path):
        return
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if list(ours) != list(theirs):
            missing = [key for key in theirs if key not in ours]
            extra = [key for key in ours if key not in theirs]
            if _IGNORED.fullmatch(f"{path}/x"):
                return
            yield f"{path}: keys {list(ours)[:8]} are not {list(theirs)[:8]} (missing {missing}, extra {extra})"
        for key in theirs:
            if key in ours:
                yield from unequal(f"{path}/{key}", ours[key], theirs[key])
    elif isinstance(ours, list) and isinstance(theirs, list):
        if len(ours) != len(theirs):
            yield f"{path}: {len(ours)} entries instead of {len(theirs)}"
        for i, (a, b) in enumerate(zip(ours, theirs, strict=False)):
            yield from unequal(f"{path}/{i}", a, b)
    elif ours != theirs or type(ours) is not type(theirs):
        yield f"{path}: {ours!r} instead of {theirs!r}"


def log_differences(result_folder: Path, golden_folder: Path) -> list[str]:
    """Lines of the log that are not equal; what the last one says of time and data points is not compared."""
    (log,) = result_folder.glob("*-log.txt")
    ours, theirs = (
        [re.sub(r"(Algorithm Id:\().*", r"\1", line) for line in path.read_text(encoding="utf-8").strip().split("\n")]
        for path in (log, golden_folder / "log.txt")
    )
    return list(unequal("/log", ours, theirs))


def _orders(result: dict[str, Any], path: Path) -> Iterator[str]:
    recorded = _rows(path)
    orders = result["orders"]
    if len(orders) != len(recorded):
        yield f"/orders: {len(orders)} instead of {len(recorded)}"
    for row in recorded:
        order = orders.get(row["id"])
        if order is None:
            continue
        expected: dict[str, Any] = {name: float(row[name]) for name in _ORDER_COLUMNS}
        expected |= {"sid": row["sid"], "created": row["created"], "last_fill": row["last_fill"], "tag": row["tag"]}
        ours: dict[str, Any] = {name: float(order[name]) for name in _ORDER_COLUMNS}
        ours |= {
            "sid": order["symbol"]["id"],
            "created": order["createdTime"],
            "last_fill": order.get("lastFillTime", ""),
            "tag": order["tag"],
        }
        yield from unequal(f"/orders/{row['id']}", ours, expected)


def _fees(events: list[Any], path: Path) -> Iterator[str]:
    ours = {str(event["orderId"]): event["orderFeeAmount"] for event in events if "orderFeeAmount" in event}
    theirs = {row["order_id"]: float(row["fee"]) for row in _rows(path)}
    for order in sorted(ours.keys() | theirs.keys(), key=int):
        if ours.get(order) != theirs.get(order):
            yield f"/fees/{order}: {ours.get(order)} instead of {theirs.get(order)}"


def _recorded_statistics(result: dict[str, Any], path: Path) -> Iterator[str]:
    recorded = json.loads(path.read_text(encoding="utf-8"))
    ours = {
        "statistics": result["statistics"],
        "runtimeStatistics": result["runtimeStatistics"],
        "totalPerformance": {
            name: block for name, block in result["totalPerformance"].items() if name != "closedTrades"
        },
        "state": {name: result["state"].get(name) for name in recorded["state"]},
    }
    yield from unequal("", ours, recorded)


def _charts(result: dict[str, Any], path: Path) -> Iterator[str]:
    if not path.exists():
        return
    recorded = _gzipped(path)
    ours = {
        f"{chart}/{name}": {"unit": series["unit"], "seriesType": series["seriesType"], "values": series["values"]}
        for chart, block in result["charts"].items()
        for name, series in block["series"].items()
    }
    if list(ours) != list(recorded):
        yield f"/charts: {_first_unequal(list(ours), list(recorded))}"
    for name, series in recorded.items():
        if name not in ours:
            yield f"/charts/{name}: missing"
            continue
        if {**ours[name], "values": 0} != {**series, "values": 0}:
            yield f"/charts/{name}: unit or type"
        mine = {point[0]: point[1:] for point in ours[name]["values"]}
        theirs = {point[0]: point[1:] for point in series["values"]}
        unlike = [time for time in sorted(mine.keys() | theirs.keys()) if mine.get(time) != theirs.get(time)]
        if unlike:
            first = unlike[0]
            yield (
                f"/charts/{name}: {len(unlike)} of {len(theirs)} points, the first at {first}: "
                f"{mine.get(first)} instead of {theirs.get(first)}"
            )


def _first_unequal(ours: list[str], theirs: list[str]) -> str:
    missing = sorted(set(theirs) - set(ours))
    extra = sorted(set(ours) - set(theirs))
    if missing or extra:
        return f"series missing {missing[:5]}, extra {extra[:5]}"
    at = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
    return f"order of series: {ours[at]!r} instead of {theirs[at]!r} at place {at}"


def _rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def _gzipped(path: Path) -> Any:
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        return json.load(handle)
