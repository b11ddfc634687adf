#!/usr/bin/env bash
# Checks the window protocol exhaustively with Spin for small sizes, and shows that each rule is needed.
#
#   bash tests/model.sh                       the configurations marked default, then every weakened protocol
#   bash tests/model.sh --long                all configurations
#   bash tests/model.sh --trace "-DR=2 ..."   the shortest run to the error of the model with these macros
#
# Exit status: 0 if the protocol holds in every configuration and every weakened one breaks as its table says, 1 if not,
# 2 without Spin.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/model"
source_dir=$PWD
memory_mib=7000
depth=5000000  # steps of the longest path that the search can hold

for tool in spin gcc; do
    command -v "$tool" >/dev/null && continue
    echo "tests/model.sh: $tool is missing; install it (Debian: apt-get install $tool)" >&2
    exit 2
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

search=-DCOLLAPSE  # depth first, states compressed
optimise=-O2

# Builds the model with the macros $1 and runs through its states; leaves the verifier and its output here.
explore() {
    local model=window.pml
    [[ $1 != *-DBALANCE* ]] || model=balance.pml
    rm -f ./*
    # shellcheck disable=SC2086
    if ! cp "$source_dir"/*.pml . || ! spin -a $1 "$model" >spin.out 2>&1 || [[ ! -f pan.c ]]; then
        cat spin.out >&2
        exit 1
    fi
    gcc "$optimise" -w -DSAFETY "$search" -DMEMLIM=$memory_mib -o pan pan.c
    ./pan -n "-m$depth" >out 2>&1 || true
}

number() { sed -nE "s/$1/\1/p" out | head -1; }

# How the run ended: holds, which property broke, or why there is no verdict.
outcome() {
    if grep -q "^pan:1: invalid end state" out; then
        echo "a rank waits for ever"
    elif grep -q "^pan:1: assertion violated" out; then
        { ./pan -S || true; } | sed -nE "/printf\(/d; s/.*BROKEN: (.*)/\1/p"
    elif grep -q "max search depth too small\|out of memory\|memory limit" out; then
        echo "not exhausted"
    elif grep -q "errors: 0" out; then
        echo "holds"
    else
        echo "no verdict: $(tail -1 out)"
    fi
}

if [[ ${1:-} == --trace ]]; then
    search=-DBFS
    explore "-DTRACE ${2:?--trace needs the macros of a model, as in weakened.txt}"
    [[ ! -f window.pml.trail ]] || ./pan -S | grep "^rank\|^ *a row\|^ *output"
    outcome
    exit
fi

long=false
[[ ${1:-} != --long ]] || { long=true depth=12000000; }
failures=0

# One line of a table, for the model that was explored last: named $1, its outcome should be $2.
report() {
    local result verdict=ok
    result=$(outcome)
    if [[ $result != "$2" ]]; then
        verdict=FAIL
        result="$result; expected: $2"
        failures=$((failures + 1))
    fi
    printf '%-4s %-70s %9s %7s %6s  %s\n' "$verdict" "$1" "$(number ' *([0-9]+) states, stored.*')" \
        "$(number '.*depth reached ([0-9]+),.*')" "$(number 'pan: elapsed time ([0-9.]+) seconds')" "$result"
}

trim() { sed -E 's/^[[:space:]]+|[[:space:]]+$//g' <<<"$1"; }

head_line() { printf '%-4s %-70s %9s %7s %6s  %s\n' "" "$1" states depth s "$2"; }

head_line "the protocol" "must hold"
while IFS='|' read -r part name macros; do
    [[ $part != \#* ]] || continue
    [[ $(trim "$part") == default || $long == true ]] || continue
    explore "$macros"
    report "$(trim "$name")" holds
done <"$source_dir/configurations.txt"

echo
optimise=-O0  # small models: compiling takes longer than running
head_line "the protocol with one rule weakened" "must break: what breaks"
while IFS='|' read -r rule name breaks macros; do
    [[ $rule != \#* ]] || continue
    explore "$macros"
    report "$(trim "$rule"): $(trim "$name")" "$(trim "$breaks")"
done <"$source_dir/weakened.txt"

echo
if ((failures)); then
    echo "$failures lines are not as they must be" >&2
    exit 1
fi
echo "All as it must be."
