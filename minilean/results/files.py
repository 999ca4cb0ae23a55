"""LEAN's result files: its names, keys, order and layout, written whole or not at all."""

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from json.encoder import encode_basestring
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path

from minilean.decimals import number, shortest, smart, truncate
from minilean.enums import OrderStatus
from minilean.orders import Order, OrderEvent, iso, order_json
from minilean.results.charts import CANDLE, Chart, Series, in_table_order
from minilean.results.trade_statistics import time_span
from minilean.results.trades import Trade

HOST = "minilean"
_DAY = 86_400
_EPOCH = datetime(1970, 1, 1)
_STATUS = {
    OrderStatus.NEW: "new",
    OrderStatus.SUBMITTED: "submitted",
    OrderStatus.PARTIALLY_FILLED: "partiallyFilled",
    OrderStatus.FILLED: "filled",
    OrderStatus.CANCELED: "canceled",
    OrderStatus.NONE: "none",
    OrderStatus.INVALID: "invalid",
    OrderStatus.CANCEL_PENDING: "cancelPending",
    OrderStatus.UPDATE_SUBMITTED: "updateSubmitted",
}
_BUFFER = 2**18
"""Bytes that are written at once."""

_SUMMARY_POINTS = 100
_SUMMARY_DAYS = 7


_encode = json.JSONEncoder(ensure_ascii=False).encode


def document(blocks: Iterable[tuple[str, Iterable[str]]]) -> Iterator[str]:
    """A JSON object, indented by two spaces, of named blocks that are JSON already; all of them in pieces."""
    before = "{\n"
    for name, body in blocks:
        yield f'{before}  "{name}": '
        yield from body
        before = ",\n"
    yield "\n}"


def block(value: object) -> list[str]:
    """JSON of a value, laid out for the second level of a document."""
    return [_laid_out(value, "\n  ")]


def _laid_out(value: object, line: str) -> str:
    """JSON indented by two spaces; line: what begins the line of the value's closing bracket."""
    if isinstance(value, str):
        return encode_basestring(value)
    if type(value) is int:
        return str(value)
    inner = line + "  "
    if isinstance(value, dict) and value:
        rows = [f"{encode_basestring(key)}: {_laid_out(entry, inner)}" for key, entry in value.items()]
        return f"{{{inner}{f',{inner}'.join(rows)}{line}}}"
    if isinstance(value, list) and value:
        return f"[{inner}{f',{inner}'.join([_laid_out(entry, inner) for entry in value])}{line}]"
    return _encode(value)


def order_block(orders: Iterable[Order]) -> Iterator[str]:
    lines = (f'    "{order.id}": {order_json(order, rounded=False, indent="    ")}' for order in orders)
    return _listed("{", lines, "  }")


def profit_block(record: Iterable[tuple[datetime, Decimal]]) -> Iterator[str]:
    return _listed("{", (f'    "{iso(when)}": {number(profit)}' for when, profit in record), "  }")


def chart_block(charts: Mapping[str, Chart]) -> Iterator[str]:
    before = "{\n"
    for name in in_table_order(charts):
        yield f"{before}    {json.dumps(name)}: "
        yield from charts[name].json("    ")
        before = ",\n"
    yield "\n  }" if charts else "{}"


def summary_chart_block(equity: Series) -> Iterator[str]:
    """Of all charts the equity alone, with few candles."""
    chart = Chart("Strategy Equity")
    chart.series["Equity"] = summary_equity(equity)
    return chart_block({chart.name: chart})


def performance_block(performance: Mapping[str, object], trades: Iterable[Trade]) -> Iterator[str]:
    """totalPerformance: the statistics, then the closed trades."""
    yield "{\n"
    for name, value in performance.items():
        laid_out = _laid_out(value, "\n    ")
        yield f'    "{name}": {laid_out},\n'
    yield '    "closedTrades": '
    yield from _listed("[", map(_trade, trades), "    ]")
    yield "\n  }"


def _listed(opening: str, entries: Iterable[str], closing: str) -> Iterator[str]:
    """Entries that are laid out already between brackets."""
    before = opening
    for entry in entries:
        yield f"{before}\n{entry}"
        before = ","
    yield f"{opening}{closing.strip()}" if before == opening else f"\n{closing}"


def _trade(trade: Trade) -> str:
    """LEAN draws a random id; here it is made of the two orders, and so the same in every run."""
    symbol = trade.symbol
    ticker = quoted(symbol.value)
    entry, exit_ = trade.order_ids
    return f"""      {{
        "id": "{entry:08x}-0000-0000-0000-{exit_:012x}",
        "symbols": [
          {{
            "value": {ticker},
            "id": {quoted(symbol.sid)},
            "permtick": {ticker}
          }}
        ],
        "entryTime": "{iso(trade.entry_time)}",
        "entryPrice": {shortest(trade.entry_price)},
        "direction": {0 if trade.direction > 0 else 1},
        "quantity": {shortest(trade.quantity)},
        "exitTime": "{iso(trade.exit_time)}",
        "exitPrice": {shortest(trade.exit_price)},
        "profitLoss": {number(trade.profit_loss)},
        "totalFees": {number(trade.total_fees)},
        "mae": {number(trade.mae)},
        "mfe": {number(trade.mfe)},
        "duration": "{time_span(trade.ticks)}",
        "endTradeDrawdown": {number(trade.end_trade_drawdown)},
        "isWin": {"true" if trade.profit_loss > 0 else "false"},
        "orderIds": [
          {entry},
          {exit_}
        ]
      }}"""


def order_events(events: Iterable[OrderEvent], algorithm_id: str) -> Iterator[str]:
    """One line without spaces, piece by piece."""
    identity = json.dumps(algorithm_id, ensure_ascii=False)
    before = "["
    for event in events:
        yield before + _event(event, identity, identity[:-1])
        before = ","
    yield "]" if before == "," else "[]"


def _event(event: OrderEvent, identity: str, prefix: str) -> str:
    order = event.order
    currency = quoted(order.price_currency)
    fee = ""
    if event.fee is not None:
        fee = f'"orderFeeAmount":{shortest(event.fee)},"orderFeeCurrency":"USD",'
    message = f'"message":{json.dumps(event.message, ensure_ascii=False)},' if event.message else ""
    return (
        f'{{"id":{prefix}-{order.id}-{event.id}","algorithmId":{identity},"orderId":{order.id},'
        f'"orderEventId":{event.id},"symbol":{quoted(order.symbol.sid)},'
        f'"symbolValue":{quoted(order.symbol.value)},"symbolPermtick":{quoted(order.symbol.id.symbol)},'
        f'"time":{_seconds(event.time)},"status":"{_STATUS[event.status]}",{fee}'
        f'"fillPrice":{shortest(event.fill_price)},"fillPriceCurrency":{currency},'
        f'"fillQuantity":{event.fill_quantity}.0,"direction":"{"buy" if order.quantity > 0 else "sell"}",{message}'
        f'"isAssignment":false,"quantity":{event.quantity}.0}}'
    )


@functools.lru_cache(maxsize=1024)
def _seconds(utc: datetime) -> str:
    """JSON number of Unix seconds."""
    return repr((utc - _EPOCH).total_seconds())


def summary_equity(equity: Series) -> Series:
    """The candles of the summary file: one every few days, whole dollars except where they are closed between points.

    A series that would be sampled daily or finer stays as it is.
    """
    count = len(equity.times)
    days = min(_SUMMARY_DAYS, count // _SUMMARY_POINTS)
    if days <= 1:
        return equity
    period = days * _DAY
    out = Series(equity.name, equity.unit, CANDLE)
    out.add(equity.times[0], equity.points[0])
    candles = [[Decimal(value) for value in point.split(",")] for point in equity.points]
    moment = equity.times[0] + period
    first = 1
    for i in range(1, count):
        if moment > equity.times[i]:
            continue
        part = candles[first : i + 1]
        open_ = Decimal(truncate(part[0][0]))
        high = Decimal(truncate(max(max(candle) for candle in part)))
        low = Decimal(truncate(min(min(candle) for candle in part)))
        last = candles[i][3]
        start_time, start_value = equity.times[first - 1], part[0][0]
        while moment <= equity.times[i]:
            share = Decimal(moment - start_time) / Decimal(equity.times[i] - start_time)
            close = smart(start_value + (last - start_value) * share)
            if len(part) == 1:
                high, low = max(open_, close), min(open_, close)
            out.add(moment, ",".join(map(number, (open_, high, low, close))))
            open_ = close
            moment += period
        first = i + 1
    return out


def write_whole(path: Path, pieces: Iterable[str]) -> None:
    """Write a file so that nobody ever sees half of it."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb", buffering=_BUFFER) as handle:
        handle.writelines(map(str.encode, pieces))
    part.replace(path)
