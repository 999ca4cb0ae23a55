"""The .NET exceptions that LEAN's calls raise into an algorithm: of Python's classes only Exception catches them."""

from minilean.members import lean


class NetException(Exception):
    """Base of them all; its text is LEAN's message, without the .NET stack that LEAN shows after it."""


@lean("System", "ArgumentException")
class ArgumentException(NetException):
    pass


@lean("System", "ArgumentOutOfRangeException")
class ArgumentOutOfRangeException(ArgumentException):
    def __init__(self, name: str, message: str):
        super().__init__(f"{message} (Parameter '{name}')")


@lean("System", "InvalidOperationException")
class InvalidOperationException(NetException):
    pass


@lean("System.Collections.Generic", "KeyNotFoundException")
class KeyNotFoundException(NetException):
    pass
