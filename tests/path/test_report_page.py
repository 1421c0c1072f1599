"""The HTML report in a real browser: nothing fetched, nothing complained about, readable on a phone."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import relay.reports  # noqa: F401 - enters every form of report into REPORTS
from relay.catalogue import causes
from relay.diagnosis import diagnose
from relay.finding import Findings, read_findings
from relay.report import REPORTS, Told
from tests.path.browser import Browser, browser
from tests.path.real import Tool

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "checks.json").read_text("utf-8"))
PHONE, DESK = 390, 1280
LONG = "a" * 300


def recorded(cause: str) -> Findings:
    return read_findings(next(vector["record"] for vector in VECTORS if vector["cause"] == cause))


def hostile() -> Findings:
    """Names and words that are as long as they may be, and would be markup."""
    record = next(vector["record"] for vector in VECTORS if vector["cause"] == "proxy-port-policy")
    words = f"<script>alert(1)</script><img src=http://127.0.0.1:1/{LONG}>"
    findings = [{**one, "words": words} for one in record["findings"]]
    return read_findings({**record, "target": f"{LONG}.example:5000", "findings": findings})


PAGES = {
    "good": lambda: recorded(""),
    "a broken way": lambda: recorded("fw-drop-syn"),
    "a broken proxy": lambda: recorded("proxy-port-policy"),
    "hostile words": hostile,
}


@pytest.fixture(scope="module")
def chromium(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all pages: it takes a second to start."""
    with browser(tool, tmp_path_factory.mktemp("browser")) as running:
        yield running


def written(found: Findings, folder: Path) -> Path:
    path = folder / "report.html"
    path.write_text(REPORTS["html"](Told(found, diagnose(found, causes()))), "utf-8")
    return path


def complaints(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the browser has told of the page that is no mere progress."""
    telling = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    return [event for event in events if event.get("method") in telling]


@pytest.mark.parametrize("name", PAGES)
def test_a_browser_shows_it(name: str, chromium: Browser, tmp_path: Path) -> None:
    """In both widths and colours: no complaint, no request, no scrolling sideways, everything in it open."""
    path = written(PAGES[name](), tmp_path)
    seen = set()
    for width in (PHONE, DESK):
        for scheme in ("light", "dark"):
            chromium.show(path, width, scheme)
            chromium.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            assert width >= chromium.evaluate("document.documentElement.scrollWidth")
            assert [] == complaints(chromium.events)
            asked = [event["params"]["request"]["url"] for event in chromium.events
                     if event.get("method") == "Network.requestWillBeSent"]  # fmt: skip
            assert [] == [url for url in asked if url != path.as_uri() and not url.startswith("data:")]
            ink = "getComputedStyle(document.querySelector('h1')).color"
            page = "getComputedStyle(document.body).backgroundColor"
            seen.add((scheme, chromium.evaluate(ink), chromium.evaluate(page)))
    assert 2 == len(seen), "light and dark differ, and nothing else does"


def test_the_broken_place_is_seen(chromium: Browser, tmp_path: Path) -> None:
    """The box that is broken, or the line, is marked once; on a good path nothing is."""
    marked = "document.querySelectorAll('svg.path .here').length"
    counts = {}
    for name, make in PAGES.items():
        chromium.show(written(make(), tmp_path), PHONE, "light")
        counts[name] = chromium.evaluate(marked)
    assert {"good": 0, "a broken way": 1, "a broken proxy": 1, "hostile words": 1} == counts


def test_it_can_be_drawn(chromium: Browser, tmp_path: Path) -> None:
    """A picture comes out of it; nothing in it is cut off on a phone."""
    chromium.show(written(recorded("proxy-port-policy"), tmp_path), PHONE, "dark")
    shot = base64.b64decode(chromium.call("Page.captureScreenshot", captureBeyondViewport=True)["data"])
    assert shot.startswith(b"\x89PNG")
    ends = "[...document.querySelectorAll('svg.path text')].map(one => one.getBBox().x + one.getBBox().width)"
    assert chromium.evaluate(f"Math.max(...{ends})") < 400
