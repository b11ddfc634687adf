#!/usr/bin/env bash
# A million dispatches and combines on two ranks across the wrap of the epoch; arguments go to tests/multirank/soak.py.
# Needs Python and g++, as tests/run.sh does. Exit status 1 if a result is wrong or the processes grow.
#
#   bash tests/soak.sh                  some minutes on two free cores
#   bash tests/soak.sh --steps 20000    a short run
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$repository/tests"  # not the repository's root, where ms_moe_comm is the source and not the built package
python multirank/soak.py "$@"
