"""Fails when a file or a function outgrows the house (ARCHITECTURE rule 6), and prints how the sizes are spread."""

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("detco_core", "control", "worker", "server", "detco_client")
FILE_LIMIT = 400
FUNCTION_LIMIT = 80
DRAWERS = {"utils.py", "helpers.py", "common.py", "misc.py"}


def functions(tree: ast.AST) -> Iterator[tuple[str, int, int]]:
    """Name, first line and length in lines of every function, its docstring and decorators left out."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            yield node.name, node.lineno, (node.end_lineno or node.lineno) - body[0].lineno + 1


def main() -> int:
    root = Path(__file__).parent.parent
    faults: list[str] = []
    file_sizes: list[int] = []
    function_sizes: list[int] = []
    for path in sorted(p for package in PACKAGES for p in (root / package).rglob("*.py")):
        text = path.read_text("utf-8")
        name = path.relative_to(root)
        lines = len(text.splitlines())
        if lines > 1:
            file_sizes.append(lines)
        if lines > FILE_LIMIT:
            faults.append(f"{name}: {lines} lines, more than {FILE_LIMIT}: split it")
        if path.name in DRAWERS:
            faults.append(f"{name}: a drawer; name it by what it does")
        for function, line, size in functions(ast.parse(text)):
            function_sizes.append(size)
            if size > FUNCTION_LIMIT:
                faults.append(f"{name}:{line} {function}: {size} lines, more than {FUNCTION_LIMIT}: split it")
    print(f"{len(file_sizes)} files, {sum(file_sizes)} lines, {spread(file_sizes)}")
    print(f"{len(function_sizes)} functions, {spread(function_sizes)}")
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


def spread(sizes: list[int]) -> str:
    tenths = statistics.quantiles(sizes, n=10)
    return f"median {statistics.median(sizes):.0f}, nine in ten under {tenths[8]:.0f}, largest {max(sizes)} lines"


if __name__ == "__main__":
    sys.exit(main())
