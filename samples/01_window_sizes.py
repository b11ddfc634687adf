"""What an expert window takes, and what relay buffers would take for the same shape.

    python samples/01_window_sizes.py

EXPECTED
"""
import mindspore as ms

from ms_moe_comm import ExpertWindow

# Decode in the shape of DeepSeek-V3's MoE layers, here with all experts on one rank. For other numbers of ranks, and
# without making a window: python -m ms_moe_comm plan
with ExpertWindow.create(moe_expert_num=256, hidden_size=7168, top_k=8, max_tokens_per_rank=128,
                         dtype=ms.bfloat16) as window:
    print(window.memory_report())
    print("tensors that alias it:")
    for name in ("rows", "scales", "outputs", "control"):
        tensor = getattr(window, name)
        print(f"  window.{name:<8} {str(tuple(tensor.shape)):<13} {tensor.dtype}")
