"""See default_mode.py."""

import pytest

from multirank.ranks import run_ranks


@pytest.mark.parametrize("size", [2, 4])
def test_errors_come_out_of_their_step(size):
    for output in run_ranks(size, "multirank.default_mode", "errors_and_recoveries"):
        assert output == "100 refused, 15 recoveries\n"
