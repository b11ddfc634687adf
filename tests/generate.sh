# Sourced by scripts that compile kernels without the package:
#   generate FOLDER   puts there what follows from ops_yaml: the kernels' entries and the lists of their arguments
# It takes a Python with PyYAML: that of MOE_COMM_PYTHON, of PATH, or else of tests/environment.sh.

generate() {
    local root python=${MOE_COMM_PYTHON:-python3}
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    if ! "$python" -c 'import yaml' 2>/dev/null; then
        source "$root/tests/environment.sh"
        python=python
    fi
    "$python" "$root/ops_yaml/generate.py" "$1"
}
