"""Batches of prompts and the greedy loop over the two graphs."""
import time
import zlib
from dataclasses import dataclass

import numpy as np
from mindspore import Tensor

BOS, EOS, PAD = 256, 257, 258  # after the 256 bytes


@dataclass
class Batch:
    """The prompts of one rank, right-padded to its longest.

    Attributes:
        texts (list[str]): the prompts; one empty text stands in on a rank without prompts.
        tokens (numpy.ndarray): [b, S] int32: BOS, the prompt's bytes, PAD.
        lengths (numpy.ndarray): [b] int32: tokens without padding.
        real (numpy.ndarray): [b] bool, false for the stand-in.
    """

    texts: list
    tokens: np.ndarray
    lengths: np.ndarray
    real: np.ndarray

    @classmethod
    def of_rank(cls, prompts, rank, ranks):
        """Every ranks-th prompt, beginning with prompt `rank`."""
        texts = prompts[rank::ranks]
        encoded = [[BOS, *text.encode()] for text in texts or [""]]
        lengths = np.array([len(tokens) for tokens in encoded], np.int32)
        tokens = np.full((len(encoded), lengths.max()), PAD, np.int32)
        for row, prompt in zip(tokens, encoded, strict=True):
            row[:len(prompt)] = prompt
        return cls(texts or [""], tokens, lengths, np.full(len(encoded), bool(texts)))


@dataclass
class Generation:
    """What one rank generated.

    Attributes:
        tokens (numpy.ndarray): [b, new_tokens] int64, PAD after EOS.
        checksums (numpy.ndarray): [b, new_tokens] int64: CRC-32 of the bits of each token's logits, 0 after EOS.
        first_token (float): seconds from the prompts to the first token on the host.
        later_tokens (float): seconds for all the other tokens.
    """

    tokens: np.ndarray
    checksums: np.ndarray
    first_token: float
    later_tokens: float


class GreedyGenerator:
    """Generates from a batch with one prefill and one decode graph that share their KV caches.

    Args:
        prefill, decode (DecoderLM): called with [b, S] and with [b, 1] tokens.
        batch (Batch): the prompts.
        new_tokens (int): how many to generate. A sequence that ends early is masked, but the steps go on, since the
            experts of this rank may be needed by the others.
    """

    def __init__(self, prefill, decode, batch, new_tokens):
        self.prefill = prefill
        self.decode = decode
        self.batch = batch
        self.new_tokens = new_tokens

    def _prefill_inputs(self):
        positions = np.broadcast_to(np.arange(self.batch.tokens.shape[1], dtype=np.int32), self.batch.tokens.shape)
        active = (positions < self.batch.lengths[:, None]) & self.batch.real[:, None]
        return Tensor(self.batch.tokens), Tensor(positions.copy()), Tensor(active), Tensor(self.batch.lengths - 1)

    def _decode_inputs(self, tokens, step, active):
        positions = self.batch.lengths + np.int32(step)
        last = np.zeros_like(tokens)
        return Tensor(tokens[:, None]), Tensor(positions[:, None]), Tensor(active[:, None]), Tensor(last)

    def compile(self):
        """Compiles both graphs without running them."""
        tokens = np.full(len(self.batch.texts), PAD, np.int32)
        self.prefill.compile(*self._prefill_inputs())
        self.decode.compile(*self._decode_inputs(tokens, 0, self.batch.real))

    def run(self, steps=None, on_token=lambda _: None):
        """Generates `steps` tokens (default: all) and returns a `Generation`; calls on_token(count) after each."""
        steps = self.new_tokens if steps is None else steps
        tokens = np.full((len(self.batch.texts), steps), PAD, np.int64)
        checksums = np.zeros_like(tokens)
        active = self.batch.real
        times = [time.perf_counter()]
        for step in range(steps):
            if step == 0:
                next_tokens, logits = self.prefill(*self._prefill_inputs())
            else:
                next_tokens, logits = self.decode(*self._decode_inputs(next_tokens, step - 1, active))
            next_tokens = np.where(active, next_tokens.asnumpy(), PAD).astype(np.int32)
            times.append(time.perf_counter())
            tokens[:, step] = next_tokens
            checksums[:, step] = [zlib.crc32(row) if on else 0
                                  for row, on in zip(logits.asnumpy(), active, strict=True)]
            active = active & (next_tokens != EOS)
            on_token(step + 1)
        return Generation(tokens, checksums, times[1] - times[0], times[-1] - times[1])
