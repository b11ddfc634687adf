# Sourced by scripts that compile kernels without the package:
#   generate FOLDER   generates the kernels' entries and the lists of their arguments from ops_yaml into FOLDER
# It needs a Python with PyYAML and takes MOE_COMM_PYTHON, the one in PATH, or the one of tests/environment.sh.

generate() {
    local root python=${MOE_COMM_PYTHON:-python3}
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    if ! "$python" -c 'import yaml' 2>/dev/null; then
        source "$root/tests/environment.sh"
        python=python
    fi
    "$python" "$root/ops_yaml/generate.py" "$1"
}
