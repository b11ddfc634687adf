"""Relay-buffer-free MoE dispatch and combine for MindSpore (arXiv 2605.06055)."""

import importlib

import mindspore  # the operator library links to its libraries: they must be loaded first  # noqa: F401

_EXPORTS = {
    "DenseMoELayer": "layer",
    "ExpertPlacement": "placement",
    "ExpertWindow": "window",
    "LocalGroup": "group",
    "MemoryReport": "memory",
    "MoEDispatcher": "dispatcher",
    "MoELayer": "layer",
    "MoEWeights": "weights",
    "moe_decode_combine": "ops",
    "moe_decode_dispatch": "ops",
    "moe_dynamic_quant": "ops",
    "moe_grouped_matmul": "ops",
    "moe_grouped_matmul_quant": "ops",
    "moe_prefill_combine": "ops",
    "moe_prefill_dispatch": "ops",
}
__all__ = list(_EXPORTS)


def __getattr__(name):
    """Exports are loaded when asked for, so that `python -m ms_moe_comm doctor` can say that the library is missing."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'ms_moe_comm' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ms_moe_comm.{_EXPORTS[name]}"), name)
