#!/usr/bin/env bash
# Text generation by a mixture-of-experts model on several ranks of this machine, from a fresh clone in one command:
#
#   bash samples/quickstart.sh [--ranks N] [arguments of samples/04_generate/generate.py]
#
# Needs Python 3.10 or 3.11 with venv, and g++. The first run installs MindSpore and builds the package in .venv.
set -uo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../tests/environment.sh"

ranks=4
arguments=()
while (($#)); do
    case $1 in
        --ranks) ranks=${2-}; shift $(($# > 1 ? 2 : 1)) ;;
        --ranks=*) ranks=${1#*=}; shift ;;
        *) arguments+=("$1"); shift ;;
    esac
done
[[ $ranks =~ ^[1-9][0-9]*$ ]] || fail "--ranks is '$ranks'; give a number from 1, at most one rank per expert"

sample=$repository/samples/04_generate/generate.py
if ((ranks == 1)) || [[ " ${arguments[*]-} " == *" --help "* || " ${arguments[*]-} " == *" -h "* ]]; then
    exec python "$sample" "${arguments[@]+"${arguments[@]}"}"
fi

# At every log level MindSpore prints in two places that its network has started.
without_noise() { grep --line-buffered -v '^\[INFO\] DISTRIBUTED' "$@"; }

interrupted=
logs=$(mktemp -d "${TMPDIR:-/tmp}/ms_moe_comm.XXXXXX")
port=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
touch "$logs/worker_0.log"
msrun --worker_num="$ranks" --local_worker_num="$ranks" --master_port="$port" --join=True --tail_worker_log="$ranks" \
    --log_dir="$logs" "$sample" "${arguments[@]+"${arguments[@]}"}" >"$logs/msrun.log" 2>&1 &
launcher=$!
trap 'interrupted=yes; kill -INT "$launcher"' INT TERM
tail -n +1 -f --pid="$launcher" "$logs/worker_0.log" | without_noise  # rank 0 speaks for all
wait "$launcher"
status=$?

if [[ -n $interrupted ]]; then
    wait "$launcher"
    rm -rf "$logs"
    exit 130
elif ((status == 0)); then
    rm -rf "$logs"
    exit 0
fi
for ((rank = 1; rank < ranks; rank++)); do  # prints nothing unless they failed
    last=$(without_noise "$logs/worker_$rank.log" | tail -n 5)
    if [[ -n $last && ${last##*$'\n'} != "$(tail -n 1 "$logs/worker_0.log")" ]]; then  # rank 0 has not printed it yet
        printf -- '--- rank %d ended with:\n%s\n' "$rank" "$last" >&2
    fi
done
# if a rank ended without a message, MindSpore's scheduler knows its number
grep -a '^RuntimeError' "$logs/msrun.log" | grep -v 'Distributed job exited' | head -n 1 >&2
fail "the sample failed on $ranks ranks; all logs are in $logs"
