"""An MoE layer in plain numpy, exact or quantised by the formula of the specification, to measure errors against."""

import numpy as np

from ms_moe_comm import reference


def random_arrays(experts, hidden, intermediate, shared, seed=0):
    """float32 weights of a layer; the shared expert is as wide as the others."""
    rng = np.random.default_rng(seed)
    shapes = {"router": (hidden, experts), "gate_up": (experts, hidden, 2 * intermediate),
              "down": (experts, intermediate, hidden)}
    if shared:
        shapes |= {"shared_gate_up": (1, hidden, 2 * intermediate), "shared_down": (1, intermediate, hidden)}
    return {key: rng.standard_normal(shape, np.float32) * np.float32(shape[-2] ** -0.5)
            for key, shape in shapes.items()}


def _multiply(x, weight, quantised):
    if not quantised:
        return x.astype(np.float64) @ weight
    x_steps, x_scale = reference.quantise_rows(x.astype(np.float32))
    w_steps, w_scale = reference.quantise_rows(np.ascontiguousarray(weight.T))
    total = x_steps.astype(np.int32) @ w_steps.T.astype(np.int32)
    return total.astype(np.float32) * w_scale * x_scale[:, None]


def _expert(x, gate_up, down, quantised):
    gate, up = np.split(_multiply(x, gate_up, quantised), 2, axis=1)
    return _multiply(gate / (1 + np.exp(-gate)) * up, down, quantised)


def layer_in_numpy(x, arrays, top_k, quantised):
    """[T, H]: in float64; or with both matmuls of every expert quantised, rows and columns, and dequantised to float32.
    The router is not quantised, as in the layer.
    """
    logits = x.astype(np.float64) @ arrays["router"]
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    ids = np.argsort(-probabilities, axis=1)[:, :top_k]
    scales = np.take_along_axis(probabilities, ids, axis=1)
    scales = scales / scales.sum(axis=1, keepdims=True)
    y = np.zeros(x.shape)
    for expert in range(arrays["router"].shape[1]):
        tokens, k = np.nonzero(ids == expert)
        output = _expert(x[tokens], arrays["gate_up"][expert], arrays["down"][expert], quantised)
        y[tokens] += scales[tokens, k, None] * output
    if "shared_down" in arrays:
        y += _expert(x, arrays["shared_gate_up"][0], arrays["shared_down"][0], quantised)
    return y
