#!/usr/bin/env bash
# Whether the simulation would notice: every statement of the kernels that synchronises, moves or keeps the protocol's
# state is dropped or changed, one at a time, and must be reported (tests/simulation/mutate.py). Needs g++ and Python.
# Exit status 1 if a mutant survives that tests/simulation/equivalent_mutants.txt does not explain.
#
#   bash tests/mutate.sh
#   MUTANTS=3,17 bash tests/mutate.sh   only these
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cxx=${CXX:-g++}
python=${PYTHON:-python3}
command -v "$cxx" >/dev/null || { echo "no C++ compiler $cxx; install one (Debian: apt-get install g++)" >&2; exit 1; }

cp -r "$repository/op_impl" "$build/op_impl"
"$python" "$repository/tests/simulation/mutate.py" "$build/op_impl"
mutated=$build/op_impl
flags=(-std=c++17 -O1 -ffp-contract=off -U_FORTIFY_SOURCE)
mutated_flags=("${flags[@]}" -include "$mutated/mutant.h" -I"$mutated" -I"$mutated/host_twin"
               -I"$mutated/host_twin/check")
plain_flags=("${flags[@]}" -O2 -I"$repository/op_impl")

compile() {  # sources, with the flags in the array of that name
    local -n chosen=$1
    local source
    shift
    for source in "$@"; do
        "$cxx" "${chosen[@]}" -c "$source" -o "$build/$(basename "$source").o"
    done
}
compile mutated_flags "$mutated"/moe_*/op_kernel/*.cpp "$mutated/mutant.cc" &
compile plain_flags "$repository/op_impl/host_twin/check/simulator.cc" \
    "$repository"/tests/simulation/{scenario,main}.cc
wait $!
"$cxx" "$build"/{simulator,scenario,main,mutant}.cc.o "$build"/*.cpp.o -o "$build/simulate"
"$python" "$repository/tests/simulation/mutate.py" "$mutated" "$build/simulate"
