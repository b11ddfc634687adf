# Sourced by tests/simulate.sh, tests/growth.sh and tests/mutate.sh, which have set `repository` and the folder `build`:
#   compile SOURCE..  compiles each source to an object file of its name in `build`; two at a time
#   link PROGRAM SOURCE..  links `build`/PROGRAM from the object files of these, of scenarios, simulator and kernels
#   build_woven COPY  builds `build`/simulate from a copy of op_impl in which the variable MUTANT picks a change

cxx=${CXX:-g++}
command -v "$cxx" >/dev/null || { echo "no C++ compiler $cxx; install one (Debian: apt-get install g++)" >&2; exit 1; }
source "$repository/tests/generate.sh"
generated=$build/generated
generate "$generated"
# Fibers jump between stacks. The checked longjmp of _FORTIFY_SOURCE would take that for an error.
flags=(-std=c++17 -O2 -ffp-contract=off -Wall -U_FORTIFY_SOURCE -I"$repository/op_impl"
       -I"$repository/op_impl/host_twin" -I"$repository/op_impl/host_twin/check" -I"$generated")
kernels=("$generated"/kernels/moe_*.cpp)
simulator=$repository/op_impl/host_twin/check/simulator.cc
scenarios=("$repository"/tests/simulation/{options,workload,windows,faults/faults,scenario}.cc)

compile() {
    local source
    for source in "$@"; do printf '%s\0-o\0%s\0' "$source" "$build/$(basename "$source").o"; done |
        xargs -0 -n 3 -P 2 "$cxx" "${flags[@]}" -c
}

link() {
    local program=$1 source objects=()
    shift
    for source in "$simulator" "${scenarios[@]}" "$@"; do objects+=("$build/$(basename "$source").o"); done
    "$cxx" "${objects[@]}" "$build"/*.cpp.o -o "$build/$program"
}

build_woven() {
    local woven=$1
    flags=(-include "$woven/mutant.h" "${flags[@]//$repository\/op_impl/$woven}")
    compile "${kernels[@]}" "$woven/mutant.cc" "$simulator" "${scenarios[@]}" \
        "$repository/tests/simulation/main.cc"
    link simulate main.cc mutant.cc
}
