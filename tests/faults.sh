#!/usr/bin/env bash
# Tests what happens to a group when a rank is late, killed, or aborted by an error of its own. Needs Python and g++, as
# tests/run.sh does. Exit status 1 if a rank hangs, has the wrong message or result, or leaves something behind.
#
#   bash tests/faults.sh              the fault table, then 100 kills at random moments: some minutes
#   bash tests/faults.sh --short      a few cells and kills
#   bash tests/faults.sh --seed N     the kills of an earlier run
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$repository/tests"  # not the repository's root, where ms_moe_comm is the source and not the built package

table=() kills=()
case ${1:-} in
    "") ;;
    --short) table=(--short) kills=(--kills 10) ;;
    --seed) kills=(--seed "$2") ;;
    *) fail "unknown argument $1; see the head of this file" ;;
esac
start=$SECONDS
python multirank/fault_table.py "${table[@]}"
python multirank/random_kills.py "${kills[@]}"
echo "faults passed, $((SECONDS - start)) s"
