"""MindSpore in its users' settings: PyNative with asynchronous operators, threads, checkpoints, gradients, graphs.

One rank; tests/multirank/test_default_mode_ranks.py has several.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from ms_moe_comm import ExpertWindow, moe_grouped_matmul
from multirank.default_mode import Step

E, H, K, T = 4, 32, 2, 6
RNG = np.random.default_rng(20261126)
MODES = ("pynative", "graph", "jit")


@pytest.fixture(autouse=True)
def pynative_mode():
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=ms.PYNATIVE_MODE)


def new_window(**options):
    return ExpertWindow.create(**{"moe_expert_num": E, "hidden_size": H, "top_k": K, "max_tokens_per_rank": T,
                                  "dtype": ms.float32, **options})


class Model:
    """A step in one of the modes. MindSpore runs no graph again that has failed: a new cell for each step."""

    def __init__(self, window, mode):
        self._window, self._mode, self._step = window, mode, None

    def __call__(self, *tensors):
        if self._step is None:
            self._step = Step(self._window)
        ms.set_context(mode=ms.GRAPH_MODE if self._mode == "graph" else ms.PYNATIVE_MODE)
        step = ms.jit(self._step) if self._mode == "jit" else self._step
        try:
            return step(*tensors)
        except Exception:
            self._step = None
            raise


def tokens(token_num=T, ids=None):
    """x, ids and scales, and y computed by numpy."""
    x = RNG.standard_normal((token_num, H), np.float32)
    ids = RNG.integers(0, E, (token_num, K), np.int32) if ids is None else ids
    scales = RNG.integers(1, 9, (token_num, K)).astype(np.float32)  # exact in any order
    y = np.zeros_like(x)
    for k in range(K):
        y += scales[:, k:k + 1] * ((ids[:, k:k + 1] + 1).astype(np.float32) * x)
    return (Tensor(x), Tensor(ids), Tensor(scales)), y


def check_step(step):
    given, expected = tokens()
    np.testing.assert_array_equal(step(*given).asnumpy(), expected)


def environment():
    """The environment in which a script can import this file."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent),
                                                         os.environ.get("PYTHONPATH", "")])}


# --- errors ---


def too_many_tokens():
    return tokens(T + 1)[0]


def too_many_rows():
    return tokens(ids=np.zeros((T, K), np.int32))[0]


def wrong_dtype():
    x, ids, scales = tokens()[0]
    return x.astype(ms.float16), ids, scales


REFUSED = ((too_many_tokens, ValueError, "is 7, but the window was created for at most 6 tokens"),
           (too_many_rows, RuntimeError, "would get 12 rows, but a window has capacity for 11"),
           (wrong_dtype, TypeError, "must have the same dtype, but got float16 and float32"))


@pytest.mark.parametrize("mode", MODES)
def test_a_refused_step_and_then_a_right_one(mode):
    """The error comes out of the step that caused it, before anybody looks at the result, and out of no later step."""
    with new_window(capacity=11) as window:
        step = Model(window, mode)
        for i in range(100 if mode == "pynative" else 9):
            bad, kind, text = REFUSED[i % len(REFUSED)]
            with pytest.raises(kind, match=text):
                step(*bad())
            given, expected = tokens(T - 1)
            np.testing.assert_array_equal(step(*given).asnumpy(), expected)
        window.check()


@pytest.mark.parametrize("mode", MODES)
def test_a_new_window_after_a_failure(mode):
    """The old window's error comes out of the step that failed, not out of the new window."""
    for _ in range(15 if mode == "pynative" else 3):
        window = new_window()
        step = Model(window, mode)
        bad = tokens(ids=np.full((T, K), E, np.int32))[0]
        with pytest.raises(RuntimeError, match=r"'expert_ids' holds 4 \(token 0, k 0\)"):
            step(*bad)
        with pytest.raises(RuntimeError, match="is refused. Epoch 1 failed here: 'expert_ids' holds 4"):
            step(*tokens()[0])
        with new_window() as new:
            check_step(Model(new, mode))
        window.close()


# --- uses that MindSpore would silently get wrong ---


def test_no_gradient():
    with new_window() as window:
        step = Step(window)
        given, _ = tokens()
        with pytest.raises(RuntimeError, match="there is no gradient: ms_moe_comm is for inference"):
            ms.grad(lambda x: step(x, *given[1:]).sum())(given[0])
        check_step(step)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="there is no gradient"):
                ms.value_and_grad(step, None, weights=[step.weight])(*given)
        step.set_grad(False)  # once a cell was differentiated, MindSpore always differentiates it
        check_step(step)


TRACED = """
import mindspore as ms
from mindspore import Tensor
from kernel.test_default_mode import Step, check_step, new_window, tokens
ms.set_device("CPU")
with new_window() as window:
    step = Step(window)
    for _ in range(3):
        try:
            ms.jit(step.construct, capture_mode="trace")(*tokens()[0])
        except RuntimeError as error:
            print(error)
        check_step(step)
    print(ms.jit(lambda x: x * 2, capture_mode="trace")(Tensor(3.0)).asnumpy())
"""


def test_no_trace(tmp_path):
    """A trace is refused, and MindSpore still works. (The script is a file: it traces no function without one.)"""
    script = tmp_path / "traced.py"
    script.write_text(TRACED)
    output = subprocess.run([sys.executable, script], env=environment(), text=True, check=True, timeout=200,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
    *refusals, doubled = output.splitlines()
    assert len(refusals) == 3 and all('capture_mode="trace" would keep the results of the first call' in refusal
                                      for refusal in refusals), output
    assert doubled == "6.0"


def test_bytecode_capture():
    with new_window() as window:
        step = Step(window)
        captured = ms.jit(step.construct, capture_mode="bytecode")
        for _ in range(3):
            check_step(captured)


# --- parameters ---


def test_a_window_is_no_part_of_a_model(tmp_path):
    """Checkpoints hold the weights; loops over parameters harm no window."""
    with new_window() as window:
        model = nn.CellList([Step(window), Step(window, "prefill")])
        names = {parameter.name for parameter in model.get_parameters()}
        assert not [name for name in names if "window" in name], names
        ms.save_checkpoint(model, str(tmp_path / "model.ckpt"))
        assert set(ms.load_checkpoint(str(tmp_path / "model.ckpt"))) == names
        for parameter in model.get_parameters():
            parameter.set_data(Tensor(np.zeros(parameter.shape), parameter.dtype))
        ms.load_checkpoint(str(tmp_path / "model.ckpt"), model)
        check_step(model[0])
        check_step(model[1])


def test_window_tensors_take_no_other_data():
    with new_window() as window:
        with pytest.raises(RuntimeError, match="is the memory of an expert window and takes no other data"):
            window.outputs.set_data(Tensor(np.zeros(window.outputs.shape, np.float32)))


@pytest.mark.parametrize("mode", MODES)
def test_an_overwritten_window_is_refused(mode):
    """Does what a broadcast of rank 0's parameters would do: the addresses in the control are another process's."""
    window = new_window()
    step = Model(window, mode)
    check_step(step)
    zeros = Tensor(np.zeros(window.control.shape, np.int32))
    ms.ops.assign(window.control, zeros)
    with pytest.raises(RuntimeError, match="the memory of window.control was overwritten, for example by a loop that "
                                           "broadcasts or loads parameters"):
        step(*tokens()[0])


# --- cells and threads ---


class Half(nn.Cell):
    def __init__(self, window):
        super().__init__()
        self.step = Step(window)


class First(Half):
    def construct(self, x, expert_ids):
        return self.step.dispatcher.dispatch(x, expert_ids)


class Second(Half):
    def construct(self, expand_x, nums, expert_scales, handle):
        outputs = moe_grouped_matmul(expand_x, self.step.weight, nums, self.step.dispatcher.outputs)
        return self.step.dispatcher.combine(outputs, expert_scales, handle)


def test_dispatch_and_combine_in_two_graphs():
    """A graph returns copies, also of the window's control; the window is found by such a copy, too."""
    ms.set_context(mode=ms.GRAPH_MODE)
    with new_window() as window:
        first, second = First(window), Second(window)
        for _ in range(3):
            (x, ids, scales), expected = tokens()
            expand_x, nums, handle = first(x, ids)
            np.testing.assert_array_equal(second(expand_x, nums, scales, handle).asnumpy(), expected)
        expand_x, nums, handle = first(x, ids)
    with pytest.raises(ValueError, match="or its window was closed"):
        Second(window)(expand_x, nums, scales, handle).asnumpy()


def in_thread(function):
    """The error of `function`, or None, when another thread calls it."""
    errors = []

    def run():
        try:
            function()
            errors.append(None)
        except Exception as error:  # noqa: BLE001  # the test checks it
            errors.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return errors[0]


def test_another_thread_between_dispatch_and_combine():
    with new_window() as window:
        step = Step(window)
        (x, ids, scales), expected = tokens()
        expand_x, nums, handle = step.dispatcher.dispatch(x, ids)
        error = in_thread(lambda: step.dispatcher.dispatch(x, ids))
        assert "another thread has dispatched on this window and not combined yet" in str(error)
        outputs = moe_grouped_matmul(expand_x, step.weight, nums, window.outputs)
        np.testing.assert_array_equal(step.dispatcher.combine(outputs, scales, handle).asnumpy(), expected)
        assert in_thread(lambda: check_step(step)) is None  # threads may use it one after the other
        assert in_thread(lambda: step.dispatcher.dispatch(x, ids)) is None  # a step ends with its thread
        check_step(step)


@pytest.mark.parametrize("jit", [False, True], ids=["pynative", "jit"])
def test_two_threads_at_once(jit):
    """Each step is right or refused, and some are right. (In GRAPH_MODE MindSpore 2.10 hangs with any model.)"""
    with new_window() as window:
        steps, right, refused, wrong = [Step(window) for _ in range(2)], [], [], []
        if jit:
            steps = [ms.jit(step) for step in steps]
        for step in steps:  # MindSpore cannot compile on two threads
            check_step(step)

        def work(step):
            for _ in range(50):
                given, expected = tokens()
                try:
                    y = step(*given).asnumpy()
                    (right if np.array_equal(y, expected) else wrong).append(y)
                except RuntimeError as error:
                    assert "another thread" in str(error), error
                    refused.append(error)
        threads = [threading.Thread(target=work, args=(step,)) for step in steps]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong and right and len(right) + len(refused) == 100
        check_step(steps[0])


# --- Ctrl-C ---

WAITING = """
import signal, sys, time
import mindspore as ms, numpy as np
from mindspore import Tensor
from ms_moe_comm import ExpertWindow, LocalGroup
from kernel.test_default_mode import Step
ms.set_device("CPU")
ms.set_context(mode=ms.GRAPH_MODE if sys.argv[1] == "graph" else ms.PYNATIVE_MODE)
rank = int(sys.argv[3])
with LocalGroup(sys.argv[2], rank, 2) as group:
    window = ExpertWindow.create(moe_expert_num=4, hidden_size=32, top_k=2, max_tokens_per_rank=6, dtype=ms.float32,
                                 group=group, timeout=100)
    if rank == 1:  # it makes no step, but sees the counts of the other come
        part = window._parameters.layout()["counts"]
        first_word = window._provider.words(part.offset + 2 * part.pitch, 1)  # [parity 1][source 0]
        while first_word[0] == 0:
            time.sleep(0.01)
        print("waits", flush=True)
        sys.stdin.read()
        sys.exit()
    step = Step(window)
    step = ms.jit(step) if sys.argv[1] == "jit" else step
    x = Tensor(np.zeros((2, 32), np.float32)), Tensor(np.ones((2, 2), np.int32)), Tensor(np.ones((2, 2), np.float32))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # MindSpore's own ends the process with its first operator
    try:
        step(*x).asnumpy()
    except KeyboardInterrupt:
        print("KeyboardInterrupt", flush=True)
    try:
        window.check()
    except RuntimeError as error:
        print(error, flush=True)
"""


@pytest.mark.parametrize("mode", MODES)
def test_ctrl_c_ends_a_wait(mode, tmp_path):
    """The wait ends within moments, not at the window's deadline of 100 s."""
    ranks = [subprocess.Popen([sys.executable, "-c", WAITING, mode, str(tmp_path), str(rank)],
                              env=environment(), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
             for rank in range(2)]
    try:
        assert ranks[1].stdout.readline() == "waits\n"
        time.sleep(0.5)  # the counts are out: rank 0 waits for those of rank 1
        ranks[0].send_signal(signal.SIGINT)
        output, _ = ranks[0].communicate(timeout=60)
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    if mode != "pynative":  # MindSpore sets its own handler, which ends the process, whenever it runs a graph
        assert ranks[0].returncode == -signal.SIGTERM
        return
    assert "KeyboardInterrupt" in output
    assert "was interrupted while it waited for the counts (phase 'counts') of rank 1" in output
