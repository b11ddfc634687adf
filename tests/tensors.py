"""Dtypes by their numpy-like names, and MindSpore tensors of any of them in numpy."""

import mindspore as ms

DTYPES = {"float32": ms.float32, "float16": ms.float16, "bfloat16": ms.bfloat16}


def to_numpy(tensor):
    """float32 values of a tensor of any float dtype (numpy itself has no bfloat16)."""
    return tensor.astype(ms.float32).asnumpy()
