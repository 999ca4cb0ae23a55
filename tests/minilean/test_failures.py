"""How an algorithm's exceptions read: LEAN's words for Python's, and the frames of the algorithm alone."""

from datetime import date, datetime
from typing import Any

import pytest

from minilean.errors import NotInHost
from minilean.failures import describe


def text(error: Exception) -> str:
    """The first line of LEAN's text of an exception."""
    return describe(error).split("\n")[0]


def raised(expression: str, **names: Any) -> Exception:
    try:
        eval(expression, {"datetime": datetime, "date": date, **names})
    except Exception as error:
        return error
    raise AssertionError(f"{expression} raises nothing")


def test_an_ordinary_exception_is_its_message_and_its_frames():
    def inner() -> None:
        raise ValueError("broken on purpose")

    try:
        inner()
    except ValueError as error:
        lines = describe(error).split("\n")
    assert lines[0] == "broken on purpose"
    assert lines[1] == "  at test_an_ordinary_exception_is_its_message_and_its_frames"
    assert lines[-3].strip() == 'raise ValueError("broken on purpose")'
    assert lines[-2].startswith(" in test_failures.py: line ")
    assert lines[-1] == ""


def test_the_hosts_own_frames_are_left_out(market):
    market.stock("AAA")

    def fail(a: Any) -> None:
        a.securities["NOPE"]

    with pytest.raises(AssertionError) as caught:
        market.run({"2013-06-05 12:00": fail})
    assert "The ticker NOPE was not found in the SymbolCache." in str(caught.value)
    assert "test_failures.py" in str(caught.value)
    assert "engine.py" not in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "start", "end"),
    [
        ("{}['AAA']", "The key 'AAA' was not found in the collection, which raises", "with 'if key in collection:'."),
        ("{}['']", "The requested key was not found in the collection", "'if key in collection:'."),
        ("1 + 'a'", "Trying to perform a summation, subtraction, multiplication or division between 'int' and 'str'",
         "ensure that both values share the same type."),
        ("datetime(2013, 1, 1) - date(2013, 1, 1)", "Trying to perform a summation",
         "(expiry.date() - today).days or self.time.date()."),
        ("datetime(2013, 1, 1) < date(2013, 1, 1)", "Trying to compare 'datetime.datetime' and 'datetime.date'",
         "self.time.date() <= some_date."),
        ("__import__('no_such_module')", "No module named 'no_such_module'.", "installed in the environment."),
        ("__import__('NoSuchModule')", "No module named 'NoSuchModule'.", "use an equivalent Python package instead."),
    ],
)
def test_lean_has_its_own_words_for_some_exceptions(expression, start, end):
    words = text(raised(expression))
    assert words.startswith(start)
    assert words.endswith(end)


def test_a_call_that_fits_no_signature_names_the_method_and_the_signatures():
    error = TypeError("No method matches given arguments for .ctor: (x). The following overloads are available:\n  a")
    assert describe(error).startswith(
        "Trying to dynamically access a method that does not exist throws a TypeError exception. To prevent the "
        "exception, ensure each parameter type matches those required by the .ctor method. Please checkout the API "
        "documentation. The following overloads are available:\n  a"
    )


def test_a_name_that_algorithm_imports_brings_in_lean_alone_is_refused():
    with pytest.raises(NotInHost, match="RollingWindow is part of LEAN"):
        describe(raised("RollingWindow"))
    with pytest.raises(NotInHost, match="SimpleMovingAverage is part of LEAN"):
        describe(ImportError("cannot import name 'SimpleMovingAverage' from 'AlgorithmImports' (unknown location)"))
    assert text(raised("no_such_name")) == "name 'no_such_name' is not defined"


def test_a_failure_of_initialize_is_followed_by_pythons_own_message(market):
    from minilean.algorithm import QCAlgorithm

    class Failing(QCAlgorithm):
        def initialize(self) -> None:
            {}["AAA"]

    failure = market.engine(Failing).run()
    assert failure is not None
    assert failure.message.startswith("1998-01-01 00:00:00 During the algorithm initialization, the following")
    assert failure.message.endswith("\n 'AAA'")
