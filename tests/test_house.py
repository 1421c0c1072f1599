"""The house style, where a program can see it (CONTRIBUTING.md has the whole of it)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import protocol
import relay

ROOT = Path(__file__).parents[1]
PACKAGES = (Path(protocol.__file__).parent, Path(relay.__file__).parent)
SOURCES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40

MADE_HERE = {
    ".git", ".venv", ".venv-peers", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache",
    "__pycache__",
}  # fmt: skip
"""Folders that are no part of the project; so is `build` at its top."""

FOREIGN = {
    # Letters in brackets: so this file does not find itself.
    r"/([w]ork|[r]oot|[f]arm)/|/[h]ome/[a-z]": "a path of somebody's machine",
    r"[p]ypi\.org|[p]ythonhosted|[r]egistry\.npmjs|deb\.[d]ebian\.org|[i]ndex[-_]url|--[r]egistry": (
        "the address of a package registry"
    ),
    r"(?i)[c]laude|[a]nthropic|[o]penai|[c]hatgpt|[l]anguage model|[s]ubagent|system [p]rompt": (
        "a word that has no place in the project"
    ),
    r"<{7} |>{7} ": "the mark of a merge conflict",
}


def texts() -> Iterator[tuple[str, str]]:
    """Give name and text of every file of the project that is text."""
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        if path.is_file() and not MADE_HERE & set(parts) and parts[0] not in ("build", "dist"):
            try:
                yield str(path.relative_to(ROOT)), path.read_text("utf-8")
            except UnicodeDecodeError:
                continue


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_file_has_one_idea(path: Path) -> None:
    """A file of the packages that is longer than 300 lines holds more than one."""
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= MAX_FILE_LINES


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_function_can_be_seen_at_once(path: Path) -> None:
    """A function of the packages has at most 40 lines, its decorators and documentation apart."""
    long = {}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1 - documentation_lines(node)
            if lines > MAX_FUNCTION_LINES:
                long[node.name] = lines
    assert {} == long


def documentation_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    if ast.get_docstring(node) is None:
        return 0
    return (node.body[0].end_lineno or 0) - node.body[0].lineno + 1


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_broad_except_gives_its_reason(path: Path) -> None:
    """Whoever catches every exception says why, in a comment at the line or below it."""
    lines = path.read_text("utf-8").splitlines()
    silent = []
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.ExceptHandler) and is_broad(node):
            first = lines[node.lineno - 1 : node.body[0].lineno]
            if not any("#" in line for line in first):
                silent.append(f"line {node.lineno}")
    assert [] == silent


def is_broad(handler: ast.ExceptHandler) -> bool:
    caught = handler.type
    return caught is None or (isinstance(caught, ast.Name) and caught.id in ("Exception", "BaseException"))


@pytest.mark.parametrize(("pattern", "what"), FOREIGN.items(), ids=FOREIGN.values())
def test_the_project_holds_nothing_foreign(pattern: str, what: str) -> None:
    """No file has a path of somebody's machine, a registry's address, or a word that is foreign here."""
    found = [
        f"{name}:{number}: {line.strip()[:80]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert [] == found, what
