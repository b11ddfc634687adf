"""Kinds of views, most of them not contiguous. Each function makes a view with the values of a numpy array `a`; `make`
makes a plain tensor of any array.
"""

import numpy as np
from mindspore import Tensor


def columns(a, make=Tensor):
    """A slice of the columns of a wider tensor."""
    return make(np.concatenate([junk(a), a], -1))[..., a.shape[-1]:]


def transposed(a, make=Tensor):
    return make(np.ascontiguousarray(a.swapaxes(0, -1))).swapaxes(0, -1)


def strided_rows(a, make=Tensor):
    return make(np.repeat(a, 2, 0))[::2]


def offset(a, make=Tensor):
    return make(np.concatenate([junk(a), a]))[len(a):]


SAME_VALUES = {view.__name__: view for view in (columns, transposed, strided_rows, offset)}


def broadcast(a, make=Tensor):
    """The first row alone, broadcast to all rows."""
    return make(a[:1].copy()).broadcast_to(a.shape)


def empty(a, make=Tensor):
    """A view without rows."""
    return make(np.concatenate([a, a]))[:0]


def junk(a):
    """Values that must not be read, in the shape of `a`."""
    return np.full_like(a, True if a.dtype == bool else 77)
