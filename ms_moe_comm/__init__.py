"""Relay-buffer-free MoE dispatch and combine for MindSpore (arXiv 2605.06055)."""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from ms_moe_comm import requirements

if TYPE_CHECKING:  # for type checkers, which cannot follow `__getattr__`
    from ms_moe_comm.dispatcher import MoEDispatcher as MoEDispatcher
    from ms_moe_comm.group import LocalGroup as LocalGroup
    from ms_moe_comm.group import SoloGroup as SoloGroup
    from ms_moe_comm.layer import DenseMoELayer as DenseMoELayer
    from ms_moe_comm.layer import MoELayer as MoELayer
    from ms_moe_comm.memory import MemoryReport as MemoryReport
    from ms_moe_comm.ops import moe_decode_combine as moe_decode_combine
    from ms_moe_comm.ops import moe_decode_dispatch as moe_decode_dispatch
    from ms_moe_comm.ops import moe_dynamic_quant as moe_dynamic_quant
    from ms_moe_comm.ops import moe_grouped_matmul as moe_grouped_matmul
    from ms_moe_comm.ops import moe_grouped_matmul_quant as moe_grouped_matmul_quant
    from ms_moe_comm.ops import moe_prefill_combine as moe_prefill_combine
    from ms_moe_comm.ops import moe_prefill_dispatch as moe_prefill_dispatch
    from ms_moe_comm.placement import ExpertPlacement as ExpertPlacement
    from ms_moe_comm.weights import MoEWeights as MoEWeights
    from ms_moe_comm.window import ExpertWindow as ExpertWindow

_EXPORTS = {
    "DenseMoELayer": "layer",
    "ExpertPlacement": "placement",
    "ExpertWindow": "window",
    "LocalGroup": "group",
    "MemoryReport": "memory",
    "MoEDispatcher": "dispatcher",
    "MoELayer": "layer",
    "MoEWeights": "weights",
    "SoloGroup": "group",
    "moe_decode_combine": "ops",
    "moe_decode_dispatch": "ops",
    "moe_dynamic_quant": "ops",
    "moe_grouped_matmul": "ops",
    "moe_grouped_matmul_quant": "ops",
    "moe_prefill_combine": "ops",
    "moe_prefill_dispatch": "ops",
}
__all__ = list(_EXPORTS)

# While Python looks for the module of `python -m`, sys.argv[0] is "-m". `doctor` reports all requirements by itself.
if sys.argv[:2] != ["-m", "doctor"]:
    requirements.check_packages()


def __getattr__(name: str) -> Any:
    """Loads the exports when the first one is used: `doctor` and `check-kernels` do not need the library.

    Loads all of them at once, since a graph finds an operator only among the module's own variables.
    """
    if name == "_lib":  # for `from ms_moe_comm import _lib`
        return requirements.import_library()
    if name not in _EXPORTS:
        raise AttributeError(f"module 'ms_moe_comm' has no attribute {name!r}")
    for export, module in _EXPORTS.items():
        globals()[export] = getattr(importlib.import_module(f"ms_moe_comm.{module}"), export)
    return globals()[name]
