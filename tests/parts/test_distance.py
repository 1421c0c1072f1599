"""When the time of a refusal says that the host itself did not send it."""

import pytest

from relay.checks.distance import are_sooner


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        ([9.0, 10.0], [40.0, 41.0], True),
        ([40.0, 41.0], [40.0, 41.0], False),
        ([19.0], [40.0], True),
        ([21.0], [40.0], False),
        # Inside one machine
        ([0.1, 0.2], [1.0, 1.2], False),
        # A busy machine: the control's connections all had to wait, one of the port's did not
        ([0.4, 8.0, 7.0], [6.0, 9.0, 7.5], False),
    ],
)
def test_are_sooner(here: list[float], there: list[float], expected: bool) -> None:
    """Only when the slowest of the port beats the quickest of its neighbour by far."""
    assert expected == are_sooner(here, there)
