"""Python source: strings, calls, and the functions that are pasted into a revision."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

WIDTH = 88  #: of a line, where it can be broken


class Verbatim(str):
    """Source that stands as it is."""


def source(value: Any, indent: int = 0) -> str:
    """A value as Python source: strings, numbers, None, and tuples and tables of them."""
    if isinstance(value, Verbatim):
        return str(value)
    if isinstance(value, str):
        return string(value)
    if isinstance(value, tuple | list):
        opening, closing = ("(", ")") if isinstance(value, tuple) else ("[", "]")
        last = "," if isinstance(value, tuple) and len(value) == 1 else ""
        return bracketed(opening, [source(v, indent + 4) for v in value], closing, indent, last)
    if isinstance(value, Mapping):
        pairs = [f"{string(k)}: {source(v, indent + 4)}" for k, v in value.items()]
        return bracketed("{", pairs, "}", indent)
    return repr(value)


def bracketed(opening: str, parts: list[str], closing: str, indent: int, last: str = "") -> str:
    """In one line where it fits, else one part a line."""
    line = f"{opening}{', '.join(parts)}{last}{closing}"
    if indent + len(line) <= WIDTH and "\n" not in line:
        return line
    inner = "".join(f"{' ' * (indent + 4)}{p},\n" for p in parts)
    return f"{opening}\n{inner}{' ' * indent}{closing}"


def string(text: str) -> str:
    """A literal in the quotes that need fewer escapes."""
    mark = '"' if text.count('"') <= text.count("'") else "'"
    plain = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode()
        for c in text.replace("\\", "\\\\")
    )
    return f"{mark}{plain.replace(mark, chr(92) + mark)}{mark}"


def call(name: str, *values: Any, **named: Any) -> str:
    """A call as a statement of a function's body."""
    parts = [source(v, 8) for v in values] + [f"{k}={source(v, 8)}" for k, v in named.items()]
    return f"    {bracketed(f'{name}(', parts, ')', 4)}\n"


@cache
def _pasted(dialect: str) -> tuple[str, ast.Module]:
    text = files("onerow.emit.pasted").joinpath(f"{dialect}.py").read_text(encoding="utf-8")
    return text, ast.parse(text)


def helpers(dialect: str, used: Iterable[str]) -> tuple[str, str]:
    """Imports, and the functions that a body calls by these names, with those that they call."""
    text, tree = _pasted(dialect)
    functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    wanted = set(used)
    while more := {n for w in wanted for n in _names(functions[w]) & functions.keys()} - wanted:
        wanted |= more
    chosen = [f for name, f in functions.items() if name in wanted]
    names = {n for f in chosen for n in _names(f)}
    imports = "".join(_imports(text, ast.parse(text), names))
    return imports, "\n\n".join(_segment(text, f) for f in chosen)


def _names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _segment(text: str, node: ast.FunctionDef) -> str:
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return "\n".join(text.splitlines()[first - 1 : node.end_lineno]) + "\n"


def _imports(text: str, tree: ast.Module, names: set[str]) -> Iterator[str]:
    """The imports of the pasted module that are needed here, apart where they are apart there."""
    lines, apart = text.splitlines(), False
    for node in tree.body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        apart = apart or not lines[node.lineno - 2]
        future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
        node.names = [a for a in node.names if future or (a.asname or a.name) in names]
        if node.names:
            yield "\n" * (apart and not future) + ast.unparse(node) + "\n"
            apart = False
