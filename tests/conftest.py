"""Settings of all tests."""

import sys
from pathlib import Path

import mindspore as ms

sys.path.insert(0, str(Path(__file__).parent))  # the processes of tests/multirank import its modules by this name too
ms.set_device("CPU")


def pytest_terminal_summary(terminalreporter):
    """How many tests of each layer ran, and with what result."""
    layers = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            layer = report.nodeid.split("/")[-2] if "/" in report.nodeid else "."
            layers.setdefault(layer, {}).setdefault(outcome, 0)
            layers[layer][outcome] += 1
    terminalreporter.section("layers")
    for layer, outcomes in sorted(layers.items()):
        terminalreporter.write_line(f"{layer:10} " + ", ".join(f"{n} {outcome}" for outcome, n in outcomes.items()))
