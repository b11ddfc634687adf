#!/usr/bin/env bash
# All tests, from a fresh clone in one command; arguments go to pytest. Needs Python 3.10 or 3.11 with venv, and g++.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$repository/tests"  # not the repository's root, where ms_moe_comm is the source and not the built package
exec pytest -p no:cacheprovider --durations=5 "$@"
