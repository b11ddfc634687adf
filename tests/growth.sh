#!/usr/bin/env bash
# How the kernels' control messages, control bytes and one-way latencies grow with the ranks (2 to 384) and with the
# cores of a rank (1 to 48): counted on the unchanged kernels in simulation, whose results are compared with the
# reference. Also prints what grows faster than it must.
# Needs g++ and Python with PyYAML. Exit status 1 if a result is wrong.
#
#   bash tests/growth.sh           about 3 minutes of processor time; 384 ranks take 5 GB of memory
#   bash tests/growth.sh --short   up to 64 ranks
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
source "$repository/tests/simulation/compile.sh"
compile "${kernels[@]}" "$simulator" "${scenarios[@]}" "$repository/tests/simulation/growth.cc"
link growth growth.cc
"$build/growth" "$@"
