#!/usr/bin/env bash
# Rehearses the package on Ascend without an NPU: MindSpore's own Ascend backend on a stand-in for CANN
# (tests/stand_in_cann/README.md), the CANN branch of setup.py as it is, every step of tests/npu. Prints a table of steps x
# modes, and what it cannot show. Exit status 1 if a step fails. Some minutes.
#
#   bash tests/ascend_rehearsal.sh [--plant fullname|words] [options of tests/stand_in_cann/rehearse.py]
#
#   --plant    plants a defect that the package once had, in a copy; exit status 0 if the rehearsal fails because of it
#   MOE_COMM_PYTHON   an interpreter with MindSpore 2.10 and numpy, instead of the environment of tests/environment.sh
set -euo pipefail
unset ASCEND_HOME_PATH  # the environment is one for CPUs
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [[ -n ${MOE_COMM_PYTHON:-} ]]; then
    python=$MOE_COMM_PYTHON
    PATH=$(dirname "$python"):$PATH
    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
else
    source "$repository/tests/environment.sh"
    python=$(command -v python)
fi
for tool in "${CXX:-g++}" cmake nm; do
    command -v "$tool" >/dev/null || { echo "ascend_rehearsal: no $tool; install it" >&2; exit 2; }
done

plant=
if [[ ${1:-} == --plant ]]; then
    plant=${2:?--plant fullname or --plant words}
    shift 2
fi
build=$repository/build/ascend_rehearsal
cann=$build/cann
mkdir -p "$build"
start=$SECONDS
mindspore=$("$python" -c 'import importlib.util as i; print(i.find_spec("mindspore").submodule_search_locations[0])')
PYTHON=$python bash "$repository/tests/stand_in_cann/build.sh" "$mindspore" "$cann"

sources=$repository packages=$build/packages base=$build/base
if [[ -n $plant ]]; then
    sources=$build/planted packages=$build/planted_packages
    rm -rf "$sources" "$packages"
    mkdir -p "$sources"
    cp -r "$repository"/{setup.py,pyproject.toml,README.md,op_impl,ops_yaml,ms_moe_comm} "$sources"
    "$python" "$repository/tests/stand_in_cann/plant.py" "$plant" "$sources"
    base=$build/planted_base
fi
rm -rf "$packages"
log=$build/build.log
(cd "$sources" && ASCEND_HOME_PATH=$cann "$python" setup.py build --build-base "$base" --build-lib "$packages") \
    >"$log" 2>&1 || { tail -20 "$log"; exit 1; }
echo "built in $((SECONDS - start)) s"

rehearse=("$python" "$repository/tests/stand_in_cann/rehearse.py" "$cann" "$packages")
if [[ -z $plant ]]; then
    exec "${rehearse[@]}" "$@"
fi
seen=$build/planted.txt
"${rehearse[@]}" --modes synchronous --only "random routing" "$@" | tee "$seen" || true
"$python" "$repository/tests/stand_in_cann/plant.py" "$plant" --seen "$seen"
