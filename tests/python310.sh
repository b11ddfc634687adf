#!/usr/bin/env bash
# Checks the other Python that MindSpore 2.10 has wheels for: the package builds, `doctor` has no objection, and a few
# tests of each kind pass. Looks for an interpreter in PATH and among pyenv's; says so if there is none.
set -euo pipefail

find_python310() {
    local candidate
    for candidate in "$(type -P python3.10)" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.10*/bin/python; do
        if "$candidate" -c 'import ensurepip, sys; sys.exit(sys.version_info[:2] != (3, 10))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

if ! PYTHON=$(find_python310); then
    echo "python310: NOT RUN, since no Python 3.10 with venv was found"
    exit 0
fi
MOE_COMM_VENV=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.venv310
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$repository/tests"
python --version
python -m ms_moe_comm doctor
pytest -q -p no:cacheprovider unit/test_window.py unit/test_placement.py unit/test_group.py kernel/test_kernels.py \
    graph/test_graph_mode.py
