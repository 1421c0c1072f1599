"""What every fuzz target does when it is run."""

import sys
from collections.abc import Callable

import atheris  # type: ignore[import-untyped]


def fuzz(test_one_input: Callable[[bytes], None]) -> None:
    """Run until libFuzzer's options say stop; more than 512 MiB at once is a finding."""
    arguments = sys.argv
    if not any(argument.startswith("-rss_limit_mb=") for argument in arguments):
        arguments = [*arguments, "-rss_limit_mb=512"]
    atheris.Setup(arguments, test_one_input)
    atheris.Fuzz()
