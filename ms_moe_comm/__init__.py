"""Relay-buffer-free MoE dispatch and combine for MindSpore (arXiv 2605.06055)."""

import mindspore  # the operator library links to its libraries: they must be loaded first  # noqa: F401

from ms_moe_comm.dispatcher import MoEDispatcher
from ms_moe_comm.ops import (
    moe_decode_combine,
    moe_decode_dispatch,
    moe_grouped_matmul,
    moe_prefill_combine,
    moe_prefill_dispatch,
)
from ms_moe_comm.window import ExpertWindow

__all__ = [
    "ExpertWindow",
    "MoEDispatcher",
    "moe_decode_combine",
    "moe_decode_dispatch",
    "moe_grouped_matmul",
    "moe_prefill_combine",
    "moe_prefill_dispatch",
]
