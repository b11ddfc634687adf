"""Memory of expert windows for a given shape, and how it grows with the number of ranks.

The table of growth is for a fixed model. If the number of experts is no multiple of the ranks, the table adds redundant
experts until every rank has the same number, as deployments do (256 experts on 384 ranks: 384 physical experts, one per
rank).
"""
import argparse
from collections.abc import Sequence

import mindspore as ms

from ms_moe_comm.memory import MemoryReport, format_bytes
from ms_moe_comm.parameters import WindowParameters

_DTYPES = {"bf16": ms.bfloat16, "fp16": ms.float16, "fp32": ms.float32}
_RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 384)


def main(arguments: Sequence[str]) -> int:
    """Prints the window of the given shape and the table of growth. Returns 0; exits with 2 if the shape is refused."""
    parser = argparse.ArgumentParser(prog="python -m ms_moe_comm plan", description=str(__doc__).splitlines()[0])
    parser.add_argument("--experts", type=int, default=256, help="experts of the model (default: %(default)s)")
    parser.add_argument("--hidden", type=int, default=7168, help="hidden size (default: %(default)s)")
    parser.add_argument("--top-k", type=int, default=8, help="experts per token (default: %(default)s)")
    parser.add_argument("--max-tokens", type=int, default=128,
                        help="most tokens of a rank in one dispatch (default: %(default)s)")
    parser.add_argument("--dtype", choices=_DTYPES, default="bf16", help="of the rows (default: %(default)s)")
    parser.add_argument("--ranks", type=int, default=8, help="ranks of the group (default: %(default)s)")
    parser.add_argument("--capacity", type=int,
                        help="rows of each rank's window (default: the worst case of the routing)")
    options = parser.parse_args(arguments)

    def report(ranks: int, experts: int) -> MemoryReport:
        return MemoryReport.of(WindowParameters(
            ep_world_size=ranks, moe_expert_num=experts, hidden_size=options.hidden, top_k=options.top_k,
            max_tokens_per_rank=options.max_tokens, dtype=_DTYPES[options.dtype], capacity=options.capacity))

    try:
        asked = report(options.ranks, options.experts)
        growth = [report(ranks, -(-options.experts // ranks) * ranks) for ranks in sorted({*_RANKS, options.ranks})]
    except (TypeError, ValueError) as error:
        parser.error(str(error))
    print(asked)
    print("\nPer rank, as the group grows (relay: the buffers, and the tensors [A, H] before and after the experts):\n")
    print(_row("ranks", "experts", "on a rank", "rows", "window", *(f"relay, {name}" for name in asked.relay_totals)))
    for entry in growth:
        p = entry.parameters
        print(_row(p.ep_world_size, p.moe_expert_num, p.local_expert_num, p.capacity, format_bytes(entry.total),
                   *(f"{format_bytes(total)} ({total / entry.total:.1f}x)" for total in entry.relay_totals.values())))
    return 0


def _row(ranks: object, experts: object, local_experts: object, rows: object, window: str, *relays: str) -> str:
    head = f"{ranks:>5} {experts:>8} {local_experts:>10} {rows:>9} {window:>11}"
    return head + "".join(f" {relay:>18}" for relay in relays)
