"""quantconnect-stubs, read as text: which members LEAN's classes have, and with which parameters."""

import ast
import functools
import sysconfig
from pathlib import Path

SITE = Path(sysconfig.get_paths()["purelib"])

Parameters = list[tuple[str, str | None]]
"""Name and default, as the stub writes it; None where it must be given."""


@functools.cache
def classes(namespace: str) -> dict[str, ast.ClassDef]:
    stub = SITE.joinpath(*namespace.split("."), "__init__.pyi")
    if not stub.is_file():
        return {}
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


@functools.cache
def members(name: str) -> dict[str, list[Parameters]]:
    """Of LEAN's class, `QuantConnect.Securities.Security`: member -> overloads, inherited ones last; [] for data."""
    namespace, _, kind = name.rpartition(".")
    found: dict[str, list[Parameters]] = {}
    node = classes(namespace).get(kind)
    if node is None:
        return found
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef):
            decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in statement.decorator_list}
            overloads = found.setdefault(statement.name, [])
            if not decorators & {"property", "setter", "classproperty"}:
                overloads.append(_parameters(statement.args))
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found[statement.target.id] = []
    for base in node.bases:
        for member, overloads in members(ast.unparse(base).partition("[")[0]).items():
            found.setdefault(member, []).extend(overloads)
    return found


def _parameters(arguments: ast.arguments) -> Parameters:
    names = [argument.arg for argument in arguments.posonlyargs + arguments.args]
    required: list[ast.expr | None] = [None] * (len(names) - len(arguments.defaults))
    defaults = [default and ast.unparse(default) for default in (*required, *arguments.defaults)]
    return [pair for pair in zip(names, defaults, strict=True) if pair[0] != "self"]
