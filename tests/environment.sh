# Sourced by samples/quickstart.sh and tests/run.sh: the virtual environment with this package installed, first in PATH.
#
#   MOE_COMM_VENV   where it is (default: .venv in the repository)
#   PYTHON          the interpreter to make it from (default: Python 3.11, else 3.10, of PATH)
#
# Installs again only if a source has changed since the last time; otherwise it takes a moment and no network.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${MOE_COMM_VENV:-$repository/.venv}

fail() {
    echo "ms_moe_comm: $*" >&2
    exit 1
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3.10 python3 python}; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.10 or 3.11, which MindSpore 2.10 needs, in PATH; install one, or name it: PYTHON=/path/to/python"
}

make_venv() {
    local python
    python=$(find_python) || exit 1
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python cannot make virtual environments; install its venv module (Debian: apt-get install python3-venv)"
    echo "Making a virtual environment in $venv"
    rm -rf "$venv"
    "$python" -m venv "$venv" ||
        fail "$python could not make a virtual environment in $venv; MOE_COMM_VENV names another place"
}

# What an installation depends on: with CANN the package serves Ascend too. Generated files are not sources.
hash_sources() {
    (cd "$repository" && echo "${ASCEND_HOME_PATH:-}" &&
        find setup.py pyproject.toml README.md op_impl ops_yaml ms_moe_comm -type f \
            ! -path '*/__pycache__/*' ! -path 'ms_moe_comm/_generated/*' ! -name '*.so' -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum)
}

# Installs the build's requirements first and builds without isolation: otherwise pip would install MindSpore twice.
install_package() {
    command -v "${CXX:-g++}" >/dev/null || fail "no C++ compiler ${CXX:-g++}; install one (Debian: apt-get install g++)"
    echo "Installing MindSpore and building ms_moe_comm in $venv (once: some minutes with the download)"
    local pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check) requirements
    requirements=$("$venv/bin/python" -c '
import ast, re, sys
print(*ast.literal_eval(re.search(r"^requires = (\[.*\])$", open(sys.argv[1]).read(), re.M)[1]), sep="\n")
' "$repository/pyproject.toml") || fail "$repository/pyproject.toml has no line 'requires = [...]'"
    rm -rf "$repository/build"  # otherwise setuptools would package modules that no longer exist
    "${pip[@]}" -r <(echo "$requirements") && "${pip[@]}" --no-build-isolation "$repository[test]" ||
        fail "the installation failed; the lines above say why"
}

"$venv/bin/python" -c '' 2>/dev/null || make_venv
stamp=$venv/ms_moe_comm.sha256
sources=$(hash_sources)
if [[ ! -f $stamp || $(<"$stamp") != "$sources" ]]; then
    install_package
    echo "$sources" >"$stamp"
fi

export PATH=$venv/bin:$PATH  # msrun starts the python of PATH
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1}  # ranks share the cores
export GLOG_v=${GLOG_v:-3}  # MindSpore's errors, not its warnings
