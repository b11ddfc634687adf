"""A quick part of tests/simulate.sh: the rules of the host twin, and the kernels under some seeds."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SIMULATE = Path(__file__).resolve().parents[1] / "simulate.sh"
SEEDS = 24


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="needs a C++ compiler")
def test_rules_of_the_twin_and_some_seeds():
    """Field report 29 (public kernels: no flag after the last write, nothing guards a window that is being read).

    tests/mutate.sh and tests/model.sh show that the simulation notices both.
    """
    result = subprocess.run(["bash", SIMULATE, "--quick", str(SEEDS)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"seeds 1 to {SEEDS} clean" in result.stdout
    assert " 0 failed" in result.stdout


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="needs a C++ compiler")
def test_planted_faults_are_noticed_and_traces_judged():
    """Plants each fault of simulation/planted_faults.txt; an independent checker finds races where there are some."""
    result = subprocess.run(["bash", SIMULATE, "--plant", "all"], env={**os.environ, "PYTHON": sys.executable},
                            capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    unchanged = result.stdout.split("unchanged kernels")[1]
    assert unchanged.count(": 0 pairs of places race") == unchanged.count("trace of seed") == 9
