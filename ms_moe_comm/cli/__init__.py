"""Command line: `plan`, `doctor` and `check-kernels`.

`plan` sizes windows before there are any, `doctor` finds out whether this machine can run them, and `check-kernels`
holds the sources against CANN's headers.
"""
import argparse
import importlib
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit code: 0, or 1 if a check of `doctor` failed; wrong arguments exit with 2."""
    parser = argparse.ArgumentParser(prog="python -m ms_moe_comm", description=__doc__)
    parser.add_argument("command", choices=("plan", "doctor", "check-kernels"), help="each has a --help of its own")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the command")
    options = parser.parse_args(arguments)
    # imported only now: `plan` needs the library, but `doctor` must run without it, to report that
    command = importlib.import_module("ms_moe_comm.cli." + options.command.replace("-", "_"))
    return int(command.main(options.arguments))
