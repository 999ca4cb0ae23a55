"""What the embedded host offers has LEAN's name, parameters and defaults, by QuantConnect's own stubs."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import minilean.engine
import minilean.imports  # noqa: F401  every class that a main.py can meet is defined now
from minilean.members import LeanObject
from tests.lean import stubs

NOT_LEANS = {
    "AlgorithmSettings.DEFAULTS": "the host's table of LEAN's defaults",
    "UniverseSettings.DEFAULTS": "the host's table of LEAN's defaults",
    "ETFConstituentsUniverseFactory.inner": "the host's own universe behind LEAN's",
    "PortfolioTarget.exact": "the quantity before it is rounded to LEAN's decimals",
    "Symbol.sid": "the host's key of a symbol",
}
"""Public members of the host that LEAN has not."""

BY_POSITION = {
    "DateRules.every": "any number of days of the week",
    "DateRules.on": "a date, or a year, a month and a day",
    "QCAlgorithm.market_on_close_order": "what follows is market_order's",
    "QCAlgorithm.market_on_open_order": "what follows is market_order's",
    "QCAlgorithm.order": "what follows is market_order's",
    "QCAlgorithm.plot": "a chart may come first",
    "QCAlgorithm.set_benchmark": "a type of security may come first",
    "QCAlgorithm.set_cash": "a currency may come first",
    "QCAlgorithm.set_end_date": "a date, or a year, a month and a day",
    "QCAlgorithm.set_start_date": "a date, or a year, a month and a day",
    "QCAlgorithm.train": "the rules may be left out",
    "ScheduleManager.on": "a name may come first",
    "SecurityExchangeHours.is_open": "a moment, or the beginning and end of a period",
    "UniverseDefinitions.etf": "market, settings and filter are told apart by their types",
}
"""Methods whose overloads in LEAN differ by number or type; the host takes these arguments by position alone."""

OTHERWISE = {
    "ObjectStore.read_json": "generic in LEAN, and the stub has no parameters",
    "ObjectStore.save_json": "generic in LEAN, and the stub has no parameters",
    "QCAlgorithm.add_universe": "LEAN has a dozen kinds of universe; the host takes one that is made already",
    "QCAlgorithm.on_data": "LEAN calls it by position, and its documentation calls the parameter data",
    "SecurityIdentifier.generate_equity": "takes the first ticker and date, which LEAN looks up in a map file",
}
"""Methods that differ from every overload of LEAN's."""

LACKING = {
    "base_data_type": "custom data",
    "return_delta_quantity": "a target is the whole quantity in the host",
}
"""Optional parameters of LEAN's that no method of the host has: naming one is a TypeError."""


def host_classes(kind: type = LeanObject) -> Iterator[Any]:
    for child in kind.__subclasses__():
        if child.__module__.startswith("QuantConnect"):
            yield child
        yield from host_classes(child)


def offered() -> Iterator[tuple[str, str, str, Any]]:
    """Class and member as the test names them, LEAN's class, and what the host has there."""
    seen = set()
    for kind in host_classes():
        lean_class = f"{kind.__module__}.{kind._lean_name}"
        for owner in kind.__mro__[: kind.__mro__.index(LeanObject)]:
            for name, value in vars(owner).items():
                if not name.startswith("_") and (lean_class, name) not in seen:
                    seen.add((lean_class, name))
                    yield kind._lean_name, name, lean_class, value


def function_of(value: Any) -> Any:
    inner = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
    return inner if inspect.isfunction(inner) else None


ALL = sorted(offered(), key=lambda entry: entry[:3])
METHODS = [(f"{kind}.{name}", lean_class, value) for kind, name, lean_class, value in ALL if function_of(value)]


def agrees(mine: list[inspect.Parameter], overload: stubs.Parameters, others: list[stubs.Parameters]) -> bool:
    """Whether the host's parameters are an overload's, by name, order and default.

    A parameter that LEAN requires may be left out in the host where another overload does without it.
    """
    names = [parameter.name for parameter in mine]
    theirs = [(name, default) for name, default in overload if name in names or name not in LACKING]
    if names != [name for name, _ in theirs]:
        return False
    for parameter, (name, default) in zip(mine, theirs, strict=True):
        own = None if parameter.default is parameter.empty else repr(parameter.default)
        optional_elsewhere = own is not None and any(name not in dict(other) for other in others)
        unsaid = default == "..." and own is not None
        if own != default and not unsaid and not (default is None and optional_elsewhere):
            return False
    return True


def test_the_stubs_are_read():
    assert stubs.members("QuantConnect.Algorithm.QCAlgorithm")["set_cash"]
    assert len(METHODS) > 100


@pytest.mark.parametrize(("kind", "name", "lean_class", "value"), ALL, ids=[f"{k}.{n}" for k, n, _, _ in ALL])
def test_what_the_host_offers_has_a_name_of_leans(kind, name, lean_class, value):
    known = stubs.members(lean_class)
    if not known:
        pytest.skip(f"the stubs have no {lean_class}")
    assert (name in known) != (f"{kind}.{name}" in NOT_LEANS)


@pytest.mark.parametrize(("name", "lean_class", "value"), METHODS, ids=[name for name, _, _ in METHODS])
def test_a_method_of_the_host_has_leans_parameters_and_defaults(name, lean_class, value):
    overloads = stubs.members(lean_class).get(name.split(".")[-1])
    if not overloads:
        pytest.skip(f"the stubs have no {name}")
    parameters = list(inspect.signature(function_of(value)).parameters.values())[not isinstance(value, staticmethod) :]
    by_position = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    named = [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    if by_position and named:  # some by position, the others by LEAN's names
        defaults = {name: default for overload in overloads for name, default in overload}
        assert all(defaults[p.name] in (None, repr(p.default)) for p in named)
        return
    assert by_position == (name in BY_POSITION)
    if not by_position:
        assert any(agrees(parameters, overload, overloads) for overload in overloads) != (name in OTHERWISE)


def test_every_listed_difference_is_one_of_something_that_exists():
    names = {f"{kind}.{name}" for kind, name, _, _ in ALL}
    assert {*NOT_LEANS, *BY_POSITION, *OTHERWISE} <= names
