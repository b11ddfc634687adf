"""Size of the model and its seeded random weights.

A weight depends only on the seed and on its own name. So every rank, of any number of ranks, makes the same expert 7 of
layer 2, and makes only the experts that it holds.
"""
import zlib
from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor

from ms_moe_comm import MoEWeights

DTYPES = {"fp32": ms.float32, "fp16": ms.float16, "bf16": ms.bfloat16}


@dataclass(frozen=True)
class ModelConfig:
    """Qwen3-MoE's shape. Field names are those of its configuration, defaults small enough for two CPU cores.

    Attributes:
        shared_expert_intermediate_size: 0 for no shared expert (Qwen3-MoE has none).
        zero_experts: how many additional outputs of the router are experts that give nothing.
        int8: experts with int8 weights and activations (W8A8), rows that travel as int8.
        dtype: activations between blocks and expert weights, a key of `DTYPES`; attention, norms and router are fp32.
    """

    vocab_size: int = 259
    num_hidden_layers: int = 4
    hidden_size: int = 256
    num_attention_heads: int = 8
    num_key_value_heads: int = 2
    head_dim: int = 32
    num_experts: int = 16
    num_experts_per_tok: int = 4
    moe_intermediate_size: int = 128
    shared_expert_intermediate_size: int = 0
    zero_experts: int = 0
    int8: bool = False
    tie_word_embeddings: bool = False
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-6
    dtype: str = "bf16"

    def __post_init__(self):
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(f"{self.num_attention_heads} attention heads cannot share {self.num_key_value_heads} "
                             f"key-value heads evenly; choose a divisor.")
        if self.head_dim % 2:
            raise ValueError(f"head_dim is {self.head_dim}, but rotary embedding pairs the elements; choose an even "
                             "number.")
        if self.num_experts_per_tok > self.num_experts:
            raise ValueError(f"top-k is {self.num_experts_per_tok}, but there are {self.num_experts} experts.")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype is {self.dtype!r}, but must be one of {', '.join(DTYPES)}.")

    @property
    def parameter_num(self):
        """Parameters of the whole model, all experts counted."""
        attention = self.hidden_size * self.head_dim * 2 * (self.num_attention_heads + self.num_key_value_heads)
        experts = 3 * self.hidden_size * (self.num_experts * self.moe_intermediate_size
                                          + self.shared_expert_intermediate_size)
        router = self.hidden_size * (self.num_experts + self.zero_experts)
        norms = 2 * self.hidden_size + 2 * self.head_dim
        tables = (1 if self.tie_word_embeddings else 2) * self.vocab_size * self.hidden_size + self.hidden_size
        return self.num_hidden_layers * (attention + experts + router + norms) + tables


# Scale of a random weight by the last part of its name (a projection's also by fan-in ** -0.5). Chosen so that the text
# of an untrained model varies: blocks outweigh the embedding (or a token would predict itself), and attention is sharp
# (or every position would see the same average).
SCALES = {"embedding": 0.3, "q_norm": 4.0, "o_proj": 2.0, "down": 4.0}


class RandomWeights:
    """Makes the model's parameters by name; the same name always gives the same Parameter.

    So the prefill and the decode graph, and with `--check` the dense replays of all ranks, share their weights.

    Args:
        config (ModelConfig): sizes.
        seed (int): any non-negative number.
    """

    def __init__(self, config, seed):
        self.config = config
        self.seed = seed
        self._parameters = {}

    def _random(self, name, shape, mean=0.0, deviation=1.0):
        generator = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        scale = SCALES.get(name.rpartition(".")[2], 1.0)
        return (mean + generator.standard_normal(shape, dtype=np.float32) * np.float32(deviation)) * np.float32(scale)

    def _projection(self, name, fan_in, fan_out):
        return self._random(name, (fan_in, fan_out), deviation=fan_in ** -0.5)

    def _shared(self, name, make):
        if name not in self._parameters:
            self._parameters[name] = Parameter(Tensor(make()), name=name, requires_grad=False)
        return self._parameters[name]

    def linear(self, name, fan_in, fan_out):
        """The [fan_in, fan_out] float32 Parameter of a projection."""
        return self._shared(name, lambda: self._projection(name, fan_in, fan_out))

    def table(self, name):
        """The [vocab_size, hidden_size] float32 Parameter of the embedding or the head."""
        return self._shared(name, lambda: self._random(name, (self.config.vocab_size, self.config.hidden_size)))

    def norm(self, name, size):
        """The [size] float32 Parameter of an RMSNorm."""
        return self._shared(name, lambda: self._random(name, (size,), mean=1.0, deviation=0.1))

    def moe(self, name, experts):
        """New `MoEWeights` of one layer with the given global experts (a range) only."""
        config = self.config
        hidden_size = config.hidden_size

        def swiglu(prefix, size):
            gate_up = [self._projection(f"{prefix}.{part}", hidden_size, size) for part in ("gate", "up")]
            return np.concatenate(gate_up, axis=1), self._projection(f"{prefix}.down", size, hidden_size)

        stacked = [swiglu(f"{name}.experts.{expert}", config.moe_intermediate_size) for expert in experts]
        arrays = {
            "router": self._projection(f"{name}.router", hidden_size, config.num_experts + config.zero_experts),
            "gate_up": np.stack([gate_up for gate_up, _ in stacked]),
            "down": np.stack([down for _, down in stacked]),
        }
        if config.shared_expert_intermediate_size:
            gate_up, down = swiglu(f"{name}.shared_expert", config.shared_expert_intermediate_size)
            arrays["shared_gate_up"], arrays["shared_down"] = gate_up[None], down[None]
        make = MoEWeights.quantised if config.int8 else MoEWeights.from_numpy
        return make(name, arrays, DTYPES[config.dtype])
