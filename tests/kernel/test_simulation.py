"""The kernels in simulation, a quick part of tests/simulate.sh: the rules of the host twin, and some seeds."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SIMULATE = Path(__file__).resolve().parents[1] / "simulate.sh"
SEEDS = 24


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="needs a C++ compiler")
def test_rules_of_the_twin_and_some_seeds():
    """Field report 29 (public kernels: no flag after the last write, nothing guards a window that is being read).

    That the simulation notices either: tests/mutate.sh, tests/model.sh.
    """
    result = subprocess.run(["bash", SIMULATE, "--quick", str(SEEDS)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"seeds 1 to {SEEDS} clean" in result.stdout
    assert " 0 failed" in result.stdout
