"""Dtypes by their numpy-like names, MindSpore tensors of these dtypes in numpy, and the memory of a window's tensor."""

import ctypes

import mindspore as ms
import numpy as np

DTYPES = {"float32": ms.float32, "float16": ms.float16, "bfloat16": ms.bfloat16}


def to_numpy(tensor):
    """float32 values of a tensor of any float dtype (numpy itself has no bfloat16)."""
    return tensor.astype(ms.float32).asnumpy()


def memory_of(parameter):
    """The memory of a window's tensor, as bytes."""
    size = int(np.prod(parameter.shape)) * parameter.itemsize
    return np.frombuffer((ctypes.c_uint8 * size).from_address(parameter.data_ptr()), np.uint8)


def fill_with_nan(window):
    """Fills a window with NaN, between two steps of all ranks: what the next step reads before it is written is NaN."""
    for parameter in (window.rows, window.scales, window.outputs):
        memory_of(parameter)[:] = 0xFF  # NaN in every float dtype; int8 rows have a scale of NaN
