"""Charts of a run: series, their points, and the orders in which LEAN writes them.

A point is kept as its JSON text, because that is all that is ever done with most of them: one text shared by all
points of equal value costs eight bytes a point.
"""

import json
from collections.abc import Iterable, Iterator, Sequence

BUCKETS = 37
"""Size of the hash table that holds LEAN's charts and custom statistics, and so decides their order."""

LINE, CANDLE, BAR, TREEMAP = 0, 2, 3, 7
"""LEAN's seriesType."""

_MASK = 0xFFFFFFFF


class Series:
    """One series: points in time order, each a Unix time in seconds and the JSON of its value or values."""

    __slots__ = ("color", "extra", "index", "kind", "name", "points", "times", "unit")

    def __init__(self, name: str, unit: str, kind: int, *, index: int = 0, extra: str = "", color: str = ""):
        self.name = name
        self.unit = unit
        self.index = index
        self.kind = kind
        self.extra = extra
        self.color = color
        self.times: list[int] = []
        self.points: list[str] = []

    def add(self, time: int, point: str) -> None:
        """Append a point; one that is not later than the last is dropped."""
        if not self.times or time > self.times[-1]:
            self.times.append(time)
            self.points.append(point)

    def put(self, time: int, point: str) -> None:
        """Append a point, or overwrite the last if it has the same time."""
        if self.times and time == self.times[-1]:
            self.points[-1] = point
        else:
            self.add(time, point)

    def extend(self, times: Sequence[int], points: Sequence[str]) -> None:
        """Append points in time order, the first as `put` does."""
        self.put(times[0], points[0])
        self.times += times[1:]
        self.points += points[1:]

    def json(self, stamps: "Stamps") -> str:
        """One line without spaces, as inside LEAN's indented files."""
        parts = [""] * (2 * len(self.times))
        parts[::2] = map(stamps.__getitem__, self.times)
        parts[1::2] = self.points
        values = "".join(parts)[len("],") :] + "]" * bool(parts)
        style = "" if self.kind == CANDLE else f',"color":{json.dumps(self.color)},"scatterMarkerSymbol":"none"'
        return (
            f'{{"name":{json.dumps(self.name, ensure_ascii=False)},"unit":{json.dumps(self.unit)},'
            f'"index":{self.index},"seriesType":{self.kind}{self.extra},"values":[{values}]{style}}}'
        )

    def sum(self) -> float:
        """Of the values; of candles zero."""
        return 0.0 if self.kind == CANDLE else sum(float(point) for point in self.points if point != "null")


class Stamps(dict[int, str]):
    """What stands between two points of a line, by the time of the second: most series have the same times."""

    def __missing__(self, time: int) -> str:
        stamp = self[time] = f"],[{time},"
        return stamp


class Chart:
    """One chart with its series in order of creation."""

    def __init__(self, name: str, *, legend_disabled: bool = False):
        self.name = name
        self.legend_disabled = legend_disabled
        self.series: dict[str, Series] = {}

    def json(self, indent: str) -> Iterator[str]:
        """Indented as in LEAN's files, in pieces: the series sorted, each on one line."""
        name = json.dumps(self.name, ensure_ascii=False)
        yield f'{{\n{indent}  "name": {name},\n{indent}  "chartType": 0,\n{indent}  "series": {{'
        stamps = Stamps()
        before = ""
        for series in self._sorted():
            yield f"{before}\n{indent}    {json.dumps(series.name, ensure_ascii=False)}: {series.json(stamps)}"
            before = ","
        yield f"\n{indent}  }}" if self.series else "}"
        legend = f',\n{indent}  "legendDisabled": true' if self.legend_disabled else ""
        yield f"{legend}\n{indent}}}"

    def _sorted(self) -> list[Series]:
        """As LEAN sorts them: by index, number of points and sum of values."""
        alike: dict[tuple[int, int], list[Series]] = {}
        for series in self.series.values():
            alike.setdefault((series.index, len(series.points)), []).append(series)
        return [
            series
            for key in sorted(alike)
            for series in (sorted(alike[key], key=Series.sum) if len(alike[key]) > 1 else alike[key])
        ]


def bucket(name: str) -> int:
    """Where LEAN's hash table keeps a name: .NET's non-randomised string hash, taken modulo the table's size."""
    raw = name.encode("utf-16-le")
    units = [int.from_bytes(raw[i : i + 2], "little") for i in range(0, len(raw), 2)]
    first = second = ((5381 << 16) + 5381) & _MASK
    while units:
        four, units = units[:4], units[4:]
        pair = [four[i] | (four[i + 1] if i + 1 < len(four) else 0) << 16 for i in range(0, len(four), 2)]
        if len(pair) == 2:
            first = (_rotate(first) + first & _MASK) ^ pair[0]
            second = (_rotate(second) + second & _MASK) ^ pair[1]
        else:
            second = (_rotate(second) + second & _MASK) ^ pair[0]
    return (first + second * 1566083941 & _MASK) % BUCKETS


def in_table_order(names: Iterable[str]) -> list[str]:
    """Names, given in order of creation, as LEAN's hash table lists them: by bucket, in a bucket the newest first."""
    newest_first = list(names)[::-1]
    return sorted(newest_first, key=bucket)


def _rotate(h: int) -> int:
    return (h << 5 | h >> 27) & _MASK
