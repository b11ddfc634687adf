"""One rank of test_window.py: `window_rank.py ADDRESS RANK SIZE CASES`.

CASES is a JSON list of cases, each the arguments of an ExpertWindow.create. Prints the results as JSON: the type and
text of the error, or what the live window and shared memory look like.
"""
import json
import sys

import mindspore as ms

from ms_moe_comm.group import LocalGroup
from ms_moe_comm.window import ExpertWindow
from rank_helpers import segments


def try_case(group, case):
    """What ExpertWindow.create does with these arguments; dtype is given by name."""
    try:
        with ExpertWindow.create(**{**case, "dtype": getattr(ms, case["dtype"])}, group=group) as window:
            window.outputs.asnumpy()[:] = 0
            return {"rank": window.ep_rank_id, "size": window.ep_world_size, "capacity": window.capacity,
                    "segments": segments()}
    except (TypeError, ValueError, RuntimeError, MemoryError) as error:
        return {"error": type(error).__name__, "text": str(error)}


if __name__ == "__main__":
    ms.set_device("CPU")
    address, rank, size, cases = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
    with LocalGroup(address, rank, size, timeout=60) as ranks:
        print(json.dumps([try_case(ranks, case) for case in cases]))
