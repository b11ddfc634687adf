#!/usr/bin/env bash
# Linters, in the versions that pyproject.toml pins: ruff for all Python, mypy for the installed package, and
# clang-format for C++. Prints the last line of each, or all its findings. Exit status 1 if one has a finding.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$repository/tests"  # as in run.sh

linters=$(python -c '
import ast, re, sys
print(*ast.literal_eval(re.search(r"^lint = (\[.*\])$", open(sys.argv[1]).read(), re.M)[1]), sep="\n")
' "$repository/pyproject.toml") || fail "$repository/pyproject.toml has no line 'lint = [...]'"
python -m pip install --quiet --disable-pip-version-check -r <(echo "$linters") ||
    fail "the linters cannot be installed; the lines above say why"

failed=0
run() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        echo "$name: $(tail -n 1 <<<"$output")"
    else
        echo "$output"
        failed=1
    fi
}

lint() {
    cd "$repository" && ruff check --no-cache ms_moe_comm ops_yaml samples tests setup.py
}

format() {
    local files
    cd "$repository" && mapfile -t files < <(find op_impl tests -name '*.h' -o -name '*.cc' -o -name '*.cpp')
    clang-format --dry-run -Werror "${files[@]}" && echo "${#files[@]} files are formatted"
}

run ruff lint
run mypy mypy --cache-dir=/dev/null --config-file "$repository/pyproject.toml" -p ms_moe_comm
run clang-format format
exit "$failed"
