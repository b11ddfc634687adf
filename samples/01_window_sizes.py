"""How much memory an expert window takes, and how much relay buffers would take for the same shape.

    python samples/01_window_sizes.py

It prints:

    expert window of one rank: 1 ranks, 256 experts, hidden size 7168, top-k 8, up to 128 tokens per rank, BFloat16, ...
      header                             512 B
      ...
      rows                            14.0 MiB
      scales                           4.0 KiB
      outputs                         14.0 MiB
      total                           28.0 MiB
    with relay buffers (HCCL_BUFFSIZE as CANN asks for MoeDistributeDispatch, and tensors [A, H]):
      Atlas A3: buffers              947.0 MiB
      Atlas A3: total                975.0 MiB
      Atlas A2: buffers               32.0 MiB
      Atlas A2: total                 60.0 MiB
    tensors that alias it:
      window.rows     (1024, 7168)  BFloat16
      window.scales   (1024,)       Float32
      window.outputs  (1024, 7168)  BFloat16
      window.control  (2688,)       Int32
"""
import mindspore as ms

from ms_moe_comm import ExpertWindow

# Decode in the shape of DeepSeek-V3's MoE layers, here with all experts on one rank. Other numbers of ranks, without
# making a window: python -m ms_moe_comm plan
with ExpertWindow.create(moe_expert_num=256, hidden_size=7168, top_k=8, max_tokens_per_rank=128,
                         dtype=ms.bfloat16) as window:
    print(window.memory_report())
    print("tensors that alias it:")
    for name in ("rows", "scales", "outputs", "control"):
        tensor = getattr(window, name)
        print(f"  window.{name:<8} {tuple(tensor.shape)!s:<13} {tensor.dtype}")
