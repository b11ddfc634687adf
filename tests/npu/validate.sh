#!/usr/bin/env bash
# The validation on NPUs, in the order in which a failure is easiest to understand. Writes one report to send back.
#
#   bash tests/npu/validate.sh [report file]      (default: npu_report.txt)
#
# Needs CANN's set_env.sh sourced, this package built with it (README), and 2 or more NPUs. Every step runs, even after
# a failed one.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
report=${1:-npu_report.txt}
python=${PYTHON:-python}
cards=$(find /dev -maxdepth 1 -name 'davinci[0-9]*' | wc -l)
if ((cards < 2)); then
    echo "nothing was validated: needs 2 NPUs, and /dev has $cards (davinci0, davinci1, ...)"
    exit 2
fi
: >"$report"
failed=0

step() { # title, command...
    local title=$1 start=$SECONDS
    shift
    {
        echo
        echo "=== $title"
        echo "\$ $*"
    } >>"$report"
    if "$@" >>"$report" 2>&1; then
        echo "PASS ($((SECONDS - start)) s)  $title" | tee -a "$report"
    else
        echo "FAIL ($((SECONDS - start)) s)  $title" | tee -a "$report"
        failed=$((failed + 1))
    fi
}

link() { # every card's link and health
    local card
    for ((card = 0; card < cards; ++card)); do
        hccn_tool -i "$card" -link -g && hccn_tool -i "$card" -net_health -g || return 1
    done
}
driver() { # the driver's version, beside its lib64
    local folder
    for folder in ${LD_LIBRARY_PATH//:/ } /usr/local/Ascend/driver/lib64; do
        [[ $folder == */driver/lib64* ]] || continue
        cat "${folder%%/lib64*}/version.info" && return
    done
    return 1
}
settings() { # settings that must be absent, and the ones that were found
    env | grep -E '^(ASCEND|HCCL|MS_|SHMEM|RANK)' | sort
    [[ -z ${ASCEND_RT_VISIBLE_DEVICES:-} && -z ${HCCL_OP_EXPANSION_MODE:-} ]]
}
launch() { "$python" "$here/launch.py" "$@"; }
servers() { # step 10 needs a second server
    if [[ -z ${MS_MOE_COMM_SECOND_SERVER:-} ]]; then
        echo "NOT RUN: start tests/npu/steps.py exchange with msrun on two servers of one super-node (symm, then" \
             "vmm), and on two A2 servers, where it must be refused; then set MS_MOE_COMM_SECOND_SERVER to what was" \
             "seen"
        return 1
    fi
    echo "$MS_MOE_COMM_SECOND_SERVER"
}
export MS_SYMMETRIC_MEMORY_HEAP_SIZE=${MS_SYMMETRIC_MEMORY_HEAP_SIZE:-$((4 << 30))}
all=$((cards < 8 ? cards : 8))

step "1a cards" npu-smi info
step "1b topology" npu-smi info -t topo
step "1c links" link
step "1d driver" driver
step "2a MindSpore" "$python" -c 'import mindspore; mindspore.set_device("Ascend"); mindspore.run_check()'
step "2b sources against this CANN" "$python" -m ms_moe_comm check-kernels --source "$here/../.."
step "3 settings" settings
step "4 symmetric memory heap" test "$MS_SYMMETRIC_MEMORY_HEAP_SIZE" -ge $((2 << 20))
step "5 two ranks, symm" env MS_MOE_COMM_WINDOW=symm "$python" "$here/launch.py" 2 exchange
step "6a $all ranks, symm" env MS_MOE_COMM_WINDOW=symm "$python" "$here/launch.py" "$all" exchange
step "6b two ranks, vmm" env MS_MOE_COMM_WINDOW=vmm "$python" "$here/launch.py" 2 exchange
step "6c $all ranks, vmm" env MS_MOE_COMM_WINDOW=vmm "$python" "$here/launch.py" "$all" exchange
for mode in pynative O0 O1; do
    step "7 random routing, $mode" launch "$all" random_routing --mode "$mode" --steps 50
    step "7 MoELayer, $mode" launch "$all" moe_layer --mode "$mode" --steps 5
done
step "7 statistics, drops and moves" launch "$all" read_back
for dtype in float32 float16 bfloat16; do # a process captures one graph
    for phase in prefill decode; do
        step "8 random routing, captured and replayed, $dtype, $phase" launch "$all" random_routing --mode capture \
            --dtypes "$dtype" --phases "$phase" --steps 1000
    done
done
step "9a a killed rank" launch "$all" killed_rank
step "9b soak with delays" launch "$all" random_routing --steps 1700 --delays  # 6 times: dtypes and phases
step "10 two servers" servers

echo
echo "$failed failed; the report is in $report"
exit $((failed > 0))
