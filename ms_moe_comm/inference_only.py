"""The uses of an operator that are refused, since MindSpore would silently do something else."""
import contextlib
from typing import NoReturn

import mindspore as ms
from mindspore.common.api import _pynative_executor
from mindspore.graph import jit_trace


def refuse_trace(op: str) -> NoReturn:
    """Raises RuntimeError: `op` was called under `mindspore.jit(capture_mode="trace")`.

    MindSpore 2.10 cannot record an operator of an extension: it would keep the results of the first call for ever. A
    trace that ends in an error stays open and takes in whatever follows, so this function ends the trace first.
    """
    phase = jit_trace._trace_jit_context.phase  # noqa: SLF001  # MindSpore has no public name for any of these
    with contextlib.suppress(RuntimeError):
        jit_trace._jit_trace_end(ms.Tensor(0))  # noqa: SLF001
    jit_trace._trace_compile_cache.discard(phase)  # noqa: SLF001
    raise RuntimeError(f"For '{op}', mindspore.jit with capture_mode=\"trace\" would keep the results of the first "
                       "call for ever. Use capture_mode=\"ast\", the default.")


def refuse_gradient(op: str) -> NoReturn:
    """Raises RuntimeError: `op` was called to be differentiated.

    MindSpore would take its gradient for zero. After an error in a function (not in a cell) MindSpore still builds a
    backward graph, so its state is cleared first.
    """
    _pynative_executor.clear_res()
    raise RuntimeError(f"For '{op}', there is no gradient: ms_moe_comm is for inference. Call it outside of "
                       "mindspore.grad and mindspore.value_and_grad; on a cell that was given to one of these before, "
                       "call set_grad(False).")
