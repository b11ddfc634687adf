#!/usr/bin/env bash
# Tests the simulation: drops or changes every statement of the kernels that synchronises, moves or keeps the protocol's
# state, one at a time. The simulation must report each (tests/simulation/mutate.py). Needs g++ and Python.
# Exit status 1 if a mutant survives that tests/simulation/equivalent_mutants.txt does not explain.
#
#   bash tests/mutate.sh
#   MUTANTS=3,17 bash tests/mutate.sh   only these
#   EVERY=5 bash tests/mutate.sh        only each fifth
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
python=${PYTHON:-python3}
source "$repository/tests/simulation/compile.sh"

cp -r "$repository/op_impl" "$build/op_impl"
"$python" "$repository/tests/simulation/mutate.py" "$build/op_impl"
build_woven "$build/op_impl"
"$python" "$repository/tests/simulation/mutate.py" "$build/op_impl" "$build/simulate"
