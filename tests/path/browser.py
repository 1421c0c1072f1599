"""A real browser without a window, spoken to by the DevTools protocol over two pipes."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.path.real import Tool, environment

ANSWER_LIMIT = 10_000
"""Messages that are read before an answer is given up."""


class Browser:
    """One browser with one page; every event that it tells is kept."""

    def __init__(self, write: int, read: int) -> None:
        self._write = write
        self._read = os.fdopen(read, "rb", buffering=0)
        self._number = 0
        self._unread = b""
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []

    def open(self) -> None:
        """Make the page, and have it tell of logs, exceptions and requests."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its answer; what is told meanwhile is kept in `events`."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        for _ in range(ANSWER_LIMIT):
            told = self._next()
            if told.get("id") == self._number:
                assert "error" not in told, told
                return dict(told["result"])
            self.events.append(told)
        raise AssertionError(f"no answer to {method}")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def show(self, path: Path, width: int, scheme: str) -> None:
        """Load a file as a screen of this width shows it, and wait until it is there."""
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **screen)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            data = self._read.read(65536)
            assert data, "the browser has ended"
            self._unread += data
        message, _, self._unread = self._unread.partition(b"\0")
        return dict(json.loads(message))

    def close(self) -> None:
        self._read.close()
        os.close(self._write)


@contextlib.contextmanager
def browser(tool: Tool, folder: Path) -> Iterator[Browser]:
    """Chromium, for as long as the block lasts."""
    program = tool("chromium-headless-shell", "chromium-headless-shell")
    to_browser, from_browser = os.pipe(), os.pipe()
    # The protocol's pipes are descriptors 3 and 4 (--remote-debugging-pipe)
    shell = 'exec "$0" "$@" 3<&"$IN" 4>&"$OUT"'
    options = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--remote-debugging-pipe", f"--user-data-dir={folder}",
    ]  # fmt: skip
    process = subprocess.Popen(
        ["bash", "-c", shell, program, *options],
        pass_fds=(to_browser[0], from_browser[1]),
        env={**environment(), "IN": str(to_browser[0]), "OUT": str(from_browser[1]), "HOME": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser[0])
    os.close(from_browser[1])
    made = Browser(to_browser[1], from_browser[0])
    try:
        made.open()
        yield made
        with contextlib.suppress(AssertionError, OSError):
            made.call("Browser.close")
    finally:
        made.close()
        process.kill()
        process.wait()
