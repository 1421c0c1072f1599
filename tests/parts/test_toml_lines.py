"""Lines of keys in TOML files: for every way in which a key can be written."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.suite_file import read_suite
from relay.toml_lines import Place, line_of, lines_of_tables

TEXT = '''# a comment
[suite]
name = "x"

[[path]]
route = [
  "a",  # ]
  "b",
]
expect = "ok"
[[path]]
route = """
[[path]]
expect = 1
"""
expect = 3
proxy.url = "dotted"
last = { a = 1 }
'''


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("suite",), 2),
        (("suite", "name"), 3),
        (("path", 0), 5),
        (("path", 0, "route"), 6),
        (("path", 0, "route", 1), 6),
        (("path", 0, "expect"), 10),
        (("path", 1), 11),
        (("path", 1, "route"), 12),
        (("path", 1, "expect"), 16),
        (("path", 1, "proxy", "url"), 17),
        (("path", 1, "last", "a"), 18),
    ],
)
def test_a_key_is_found(place: Place, line: int) -> None:
    """Lists and texts of several lines do not lead it astray, nor what looks like a table inside a text."""
    assert line == line_of(TEXT, place)


def test_the_tables_of_a_list() -> None:
    """Those that are written plainly are found at once; where one stands in a text, as any other key is."""
    assert [1, 4] == lines_of_tables("[[path]]\na = 1\n\n  [[ path ]]\n[[paths]]\n", "path", 2)
    assert [5, 11] == lines_of_tables(TEXT, "path", 2)
    assert [1, 1] == lines_of_tables("path = [{}, {}]\n", "path", 2)


def test_many_tables_take_no_long_time(tmp_path: Path) -> None:
    """A thousand paths are read in a second or so, and not in minutes: each line is not looked for anew."""
    targets = "".join(f'[target.t{at}]\nat = "127.0.0.1:{at}"\n' for at in range(1, 501))
    paths = "".join(
        f'[[path]]\nroute = ["direct", "p"]\ntarget = "t{at}"\nexpect = "ok"\n' for at in range(1, 501)
    )
    (tmp_path / "relay.toml").write_text(f'[proxy.p]\nurl = "http://127.0.0.1:1"\n{targets}{paths}')
    began = time.process_time()
    assert 1000 == len(read_suite(tmp_path / "relay.toml", {}).cells)
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    ("place", "line"), [(("path", 1, "none"), 11), (("path", 2), 5), (("none",), 1), ((), 1)]
)
def test_what_is_missing_has_the_line_of_its_table(place: Place, line: int) -> None:
    """A key that should be there is told at the table that lacks it."""
    assert line == line_of(TEXT, place)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_any_table_is_found(blanks: list[int]) -> None:
    """Whatever stands between them."""
    lines: list[str] = []
    starts = []
    for number, blank in enumerate(blanks):
        lines += ["# [[path]]" if blank % 2 else ""] * blank
        starts.append(len(lines) + 1)
        lines += ["[[path]]", f"n = {number}"]
    text = "\n".join(lines)
    assert starts == [line_of(text, ("path", number)) for number in range(len(blanks))]
