#!/usr/bin/env bash
# Runs 1,200 random cases in a minute and prints what they covered: the number of steps for each feature, primitive and
# dtype. Exit status 1 if a cell is empty. Arguments as for tests/properties.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$repository/tests"
python -m properties.run --cases 1200 --seed 1 --table "$@"
