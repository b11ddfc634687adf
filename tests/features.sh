#!/usr/bin/env bash
# Runs 1,200 random cases and prints what they covered: feature x primitive x dtype, in each cell how many steps: a
# minute. Exit status 1 if one is empty. Arguments as for tests/properties.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$repository/tests"
python -m properties.run --cases 1200 --seed 1 --table "$@"
