"""Relay-buffer-free MoE dispatch and combine for MindSpore (arXiv 2605.06055)."""

import importlib
import sys

from ms_moe_comm import requirements

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

# While Python looks for the module of `python -m`, "-m" stands in the module's place. `doctor` tells all it finds.
if sys.argv[:2] != ["-m", "doctor"]:
    requirements.check_packages()


def __getattr__(name):
    """Exports are loaded when one is asked for: `doctor` and `check-kernels` do without the library.

    Then all of them are: a graph that names an operator finds it among the module's own variables, or not at all.
    """
    if name == "_lib":  # for `from ms_moe_comm import _lib`
        return requirements.import_library()
    if name not in _EXPORTS:
        raise AttributeError(f"module 'ms_moe_comm' has no attribute {name!r}")
    for export, module in _EXPORTS.items():
        globals()[export] = getattr(importlib.import_module(f"ms_moe_comm.{module}"), export)
    return globals()[name]
