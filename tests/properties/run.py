"""Draws cases from a seed until one fails; see tests/properties.sh and tests/features.sh."""

import argparse
import collections
import random
import sys

from hypothesis import HealthCheck, Phase, given, seed, settings

from properties.case import DTYPES, cases
from properties.features import cells, table
from properties.pool import Pool


def run(number, seed_value, pool, seen=None):
    """Runs `number` cases; raises the first failure, shrunk. `seen` counts (feature, primitive, dtype)."""
    phases = (Phase.generate, Phase.shrink)

    @seed(seed_value)
    @settings(max_examples=number, deadline=None, database=None, phases=phases, suppress_health_check=list(HealthCheck))
    @given(cases())
    def check(case):
        pool.run(case)
        if seen is not None:
            seen.update((*cell, case["dtype"]) for cell in cells(case))
            seen["cases"] += 1
            if seen["cases"] % 500 == 0:
                print(f"  {seen['cases']} cases", flush=True)

    check()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--table", action="store_true", help="print what the cases covered; fail if a cell is empty")
    arguments = parser.parse_args()
    seed_value = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed
    print(f"seed {seed_value}", flush=True)
    pool, seen = Pool(4), collections.Counter()
    try:
        run(arguments.cases, seed_value, pool, seen)
    finally:
        pool.close()
    steps = sum(seen[kind, f"moe_{phase}_dispatch", dtype] for kind in ("counts", "cumulative sums")
                for phase in ("decode", "prefill") for dtype in DTYPES)
    print(f"{seen['cases']} cases, {steps} dispatches, all bits equal to the reference; replay: --seed {seed_value}")
    if arguments.table:
        text, empty = table(seen, DTYPES)
        print("Steps of tests/properties (check.py, Step) that covered each feature, per primitive and dtype:\n" + text)
        if empty:
            sys.exit(f"not covered: {empty}")


if __name__ == "__main__":
    main()
