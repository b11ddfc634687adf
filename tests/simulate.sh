#!/usr/bin/env bash
# Runs the unchanged kernels in simulation: all cores of all ranks in one thread, under a seeded scheduler
# (op_impl/host_twin/check). Needs g++ and Python with PyYAML. With a finding it prints a report with the seed, and the
# exit status is 1.
#
#   bash tests/simulate.sh            the rules of the twin itself, then 400 seeds: within 3 minutes
#   bash tests/simulate.sh --long     as many seeds as it takes for each kernel to run in 2,000
#   bash tests/simulate.sh --seed N   one seed again, with its configuration
#   bash tests/simulate.sh --quick M  the rules and seeds 1 to M
#   bash tests/simulate.sh --plant NAME  plants a fault of tests/simulation/planted_faults.txt, or all of them, and
#                                     prints which seed notices it. Exit status 1 if none does within 400 seeds.
#                                     With all, tests/simulation/races.py also judges traces with and without a fault
#   bash tests/simulate.sh --seed N --trace FILE   writes a trace of the run (op_impl/host_twin/check/trace.h); with
#                                     --go-on yes the run continues to its end after a race or a wrong result
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
source "$repository/tests/simulation/compile.sh"

if [[ ${1:-} == --plant ]]; then
    plant=(${PYTHON:-python3} "$repository/tests/simulation/plant.py" "$build/op_impl")
    cp -r "$repository/op_impl" "$build/op_impl"
    "${plant[@]}"
    build_woven "$build/op_impl"
    "${plant[@]}" "$build/simulate" "${2:-all}"
    exit
fi

start=$SECONDS
compile "${kernels[@]}" "$simulator" "${scenarios[@]}" "$repository"/tests/simulation/{main,twin_rules}.cc
"$cxx" "$build"/{simulator,twin_rules}.cc.o -o "$build/twin_rules"
link simulate main.cc
echo "compiled in $((SECONDS - start)) s"

case ${1:-} in
    "") seeds=(--seeds 400) ;;
    --quick) seeds=(--seeds "$2") ;;
    --long) seeds=(--each 2000) ;;
    *) seeds=("$@") ;;
esac
"$build/twin_rules"
"$build/simulate" "${seeds[@]}"
echo "simulation passed, $((SECONDS - start)) s with the compiler"
