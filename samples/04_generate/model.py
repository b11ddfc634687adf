"""A decoder-only language model of Qwen3-MoE's shape, written for static graphs.

One cell serves both phases: it takes s new tokens per sequence (the prompt, or one), puts their keys and values into
the cache at their positions, and attends to everything up to these. It is built twice, with MoE layers for prefill and
for decode, which gives the two graphs; weights and caches are the same Parameters.

The residual stream and the experts are in the dtype of the configuration. Few of MindSpore's CPU operators other than
Add, Mul and Cast take bfloat16, so norms, attention and router compute in float32.
"""
import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from weights import DTYPES


class RMSNorm(nn.Cell):
    """x / rms(x) * weight over the last axis; any dtype in, float32 out."""

    def __init__(self, weight, eps):
        super().__init__(auto_prefix=False)
        self.weight = weight
        self.eps = eps

    def construct(self, x):
        x = ops.cast(x, ms.float32)
        return x * ops.rsqrt(ops.mean(x * x, -1, True) + self.eps) * self.weight


class KVCache:
    """Keys and values of one layer: two float32 Parameters [b, kv_heads, max_length, head_dim]."""

    def __init__(self, name, config, batch_size, max_length):
        shape = (batch_size, config.num_key_value_heads, max_length, config.head_dim)
        self.keys, self.values = (
            Parameter(Tensor(np.zeros(shape, np.float32)), name=f"{name}.{part}", requires_grad=False)
            for part in ("keys", "values"))


class Attention(nn.Cell):
    """Grouped-query attention with a norm per head on queries and keys, rotary positions and a KV cache. Float32."""

    def __init__(self, config, weights, name, cache):
        super().__init__(auto_prefix=False)
        self.kv_heads = config.num_key_value_heads
        self.group = config.num_attention_heads // self.kv_heads
        self.head_dim = config.head_dim
        q_size, kv_size = config.num_attention_heads * self.head_dim, self.kv_heads * self.head_dim
        self.q_proj = weights.linear(f"{name}.q_proj", config.hidden_size, q_size)
        self.k_proj = weights.linear(f"{name}.k_proj", config.hidden_size, kv_size)
        self.v_proj = weights.linear(f"{name}.v_proj", config.hidden_size, kv_size)
        self.o_proj = weights.linear(f"{name}.o_proj", q_size, config.hidden_size)
        self.q_norm = RMSNorm(weights.norm(f"{name}.q_norm", self.head_dim), config.rms_norm_eps)
        self.k_norm = RMSNorm(weights.norm(f"{name}.k_norm", self.head_dim), config.rms_norm_eps)
        self.keys, self.values = cache.keys, cache.values
        self.update = ops.ScatterNdUpdate()
        self.scores = ops.BatchMatMul(transpose_b=True)

    def rotate(self, x, cos, sin):
        """Rotary embedding of x [b, heads, s, d] with cos and sin [b, 1, s, d]."""
        left, right = ops.chunk(x, 2, axis=-1)
        return x * cos + ops.cat((-right, left), -1) * sin

    def construct(self, x, cos, sin, cache_index, visible):
        """x [b * s, H] float32; cache_index [b, kv_heads, s, 3]; visible [b, 1, 1, s, max_length] bool."""
        batch, _, steps, _ = cache_index.shape
        heads = self.kv_heads * self.group
        q = ops.matmul(x, self.q_proj).reshape(batch, steps, heads, self.head_dim)
        k = ops.matmul(x, self.k_proj).reshape(batch, steps, self.kv_heads, self.head_dim)
        v = ops.matmul(x, self.v_proj).reshape(batch, steps, self.kv_heads, self.head_dim)
        q = self.rotate(self.q_norm(q).transpose(0, 2, 1, 3), cos, sin)
        k = self.rotate(self.k_norm(k).transpose(0, 2, 1, 3), cos, sin)

        # reading the results of the updates orders the reads after the writes
        keys = self.update(self.keys, cache_index, k)
        values = self.update(self.values, cache_index, v.transpose(0, 2, 1, 3))

        q = q.reshape(batch, self.kv_heads, self.group * steps, self.head_dim) * self.head_dim ** -0.5
        scores = self.scores(q, keys).reshape(batch, self.kv_heads, self.group, steps, -1)
        scores = ops.softmax(ops.where(visible, scores, -1e30), axis=-1)
        scores = scores.reshape(batch, self.kv_heads, self.group * steps, -1)
        y = ops.matmul(scores, values).reshape(batch, heads, steps, self.head_dim)
        return ops.matmul(y.transpose(0, 2, 1, 3).reshape(batch * steps, -1), self.o_proj)


class Block(nn.Cell):
    """Attention and MoE, each behind a norm and added to the residual stream."""

    def __init__(self, config, weights, name, cache, moe_layer):
        super().__init__(auto_prefix=False)
        self.dtype = DTYPES[config.dtype]
        self.attention_norm = RMSNorm(weights.norm(f"{name}.attention_norm", config.hidden_size), config.rms_norm_eps)
        self.attention = Attention(config, weights, f"{name}.attention", cache)
        self.moe_norm = RMSNorm(weights.norm(f"{name}.moe_norm", config.hidden_size), config.rms_norm_eps)
        self.moe = moe_layer

    def construct(self, x, cos, sin, cache_index, visible, active):
        x = x + ops.cast(self.attention(self.attention_norm(x), cos, sin, cache_index, visible), self.dtype)
        return x + self.moe(ops.cast(self.moe_norm(x), self.dtype), active)


class DecoderLM(nn.Cell):
    """The language model.

    Args:
        config (ModelConfig), weights (RandomWeights).
        caches (list[KVCache]): one per layer; their batch size and length are the model's.
        moe_layers (list[Cell]): one per layer, called with ([b * s, H], mask [b * s]).

    Inputs (static b and s):
        tokens (Tensor): [b, s] int32.
        positions (Tensor): [b, s] int32, position of each token in its sequence.
        active (Tensor): [b, s] bool; false for padding and for sequences that have ended, which go to no expert.
        last (Tensor): [b] int32, which of the s tokens is each sequence's last.
    Outputs:
        next token [b] int32 (greedy), logits [b, V] float32.
    """

    def __init__(self, config, weights, caches, moe_layers):
        super().__init__(auto_prefix=False)
        self.dtype = DTYPES[config.dtype]
        self.embedding = weights.table("embedding")
        self.head = self.embedding if config.tie_word_embeddings else weights.table("head")
        self.blocks = nn.CellList([
            Block(config, weights, f"layers.{index}", cache, moe_layer)
            for index, (cache, moe_layer) in enumerate(zip(caches, moe_layers, strict=True))])
        self.norm = RMSNorm(weights.norm("norm", config.hidden_size), config.rms_norm_eps)
        self.logits = ops.MatMul(transpose_b=True)
        batch_size, kv_heads, max_length, head_dim = caches[0].keys.shape
        self.index_shape = (batch_size, kv_heads, -1)
        self.sequence = Tensor(np.arange(batch_size).reshape(-1, 1, 1), ms.int32)
        self.kv_head = Tensor(np.arange(kv_heads).reshape(1, -1, 1), ms.int32)
        self.cached_positions = Tensor(np.arange(max_length), ms.int32)
        angles = np.outer(np.arange(max_length), config.rope_theta ** (-np.arange(0, head_dim, 2) / head_dim))
        angles = np.concatenate((angles, angles), axis=1)
        self.cos, self.sin = Tensor(np.cos(angles), ms.float32), Tensor(np.sin(angles), ms.float32)

    def construct(self, tokens, positions, active, last):
        batch, steps = tokens.shape
        cos = ops.expand_dims(ops.gather(self.cos, positions, 0), 1)
        sin = ops.expand_dims(ops.gather(self.sin, positions, 0), 1)
        visible = (self.cached_positions <= ops.expand_dims(positions, 2)).reshape(batch, 1, 1, steps, -1)
        cell = ops.zeros((self.index_shape[0], self.index_shape[1], steps), ms.int32)
        cache_index = ops.stack((cell + self.sequence, cell + self.kv_head, cell + ops.expand_dims(positions, 1)), -1)

        x = ops.cast(ops.gather(self.embedding, tokens.reshape(-1), 0), self.dtype)
        for block in self.blocks:
            x = block(x, cos, sin, cache_index, visible, active.reshape(-1))
        x = self.norm(x).reshape(batch, steps, -1)
        x = x[ops.arange(batch), last]
        logits = self.logits(x, self.head)
        return ops.cast(ops.argmax(logits, -1), ms.int32), logits
