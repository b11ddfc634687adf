"""Random cases over the whole configuration space; tests/properties.sh runs thousands."""

from properties.pool import Pool
from properties.run import run

SEED, CASES = 20261125, 150


def test_cases_of_a_fixed_seed():
    pool = Pool(4)
    try:
        run(CASES, SEED, pool)
    finally:
        pool.close()
