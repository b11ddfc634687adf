r"""Greedy text generation by a mixture-of-experts language model on several ranks, its experts behind expert windows.

Each rank holds the attention weights, its own prompts and its share of the experts. In every MoE layer the tokens of
all ranks travel to their experts and back through the window; everything else stays on the rank. Prefill is one static
graph, a decode step another. The weights are random, so the text is noise; what counts is that each token is right.

    bash samples/quickstart.sh                                  # sets up, then four ranks
    bash samples/quickstart.sh --ranks 2 --dtype fp32 --check   # and compares every token with one dense rank
    bash samples/quickstart.sh --ranks 2 --int8 --zero-experts 2 --redundant-experts 4 --check
    python samples/04_generate/generate.py                      # one rank, no launcher

With --redundant-experts the replicated experts change half way, without a new compilation.

Rank 0 prints, on four ranks that share two cores, with --check (times vary; tokens may, with the processor and the
number of ranks, since matmuls of other shapes round differently):

    Model: 4 layers, hidden size 256, 16 experts, top 4, bf16, 7.1 M weights.
    Ranks: 4 with 4 experts each; windows of 3696 rows (prefill) and 48 rows (decode).
    Prompts: 12, of 13 to 77 tokens.
    Compiled the prefill and the decode graph in 5.7 s.
      1 of 32 tokens per sequence
      ...
      32 of 32 tokens per sequence

    Rank 0
      'Once upon a time, on the far side of the ocean,'
        -> b'z\xdc\xa8xIV\xe1\x87+ \xaa\x813H\xb5\x10;\xdd\x10\xa4~\xfaz{\x90V\xde\x85\xa6\xac\xc9\xff'
      '1, 1, 2, 3, 5, 8, 13,'
        -> b'lwi\xeb{`\xaa\xebr\xd0\xb4\xebZ\xb1{\xb2\x90\xcb\x10I[\x87,[\x16I\x1a\xbecz"['
    ...

    TTFT 149.1 ms, TPOT 35.08 ms (slowest rank), 279 tokens/s on 4 ranks.
    Inside prefill on rank 0: dispatch 10.4 ms in 4 calls, combine 11.1 ms in 4 calls, waits for other ranks ...
    Inside decode on rank 0: dispatch 451.9 ms in 124 calls, combine 88.3 ms in 124 calls, waits for other ranks ...

    Check: replaying each rank's batch on rank 0 with all 16 experts and no window.
    Check passed: 12 sequences x 32 tokens are identical, and so are the bits of the logits
    behind each of them. ...
"""
import argparse
import os
import pathlib
import sys
import time

import mindspore as ms
import numpy as np
from mindspore import communication

from greedy import EOS, Batch, Generation, GreedyGenerator
from model import DecoderLM, KVCache
from ms_moe_comm import DenseMoELayer, ExpertPlacement, ExpertWindow, MoELayer
from ms_moe_comm.group import open_group
from weights import DTYPES, ModelConfig, RandomWeights

PROMPTS = pathlib.Path(__file__).with_name("prompts.txt")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=pathlib.Path, default=PROMPTS, help="text file, one prompt per line")
    parser.add_argument("--max-new-tokens", type=int, default=32)
    parser.add_argument("--check", action="store_true", help="compare with a dense run on rank 0")
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds a dispatch or combine waits for a rank")
    default = ModelConfig()
    parser.add_argument("--dtype", choices=DTYPES, default=default.dtype, help="of activations and experts")
    parser.add_argument("--layers", type=int, default=default.num_hidden_layers)
    parser.add_argument("--hidden-size", type=int, default=default.hidden_size)
    parser.add_argument("--heads", type=int, default=default.num_attention_heads)
    parser.add_argument("--kv-heads", type=int, default=default.num_key_value_heads)
    parser.add_argument("--head-dim", type=int, default=default.head_dim)
    parser.add_argument("--experts", type=int, default=default.num_experts)
    parser.add_argument("--top-k", type=int, default=default.num_experts_per_tok)
    parser.add_argument("--intermediate-size", type=int, default=default.moe_intermediate_size)
    parser.add_argument("--shared-expert-size", type=int, default=default.shared_expert_intermediate_size,
                        help="width of a shared expert; 0 for none")
    parser.add_argument("--zero-experts", type=int, default=0, help="outputs of the router that are no experts")
    parser.add_argument("--redundant-experts", type=int, default=0,
                        help="physical experts more than logical ones; what they replicate changes half way")
    parser.add_argument("--int8", action="store_true", help="int8 experts, and rows that travel as int8")
    parser.add_argument("--tie-embeddings", action="store_true")
    arguments = parser.parse_args()
    if arguments.max_new_tokens < 2:
        parser.error(f"--max-new-tokens is {arguments.max_new_tokens}, but a decode step needs at least 2")
    try:
        arguments.config = ModelConfig(
            num_hidden_layers=arguments.layers, hidden_size=arguments.hidden_size,
            num_attention_heads=arguments.heads, num_key_value_heads=arguments.kv_heads, head_dim=arguments.head_dim,
            num_experts=arguments.experts, num_experts_per_tok=arguments.top_k,
            moe_intermediate_size=arguments.intermediate_size,
            shared_expert_intermediate_size=arguments.shared_expert_size, zero_experts=arguments.zero_experts,
            int8=arguments.int8, tie_word_embeddings=arguments.tie_embeddings, dtype=arguments.dtype)
        arguments.texts = [line for line in arguments.prompts.read_text(encoding="utf-8").splitlines() if line]
        if not arguments.texts:
            raise ValueError(f"{arguments.prompts} holds no prompt; write one per line.")
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return arguments


def build_generator(weights, batch, new_tokens, prefill_layers, decode_layers):
    """A generator whose prefill and decode models share weights and KV caches and differ in their MoE layers."""
    batch_size, prompt_length = batch.tokens.shape
    caches = [KVCache(f"cache.{index}", weights.config, batch_size, prompt_length + new_tokens)
              for index in range(weights.config.num_hidden_layers)]
    prefill = DecoderLM(weights.config, weights, caches, prefill_layers)
    decode = DecoderLM(weights.config, weights, caches, decode_layers)
    return GreedyGenerator(prefill, decode, batch, new_tokens)


def moe_weights(weights, experts):
    """The given experts of every layer."""
    return [weights.moe(f"layers.{index}.moe", experts) for index in range(weights.config.num_hidden_layers)]


class Redundancy:
    """Physical experts beyond the logical ones, and the change of what they replicate between two decode steps.

    Without any, each logical expert has one slot, and there is no map.
    """

    def __init__(self, config, redundant, ranks, rank):
        self.config = config
        self.redundant = redundant
        self.local = (config.num_experts + redundant) // ranks
        self.own = slice(rank * self.local, (rank + 1) * self.local)
        self.placements = None
        if redundant:
            self.placements = [ExpertPlacement(self.slots(0), config.num_experts, name=f"layers.{index}.placement")
                               for index in range(config.num_hidden_layers)]

    def slots(self, first_replica):
        """The logical expert in each slot: all in order, then replicas of `redundant` of them."""
        replicas = [(first_replica + i) % self.config.num_experts for i in range(self.redundant)]
        return [*range(self.config.num_experts), *replicas]

    def experts(self, first_replica=0):
        """The logical experts in this rank's slots."""
        return self.slots(first_replica)[self.own]

    def placement(self, layer):
        return None if self.placements is None else self.placements[layer]

    def change(self, weights, layers, first_replica):
        """Changes the weights of the slots first, then the maps."""
        for layer, new in zip(layers, moe_weights(weights, self.experts(first_replica)), strict=True):
            layer.copy_from(new)
        for placement in self.placements:
            placement.update(self.slots(first_replica))


class Report:
    """Prints on rank 0 only, at once."""

    def __init__(self, rank):
        self.enabled = rank == 0

    def __call__(self, *lines):
        if self.enabled:
            print(*lines, sep="\n", flush=True)

    def progress(self, total):
        """A callback for the token counter: a line for the first token and then every eighth."""
        def on_token(count):
            if count == 1 or count % 8 == 0 or count == total:
                self(f"  {count} of {total} tokens per sequence")
        return on_token


def decoded(tokens):
    """The generated bytes as a Python literal, and whether the model ended the text."""
    return f"{bytes(token for token in tokens.tolist() if token < 256)!r}{' (ended)' if EOS in tokens else ''}"


def time_inside(name, before, after, seconds):
    """One line about the time of dispatch and combine between two readings of a window's timers."""
    parts = []
    for op in ("dispatch", "combine"):
        calls = after[f"{op}_calls"] - before[f"{op}_calls"]
        spent = after[op] - before[op]
        parts.append(f"{op} {spent * 1e3:.1f} ms in {calls} calls")
    share = sum(after[op] - before[op] for op in ("dispatch", "combine")) / seconds
    return f"Inside {name} on rank 0: {', '.join(parts)}, waits for other ranks included; {share:.0%} of its time."


def gather(group, generation, most_sequences):
    """All ranks' `Generation`s on every rank, the sequences padded to `most_sequences`."""
    table = np.zeros((2, most_sequences, generation.tokens.shape[1]), np.int64)
    table[0, :len(generation.tokens)] = generation.tokens
    table[1, :len(generation.tokens)] = generation.checksums
    times = np.array([generation.first_token * 1e9, generation.later_tokens * 1e9], np.int64)
    rows = group.all_gather(np.concatenate((table.ravel(), times)))
    return [Generation(*row[:-2].reshape(table.shape), *(row[-2:] * 1e-9)) for row in rows]


def check(config, seed, batches, generations, new_tokens, report):
    """Replays every rank's batch with all experts on this rank; returns whether tokens and logits are the same."""
    report("", f"Check: replaying each rank's batch on rank 0 with all {config.num_experts} experts and no window.")
    weights = RandomWeights(config, seed)
    experts = moe_weights(weights, range(config.num_experts))
    layers = [DenseMoELayer(layer, config.num_experts_per_tok, config.zero_experts) for layer in experts]
    differences = compared = 0
    for rank, (batch, expected) in enumerate(zip(batches, generations, strict=True)):
        dense = build_generator(weights, batch, new_tokens, layers, layers).run()
        sequences = int(batch.real.sum())
        compared += sequences
        for sequence in range(sequences):
            for what, dense_values, values in (("token", dense.tokens, expected.tokens),
                                               ("logits checksum", dense.checksums, expected.checksums)):
                steps = np.flatnonzero(dense_values[sequence] != values[sequence])
                if steps.size:
                    differences += 1
                    report(f"  rank {rank}, sequence {sequence}: {what} {steps[0]} is {values[sequence, steps[0]]}, "
                           f"dense {dense_values[sequence, steps[0]]}; {steps.size} of {new_tokens} differ")
    if differences:
        report(f"Check FAILED: {differences} differences in {compared} sequences.")
        return False
    report(f"Check passed: {compared} sequences x {new_tokens} tokens are identical, and so are the bits of the logits",
           f"behind each of them. In {config.dtype} as in any dtype equality is the right demand: both runs perform",
           "the same operations on a token in the same order and round at the same places (the grouped matmul gives a",
           "row the same bits whatever rows surround it), so one wrong bit would show.")
    return True


def generate(arguments, group):
    """The sample on one rank; returns the exit code."""
    config, new_tokens = arguments.config, arguments.max_new_tokens
    report = Report(group.rank)
    batches = [Batch.of_rank(arguments.texts, rank, group.size) for rank in range(group.size)]
    batch = batches[group.rank]
    prompt_lengths = [length for each in batches for length in each.lengths[each.real].tolist()]

    def window(tokens_of):
        return ExpertWindow.create(
            moe_expert_num=config.num_experts + arguments.redundant_experts, hidden_size=config.hidden_size,
            top_k=config.num_experts_per_tok, max_tokens_per_rank=max(tokens_of(each) for each in batches),
            dtype=DTYPES[config.dtype], group=group, timeout=arguments.timeout)

    # a window per phase: activations have as many rows as the window, and decode needs far fewer
    with window(lambda each: each.tokens.size) as prefill_window, window(lambda each: len(each.texts)) as decode_window:
        local = prefill_window.local_expert_num
        report(f"Model: {config.num_hidden_layers} layers, hidden size {config.hidden_size}, {config.num_experts} "
               f"experts, top {config.num_experts_per_tok}, {config.dtype}, "
               f"{config.parameter_num / 1e6:.1f} M weights.",
               f"Ranks: {group.size} with {local} experts each; windows of {prefill_window.capacity} rows (prefill) "
               f"and {decode_window.capacity} rows (decode).",
               f"Prompts: {len(arguments.texts)}, of {min(prompt_lengths)} to {max(prompt_lengths)} tokens.")
        weights = RandomWeights(config, arguments.seed)
        redundancy = Redundancy(config, arguments.redundant_experts, group.size, group.rank)
        experts = moe_weights(weights, redundancy.experts())

        def layers(window, phase):
            return [MoELayer(window, layer, phase, redundancy.placement(index), config.zero_experts)
                    for index, layer in enumerate(experts)]

        generator = build_generator(weights, batch, new_tokens, layers(prefill_window, "prefill"),
                                    layers(decode_window, "decode"))
        start = time.perf_counter()
        generator.compile()
        group.all_gather([0])  # nobody waits inside a window while others compile
        report(f"Compiled the prefill and the decode graph in {time.perf_counter() - start:.1f} s.")
        generator.run(steps=2)  # warm-up of both graphs
        group.all_gather([0])
        before = [each.timers() for each in (prefill_window, decode_window)]
        progress = report.progress(new_tokens)
        graphs = len(generator.decode.compile_cache)

        def on_token(count):
            progress(count)
            if redundancy.redundant and count == new_tokens // 2:  # between the same two steps on all ranks
                redundancy.change(weights, experts, first_replica=config.num_experts // 2)

        generation = generator.run(on_token=on_token)
        if redundancy.redundant:
            compiled = len(generator.decode.compile_cache) - graphs
            report(f"Placement: {redundancy.redundant} slots replicated the logical experts from 0 on, and those from "
                   f"{config.num_experts // 2} on after token {new_tokens // 2}; graphs compiled for the change: "
                   f"{compiled}.")
        after = [each.timers() for each in (prefill_window, decode_window)]

    generations = gather(group, generation, max(len(each.texts) for each in batches))
    for rank, (each, result) in enumerate(zip(batches, generations, strict=True)):
        report("", f"Rank {rank}" if each.real.all() else f"Rank {rank} has no prompt")
        for text, tokens in zip(each.texts, result.tokens[:each.real.sum()], strict=False):
            report(f"  {text!r}", f"    -> {decoded(tokens)}")
    first_token = max(result.first_token for result in generations)
    later_tokens = max(result.later_tokens for result in generations)
    token_num = sum(int((result.checksums != 0).sum()) for result in generations)
    report("", f"TTFT {first_token * 1e3:.1f} ms, TPOT {later_tokens / (new_tokens - 1) * 1e3:.2f} ms (slowest rank), "
               f"{token_num / (first_token + later_tokens):.0f} tokens/s on {group.size} ranks.",
           time_inside("prefill", before[0], after[0], generation.first_token),
           time_inside("decode", before[1], after[1], generation.later_tokens))
    if arguments.check and group.rank == 0:
        return 0 if check(config, arguments.seed, batches, generations, new_tokens, report) else 1
    return 0


def main():
    arguments = parse_arguments()
    ms.set_device("CPU")
    ms.set_context(mode=ms.GRAPH_MODE)
    if "MS_ROLE" in os.environ:  # started by msrun
        communication.init("mccl")
    with open_group() as group:
        return generate(arguments, group)


if __name__ == "__main__":
    sys.exit(main())
