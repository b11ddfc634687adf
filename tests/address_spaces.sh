#!/usr/bin/env bash
# Checks the kernels with clang, with __gm__ and __ubuf__ as address spaces of their own: a pointer of the wrong one is
# an error. Then checks planted errors, each of which must be refused. Needs clang (CLANG names another one).
# Exit status 0 if all is right, 1 if a kernel is refused or a planted error is not, 2 without clang.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

names=(clang++ clang++-{20..14})
[[ -z ${CLANG:-} ]] || names=("$CLANG")
clang=
for candidate in "${names[@]}"; do
    if command -v "$candidate" >/dev/null; then
        clang=$candidate
        break
    fi
done
if [[ -z $clang ]]; then
    echo "address spaces: nothing was checked: no ${names[0]} (Debian: apt-get install clang, or set CLANG)"
    exit 2
fi

check() { # folder that holds op_impl, kernel
    "$clang" -std=c++17 -fsyntax-only -Wall -Werror -Wno-unused-function \
        -I"$1/op_impl/host_twin/address_spaces" -I"$1/op_impl" -I"$generated" "$2"
}

planted=$(mktemp -d)
trap 'rm -rf "$planted"' EXIT
source tests/generate.sh
generated=$planted/generated
generate "$generated"

failed=0
for kernel in "$generated"/kernels/*.cpp; do
    if check . "$kernel"; then
        echo "accepted: $(basename "$kernel")"
    else
        echo "REFUSED:  $(basename "$kernel")"
        failed=1
    fi
done
((failed == 0)) || exit 1

# file | text | its replacement | the space that is lost
while IFS='|' read -r file good bad what; do
    rm -rf "$planted/op_impl"
    cp -r op_impl "$planted"
    sed -i "s|$good|$bad|" "$planted/op_impl/$file"
    if cmp -s "op_impl/$file" "$planted/op_impl/$file"; then
        echo "NOT PLANTED: $what: op_impl/$file has no '$good' any more"
        exit 1
    fi
    if check "$planted" "$generated/kernels/moe_prefill_combine.cpp" 2>"$planted/errors"; then
        echo "NOT REFUSED: $what"
        exit 1
    fi
    if ! grep -Eq 'address[ _]space' "$planted/errors"; then
        echo "refused for another reason: $what"
        cat "$planted/errors"
        exit 1
    fi
    echo "planted error refused: $what"
done <<'ERRORS'
kernel/window.h|reinterpret_cast<__gm__ uint64_t \*>(base|reinterpret_cast<uint64_t *>(base|global memory as a local variable
kernel/moves.h|reinterpret_cast<__gm__ T \*>(source)|reinterpret_cast<__ubuf__ T *>(source)|global memory as unified buffer
kernel/combine.h|inline GM_ADDR Outputs()|inline uint8_t *Outputs()|an address of the window as a local variable's
ERRORS
