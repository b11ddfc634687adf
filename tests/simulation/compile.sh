# Sourced by tests/simulate.sh and tests/growth.sh, which have set `repository` and the folder `build`:
# compile SOURCE.. puts the object file of each, named after it, into `build`.

cxx=${CXX:-g++}
command -v "$cxx" >/dev/null || { echo "no C++ compiler $cxx; install one (Debian: apt-get install g++)" >&2; exit 1; }
# The fibers jump between stacks, which the checked longjmp of _FORTIFY_SOURCE takes for an error.
flags=(-std=c++17 -O2 -ffp-contract=off -Wall -U_FORTIFY_SOURCE -I"$repository/op_impl"
       -I"$repository/op_impl/host_twin" -I"$repository/op_impl/host_twin/check")

compile() {
    local source
    for source in "$@"; do
        "$cxx" "${flags[@]}" -c "$source" -o "$build/$(basename "$source").o"
    done
}
