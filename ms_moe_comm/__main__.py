"""`python -m ms_moe_comm plan|doctor|check-kernels`."""
import sys

from ms_moe_comm.cli import main

if __name__ == "__main__":
    sys.exit(main())
