"""LEAN's files: names, keys, layout, and the few candles of the summary."""

import json
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from minilean.enums import OrderStatus, OrderType
from minilean.orders import Order, OrderEvent
from minilean.results.charts import CANDLE, Series
from minilean.results.files import order_events, summary_equity, write_whole

START = datetime(2015, 6, 1, 4)
DAY = 86_400


def equity(count, step, candle=lambda n: (n, n, n, n)):
    series = Series("Equity", "$", CANDLE)
    for n in range(count):
        series.add(n * step, ",".join(map(str, candle(n))))
    return series


def candles(series):
    return [(time, *map(float, point.split(","))) for time, point in zip(series.times, series.points, strict=True)]


def test_up_to_two_hundred_points_the_summary_has_them_all():
    series = equity(199, DAY)
    assert summary_equity(series) is series


def test_the_summary_aggregates_whole_dollars_and_interpolates_the_close():
    # 200 points make samples every two days; the points lie 50 hours apart, so that samples fall between them
    series = equity(200, 50 * 3600, lambda n: (100.9 + n, 110.9 + n, 90.9 + n, 105.9 + n))
    found = candles(summary_equity(series))
    assert found[0] == (0, 100.9, 110.9, 90.9, 105.9)
    # two days are 48 of the 50 hours from point 0 to point 1: from its open 101.9 to its close 106.9
    assert found[1] == (2 * DAY, 101.0, 106.7, 101.0, 106.7)
    assert [time for time, *_ in found] == [2 * DAY * n for n in range(len(found))]


def test_a_summary_candle_over_several_points_takes_their_extremes():
    series = equity(700, 8 * 3600, lambda n: (1000, 1000 + n % 4 * 10.5, 990 - n % 3, 1000.25))
    found = candles(summary_equity(series))
    # seven days are 21 points; the sample falls on the last of them
    assert found[1] == (7 * DAY, 1000.0, 1031.0, 988.0, 1000.25)
    assert len(found) == 34


def test_a_gap_is_filled_with_samples_that_open_where_the_last_closed():
    series = Series("Equity", "$", CANDLE)
    for n in range(250):
        series.add(n * DAY if n < 3 else (n + 6) * DAY, f"{100 + n},{100 + n},{100 + n},{100 + n}")
    found = candles(summary_equity(series))
    assert [(time // DAY, open_, close) for time, open_, _, _, close in found[1:5]] == [
        (2, 101.0, 102.0),
        (4, 103.0, 103.0),
        (6, 103.0, 103.0),
        (8, 103.0, 103.0),
    ]


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "run.json"
    write_whole(path, ["o", "ld"])
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, ["new", "\ud800"])
    assert path.read_text(encoding="utf-8") == "old"
    write_whole(path, ["new"])
    assert path.read_text(encoding="utf-8") == "new"


def test_order_events_have_the_fields_of_lean_in_its_order(make_security):
    order = Order(7, OrderType.MARKET_ON_OPEN, make_security("BRK.B").symbol, -50, START, broker_id="7")
    filled = OrderEvent(order, 2, START, OrderStatus.FILLED, -50, Decimal("12.50"), -50, Decimal("1"))
    invalid = OrderEvent(order, 3, START + timedelta(hours=1), OrderStatus.INVALID, -50, message='too "much"')
    written = "".join(order_events([filled, invalid], "Probe"))
    first, second = written[1:-1].split("},{")
    assert first + "}" == (
        '{"id":"Probe-7-2","algorithmId":"Probe","orderId":7,"orderEventId":2,"symbol":"BRK.B RR2XJ5XMUULH",'
        '"symbolValue":"BRK.B","symbolPermtick":"BRK.B","time":1433131200.0,"status":"filled","orderFeeAmount":1.0,'
        '"orderFeeCurrency":"USD","fillPrice":12.5,"fillPriceCurrency":"USD","fillQuantity":-50.0,"direction":"sell",'
        '"isAssignment":false,"quantity":-50.0}'
    )
    assert json.loads("{" + second)["message"] == 'too "much"'
    assert "orderFeeAmount" not in second


@pytest.fixture
def after_a_trade(account, make_security):
    """An account that has bought and sold, and is done."""
    stock = make_security("AAA")
    account.members.append(stock)
    account.recorder.midnight(START)
    account.trade(stock, 10, "20", START + timedelta(hours=16))
    account.trade(stock, -10, "21.5", START + timedelta(hours=40))
    account.recorder.finish(START + timedelta(hours=40), daily=START + timedelta(hours=40))
    return account


def test_the_main_file_has_the_blocks_of_lean_and_two_spaces_a_level(after_a_trade, tmp_path):
    found = after_a_trade.results(tmp_path)
    assert list(found) == [
        "rollingWindow",
        "charts",
        "orders",
        "profitLoss",
        "statistics",
        "runtimeStatistics",
        "state",
        "serverStatistics",
        "algorithmConfiguration",
        "totalPerformance",
        "analysis",
    ]
    text = (tmp_path / "test.json").read_text(encoding="utf-8")
    # apart from the charts, whose series are one line each, it is laid out as json.dumps lays out
    before, rest = text.split('  "charts": {\n')
    after = rest[rest.index('  "orders": {\n') :]
    del found["charts"]
    assert before + after == json.dumps(found, indent=2)


def test_the_summary_file_has_one_series_and_no_trades(after_a_trade, tmp_path):
    main = after_a_trade.results(tmp_path)
    brief = json.loads((tmp_path / "test-summary.json").read_text(encoding="utf-8"))
    assert list(brief) == [
        "rollingWindow",
        "charts",
        "statistics",
        "runtimeStatistics",
        "state",
        "serverStatistics",
        "algorithmConfiguration",
        "totalPerformance",
    ]
    assert brief["rollingWindow"] == {}
    assert {name: list(block["series"]) for name, block in brief["charts"].items()} == {"Strategy Equity": ["Equity"]}
    assert len(main["totalPerformance"]["closedTrades"]) == 1
    main["totalPerformance"]["closedTrades"] = []
    for name in list(brief)[2:]:
        assert brief[name] == main[name]


def test_an_order_is_laid_out_over_lines_with_the_same_content(account, make_security, tmp_path):
    stock = make_security("AAA")
    account.members.append(stock)
    event = account.trade(stock, 10, "20", START)
    event.order.submission_price = Decimal("19.500")
    event.order.tag = "Liquidated"
    (order,) = account.results(tmp_path)["orders"].values()
    assert order["orderSubmissionData"] == {"bidPrice": 19.5, "askPrice": 19.5, "lastPrice": 19.5}
    assert (order["price"], order["value"], order["quantity"]) == (20.0, 200.0, 10.0)
    assert order["tag"] == "Liquidated"
    assert list(order) == [
        "type",
        "id",
        "contingentId",
        "brokerId",
        "symbol",
        "price",
        "priceCurrency",
        "time",
        "createdTime",
        "lastFillTime",
        "quantity",
        "status",
        "tag",
        "properties",
        "securityType",
        "direction",
        "value",
        "orderSubmissionData",
        "isMarketable",
        "priceAdjustmentMode",
    ]
