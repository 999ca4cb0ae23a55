"""LEAN's JSON of orders and the hash over it, to the character."""

import hashlib
import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from minilean.enums import OrderStatus, OrderType
from minilean.orders import Order, OrderEvent, iso, order_json, order_list_hash
from minilean.symbols import SecurityIdentifier, Symbol

DIVD = Symbol(SecurityIdentifier.parse("DIVD V2YLWY8G7N1H"), "DIVD")

EXAMPLE = (
    '{"type":4,"id":2,"contingentId":0,"brokerId":["2"],"symbol":{"value":"DIVD","id":"DIVD V2YLWY8G7N1H",'
    '"permtick":"DIVD"},"price":40.29462,"priceCurrency":"USD","time":"2013-06-03T13:00:00Z",'
    '"createdTime":"2013-06-03T13:00:00Z","lastFillTime":"2013-06-03T20:00:00Z","quantity":412.0,"status":3,"tag":"",'
    '"properties":{"timeInForce":{}},"securityType":1,"direction":0,"value":16601.38344,"orderSubmissionData":'
    '{"bidPrice":39.62969032400,"askPrice":39.62969032400,"lastPrice":39.62969032400},"isMarketable":false,'
    '"priceAdjustmentMode":1}'
)


def order(**changes: Any) -> Order:
    """The order of LEAN's example."""
    fields: dict[str, Any] = {
        "id": 2,
        "type": OrderType.MARKET_ON_OPEN,
        "symbol": DIVD,
        "quantity": 412,
        "time": datetime(2013, 6, 3, 13),
        "status": OrderStatus.FILLED,
        "price": Decimal("40.294617329"),
        "broker_id": "2",
        "submission_price": Decimal("39.62969032400"),
        "last_fill_time": datetime(2013, 6, 3, 20),
    }
    return Order(**(fields | changes))


def field(name: str, **changes: Any) -> Any:
    """A field of an order's JSON; numbers as their texts."""
    return json.loads(order_json(order(**changes), rounded=True), parse_float=str, parse_int=str)[name]


def test_an_order_has_leans_json_to_the_character():
    assert order_json(order(), rounded=True) == EXAMPLE


def test_the_result_file_shows_the_unrounded_price_and_its_value():
    shown = json.loads(order_json(order(), rounded=False), parse_float=str)
    assert shown["price"] == "40.294617329"
    assert shown["value"] == "16601.382339548"  # 412 * 40.294617329


def test_layout_changes_no_value():
    laid_out = order_json(order(), rounded=True, indent="  ")
    assert "\n" in laid_out
    assert json.loads(laid_out, parse_float=str) == json.loads(EXAMPLE, parse_float=str)
    assert list(json.loads(laid_out)) == list(json.loads(EXAMPLE))


@pytest.mark.parametrize(
    ("price", "quantity", "expected_price", "expected_value"),
    [
        ("143.07840", 10, "143.0784", "1430.7840"),  # the product's scale
        ("100", -5, "100.0", "-500.0"),
        ("0", 412, "0.0", "0.0"),
        ("0", -412, "0.0", "0.0"),  # never -0.0
        ("1398.120049", 1, "1398.1200", "1398.1200"),
    ],
)
def test_price_and_value_are_the_rounded_price_and_its_product(price, quantity, expected_price, expected_value):
    assert field("price", price=Decimal(price), quantity=quantity) == expected_price
    assert field("value", price=Decimal(price), quantity=quantity) == expected_value


def test_a_sale_has_direction_1_and_a_negative_quantity():
    assert field("direction", quantity=-412) == "1"
    assert field("quantity", quantity=-412) == "-412.0"


def test_times_that_are_unset_are_absent_and_the_others_stand_in_leans_order():
    bare = json.loads(order_json(order(last_fill_time=None), rounded=True))
    assert {"lastFillTime", "lastUpdateTime", "canceledTime"}.isdisjoint(bare)
    full = order_json(
        order(last_update_time=datetime(2013, 6, 4, 4), canceled_time=datetime(2013, 6, 5, 4)), rounded=True
    )
    assert (
        '"lastFillTime":"2013-06-03T20:00:00Z","lastUpdateTime":"2013-06-04T04:00:00Z",'
        '"canceledTime":"2013-06-05T04:00:00Z","quantity"' in full
    )


def test_a_delisting_sale_has_no_broker_currency_or_submission():
    sale = order_json(
        order(
            type=OrderType.MARKET,
            broker_id="",
            price_currency="",
            submission_price=None,
            tag="Liquidate from delisting",
        ),
        rounded=True,
    )
    assert '"brokerId":[],' in sale
    assert '"priceCurrency":"",' in sale
    assert '"orderSubmissionData":null,"isMarketable":true,' in sale
    assert '"tag":"Liquidate from delisting",' in sale


@pytest.mark.parametrize(("raw", "mode"), [(False, "1}"), (True, "0}")])
def test_the_adjustment_mode_is_1_for_adjusted_and_0_for_raw_prices(raw, mode):
    assert order_json(order(raw_prices=raw), rounded=True).endswith(f'"priceAdjustmentMode":{mode}')


def test_submission_prices_keep_all_their_zeros():
    shown = order_json(order(submission_price=Decimal("699.06000")), rounded=True)
    assert '{"bidPrice":699.06000,"askPrice":699.06000,"lastPrice":699.06000}' in shown


def test_a_tag_is_escaped():
    assert json.loads(order_json(order(tag='a "b"\\\n'), rounded=True))["tag"] == 'a "b"\\\n'


def test_the_hash_is_the_md5_of_all_orders_joined_by_commas():
    second = EXAMPLE.replace('"id":2,', '"id":3,').replace('["2"]', '["3"]')
    expected = hashlib.md5(f"{EXAMPLE},{second}".encode()).hexdigest()
    assert order_list_hash([order(), order(id=3, broker_id="3")]) == expected


def test_the_hash_of_no_orders_is_that_of_the_empty_text():
    assert order_list_hash([]) == "d41d8cd98f00b204e9800998ecf8427e"


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (datetime(2013, 6, 3, 20), "2013-06-03T20:00:00Z"),
        (datetime(2013, 6, 3, 20, 0, 0, 1000), "2013-06-03T20:00:00.001Z"),
        (datetime(2013, 6, 3, 20, 0, 0, 10_000), "2013-06-03T20:00:00.01Z"),
    ],
)
def test_a_time_has_a_fraction_only_where_there_is_one(time, expected):
    assert iso(time) == expected


def test_an_order_event_prints_as_leans_log_line():
    event = OrderEvent(
        order(),
        2,
        datetime(2013, 6, 3, 20),
        OrderStatus.FILLED,
        412,
        fill_price=Decimal("40.294617329"),
        fill_quantity=412,
        fee=Decimal("2.060"),
    )
    assert str(event) == (
        "Time: 06/03/2013 20:00:00 OrderID: 2 EventID: 2 Symbol: DIVD Status: Filled Quantity: 412 "
        "FillQuantity: 412 FillPrice: $40.29462 OrderFee: 2.06 USD"
    )
