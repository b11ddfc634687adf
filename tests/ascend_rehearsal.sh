#!/usr/bin/env bash
# Rehearses the package on Ascend without an NPU: MindSpore's own Ascend backend on a stand-in for CANN
# (tests/stand_in_cann/README.md), the unchanged CANN branch of setup.py, every step of tests/npu. Prints a table of
# steps x modes, and what it cannot show. Exit status 1 if a step fails. Takes some minutes.
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

build_package() { # sources, target
    rm -rf "$2"
    (cd "$1" && ASCEND_HOME_PATH=$cann "$python" setup.py build --build-base "$2.objects" --build-lib "$2") \
        >"$build/build.log" 2>&1 || { tail -20 "$build/build.log"; exit 1; }
}
packages=$build/packages
plant_file=none
[[ -z $plant ]] || plant_file=$("$python" "$repository/tests/stand_in_cann/plant.py" "$plant" --path)
if [[ $plant_file != *.cc ]]; then
    build_package "$repository" "$packages"
fi
if [[ -n $plant ]]; then
    planted=$build/planted
    rm -rf "$planted"
    mkdir -p "$planted"
    if [[ $plant_file == *.py ]]; then
        cp -r "$packages/." "$planted"
        packages=$planted
    else
        cp -r "$repository"/{setup.py,pyproject.toml,README.md,op_impl,ops_yaml,ms_moe_comm} "$planted"
        packages=$build/planted_packages
    fi
    "$python" "$repository/tests/stand_in_cann/plant.py" "$plant" "$planted"
    [[ $plant_file == *.py ]] || build_package "$planted" "$packages"
fi
echo "built in $((SECONDS - start)) s"

rehearse=("$python" "$repository/tests/stand_in_cann/rehearse.py" "$cann" "$packages")
if [[ -z $plant ]]; then
    exec "${rehearse[@]}" "$@"
fi
seen=$build/planted.txt
rows=$("$python" "$repository/tests/stand_in_cann/plant.py" "$plant" --rows)
"${rehearse[@]}" --modes synchronous --only "$rows" "$@" | tee "$seen" || true
"$python" "$repository/tests/stand_in_cann/plant.py" "$plant" --seen "$seen"
