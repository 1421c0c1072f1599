"""The images that all tests of the stack share: built once, and taken away at the end."""

import os
from collections.abc import Iterator

import pytest

from tests.compose.stack import Stack


@pytest.fixture(scope="session", autouse=True)
def image() -> Iterator[None]:
    """Build the image of server, proxy and client."""
    stack = Stack("image")
    built = stack.compose("build")
    assert 0 == built.returncode, built.stdout
    yield
    stack.run("docker", "image", "rm", "--force", f"relay{os.getpid()}:test", f"relaypeers{os.getpid()}:test")
