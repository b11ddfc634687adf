"""The ranks that share an expert window, and the one collective that creating it needs: an all-gather of integers.

Three kinds of group serve `ExpertWindow.create`:

* `SoloGroup`: one rank; no launcher, no communication.
* a MindSpore communication group under `msrun`. On Ascend HCCL gathers (`DeviceGroup`). On CPU its ranks meet in a
  `LocalGroup` of the same ranks: MindSpore's own CPU all-gather serves the world group alone and gives up after 30
  seconds without saying which rank was late.
* any object with `rank`, `size` and `all_gather(values) -> int64 [size, n]`, such as a `LocalGroup` of the caller's
  own.
"""
import contextlib
import hashlib
import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NoReturn, Protocol

import mindspore as ms
import numpy as np
from mindspore import communication
from mindspore.communication import comm_func
from numpy.typing import NDArray

from ms_moe_comm.arguments import MAX_INT32, as_integer, check_type, checked_integer, checked_seconds, shown

RENDEZVOUS_SECONDS = 120.0
_HELLO = 0x4D4F454752503031  # "MOEGRP01": only ranks of this package and version begin with it
_FRAME = struct.Struct("=qq")  # kind of the frame, bytes that follow
_VALUES, _FAILURE = 1, 2
_MAX_PAYLOAD = 1 << 20
_RETRY_SECONDS = 0.01


class RankGroup(Protocol):
    """What a window needs of a group."""

    @property
    def rank(self) -> int:
        """This process's number, 0 to size - 1."""

    @property
    def size(self) -> int:
        """Number of ranks."""

    def all_gather(self, values: Sequence[int]) -> NDArray[np.int64]:
        """int64 [n], the same n on all ranks -> int64 [size, n]: every rank's values on every rank."""


class SoloGroup:
    """A group of one rank."""

    rank = 0
    size = 1

    def all_gather(self, values: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 [n] -> int64 [1, n]."""
        return _words(values)[np.newaxis]


class LocalGroup:
    """Processes of one machine and one user that know a common address; no launcher and no files.

    The ranks meet on a Unix socket in Linux's abstract namespace, which vanishes with its processes. Rank 0 collects
    and answers. Every wait is bounded; its error names the missing ranks, on all ranks that are still there. A rank
    that ends does not end the others.

    Args:
        address (str): any text that all ranks of this group use, and nobody else on the machine.
        rank (int): 0 .. size-1.
        size (int): number of ranks.
        timeout (float): seconds that rank 0 waits for the others, here and in each `all_gather`. The others wait twice
            as long, since rank 0 may begin as much as one timeout after them.

    Raises:
        TypeError: an argument of another type than these.
        ValueError: a rank outside 0 .. size-1.
        RuntimeError: a rank is missing at the deadline, a rank is there twice, or the address is taken.
    """

    def __init__(self, address: str, rank: int, size: int, timeout: float = RENDEZVOUS_SECONDS) -> None:
        check_type("LocalGroup", "address", address, str, "a str")
        size = checked_integer("LocalGroup", "size", size, 1, MAX_INT32, "give the number of ranks")
        rank = checked_integer("LocalGroup", "rank", rank, -MAX_INT32, MAX_INT32, "give this rank's number")
        timeout = checked_seconds("LocalGroup", "timeout", timeout, 1e-6, 1e9, "give the time to wait for other ranks")
        if not 0 <= rank < size:
            raise ValueError(f"rank is {rank}, but a group of {size} has ranks 0 to {size - 1}.")
        self.rank, self.size = rank, size
        self._address, self._timeout = address, timeout
        self._peers: dict[int, socket.socket] = {}  # rank -> socket: all others on rank 0, rank 0 alone elsewhere
        try:
            if rank == 0:
                self._accept_all()
            else:
                self._connect()
        except BaseException:
            self.close()
            raise

    def all_gather(self, values: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Every rank's values on every rank.

        Args:
            values: int64 [n], the same n on all ranks.

        Returns:
            numpy.ndarray, int64 [size, n].

        Raises:
            TypeError: `values` are not such values.
            RuntimeError: a rank is missing at the deadline or has ended, or n differs between ranks.
        """
        values = _words(values)
        if len(self._peers) < (1 if self.rank else self.size - 1):
            raise RuntimeError("the group is closed: it was left, or an earlier error ended it.")
        if self.rank:
            with contextlib.suppress(OSError):  # rank 0 is gone, but may have sent the reason
                self._send(0, _FRAME.pack(_VALUES, values.nbytes) + values.tobytes())
            answer = self._receive_answer()
            return np.frombuffer(answer, np.int64).reshape(self.size, -1).copy()
        rows = {0: values.tobytes(), **self._collect()}
        lengths = {rank: len(row) // 8 for rank, row in rows.items()}
        if len(set(lengths.values())) > 1:
            self._fail(f"the ranks gather different numbers of values: {lengths} (rank: number).")
        answer = b"".join(rows[rank] for rank in range(self.size))
        for rank in self._peers:
            try:
                self._send(rank, _FRAME.pack(_VALUES, len(answer)) + answer)
            except OSError:
                self._fail_missing({rank})
        return np.frombuffer(answer, np.int64).reshape(self.size, -1).copy()

    def close(self) -> None:
        """Leaves the group. The others' next `all_gather` fails and names this rank."""
        for peer in self._peers.values():
            peer.close()
        self._peers.clear()

    def __enter__(self) -> "LocalGroup":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _socket_name(self) -> str:
        # a digest, since a socket's name is short and a group's may be long
        return "\0ms_moe_comm/" + hashlib.sha256(f"{os.getuid()}/{self._address}".encode()).hexdigest()

    def _accept_all(self) -> None:
        deadline = time.monotonic() + self._timeout
        with socket.socket(socket.AF_UNIX) as listener:
            try:
                listener.bind(self._socket_name())
            except OSError as error:
                raise RuntimeError(f"another rank 0 already waits at the address {self._address!r}: every group on a "
                                   f"machine needs an address of its own ({error}).") from error
            listener.listen(self.size)
            while len(self._peers) < self.size - 1:
                listener.settimeout(max(deadline - time.monotonic(), _RETRY_SECONDS))
                try:
                    peer, _ = listener.accept()
                except TimeoutError:
                    self._fail_missing(set(range(1, self.size)) - set(self._peers))
                self._admit(peer, deadline)

    def _admit(self, peer: socket.socket, deadline: float) -> None:
        """Rank 0 accepts a connection that introduces itself as a missing rank of the same user."""
        if not _same_user(peer):
            peer.close()
            return
        magic, rank, size = struct.unpack("=qqq", _receive_exactly(peer, 24, deadline) or bytes(24))
        if magic != _HELLO:
            peer.close()
            return
        known = rank in self._peers
        self._peers[-1 if known else rank] = peer  # so that _fail tells it, too
        if known or not 0 < rank < self.size:
            self._fail(f"rank {rank} came to the address {self._address!r} {'twice' if known else 'unexpectedly'}: "
                       f"every rank needs a number of its own, from 0 to {self.size - 1}.")
        if size != self.size:
            self._fail(f"rank {rank} expects a group of {size}, rank 0 one of {self.size}.")

    def _connect(self) -> None:
        deadline = time.monotonic() + self._timeout
        while True:
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._socket_name())
                break
            except OSError as error:  # rank 0 is not there yet
                server.close()
                if time.monotonic() > deadline:
                    raise RuntimeError(f"rank 0 did not come to the address {self._address!r} within {self._timeout:g} "
                                       "seconds; all ranks must be on one machine.") from error
                time.sleep(_RETRY_SECONDS)
        self._peers[0] = server
        if not _same_user(server):
            raise RuntimeError(f"the address {self._address!r} is held by another user's process: choose another.")
        with contextlib.suppress(OSError):  # as in all_gather
            self._send(0, struct.pack("=qqq", _HELLO, self.rank, self.size))

    def _collect(self) -> dict[int, bytes]:
        """Rank 0: the payload of every other rank, or a failure on all ranks that names those without one."""
        deadline = time.monotonic() + self._timeout
        rows: dict[int, bytes] = {}
        missing = set()
        for rank in self._peers:
            row = self._try_receive(rank, deadline)
            if row is None:
                missing.add(rank)
            else:
                rows[rank] = row[1]
        if missing:
            self._fail_missing(missing)
        return rows

    def _fail_missing(self, missing: set[int]) -> NoReturn:
        self._fail(f"rank {join_ranks(missing)} of {self.size} did not come to the address {self._address!r} within "
                   f"{self._timeout:g} seconds, or ended; all ranks must be on one machine.")

    def _fail(self, message: str) -> NoReturn:
        """Rank 0 tells all other ranks why the collective has failed."""
        for peer in self._peers.values():
            with contextlib.suppress(OSError):  # one that is gone needs no message
                peer.sendall(_FRAME.pack(_FAILURE, len(message.encode())) + message.encode())
        self.close()
        raise RuntimeError(message)

    def _send(self, rank: int, data: bytes) -> None:
        self._peers[rank].settimeout(self._timeout)
        self._peers[rank].sendall(data)

    def _receive_answer(self) -> bytes:
        """The payload that rank 0 sends to all."""
        frame = self._try_receive(0, time.monotonic() + 2 * self._timeout)
        if frame is None:
            raise RuntimeError(f"rank 0 of {self.size} ended, or gave no answer within {2 * self._timeout:g} seconds.")
        kind, payload = frame
        if kind == _FAILURE:
            raise RuntimeError(payload.decode())
        return payload

    def _try_receive(self, rank: int, deadline: float) -> tuple[int, bytes] | None:
        """(kind, payload), or None if the rank is gone, late, or does not speak our protocol."""
        head = _receive_exactly(self._peers[rank], _FRAME.size, deadline)
        if head is None:
            return None
        kind, size = _FRAME.unpack(head)
        if kind not in (_VALUES, _FAILURE) or not 0 <= size <= _MAX_PAYLOAD:
            return None
        payload = _receive_exactly(self._peers[rank], size, deadline)
        return None if payload is None else (kind, payload)


class DeviceGroup:
    """A MindSpore communication group whose ranks are NPUs, on one server or several. No NPU has run it yet.

    Args:
        name (str): the group's name.
        rank (int): this process's number in the group.
        size (int): number of ranks.
    """

    def __init__(self, name: str, rank: int, size: int) -> None:
        self.name, self.rank, self.size = name, rank, size

    def all_gather(self, values: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 [n] -> int64 [size, n]. HCCL's own time-out bounds the wait (HCCL_EXEC_TIMEOUT)."""
        gathered, _ = comm_func.all_gather_into_tensor(ms.Tensor(np.asarray(values, np.int64)), group=self.name)
        return gathered.asnumpy().reshape(self.size, -1)


@contextlib.contextmanager
def open_group(group: RankGroup | str | None = None) -> Iterator[RankGroup]:
    """The group that an argument `group` of this package stands for, during a `with` block.

    Args:
        group: None, for MindSpore's world group if its communication is initialised and a group of one otherwise; the
            name of a MindSpore communication group; or an object with `rank`, `size` and `all_gather`, used as it is.

    Raises:
        TypeError: none of these.
        RuntimeError: the process was started by a launcher but communication is not initialised, or a rank is missing.
    """
    if group is None and not communication.GlobalComm.INITED:
        workers = int(os.environ.get("MS_WORKER_NUM", "1"))
        if workers > 1:
            raise RuntimeError(f"this is one of {workers} processes of msrun, but communication is not initialised: "
                               "call mindspore.communication.init() first, or pass group=SoloGroup() for a window that "
                               "this process has for itself.")
        yield SoloGroup()
    elif group is None or isinstance(group, str):
        with _mindspore_group(group or communication.GlobalComm.WORLD_COMM_GROUP) as ranks:
            yield ranks
    elif not isinstance(group, type) and all(hasattr(group, name) for name in ("rank", "size", "all_gather")):
        for name in ("rank", "size"):
            if as_integer(getattr(group, name)) is None:
                raise TypeError(f"the group's {name} must be an int, but is {shown(getattr(group, name))}.")
        yield group
    else:
        raise TypeError(f"group is {shown(group)}: give None, the name of a MindSpore communication group, or an "
                        "object with rank, size and all_gather.")


def _mindspore_group(name: str) -> AbstractContextManager[RankGroup]:
    """The ranks of a MindSpore group. They meet at an address that its scheduler makes unique on this machine."""
    if not communication.GlobalComm.INITED:
        raise RuntimeError(f"group is {name!r}, but communication is not initialised: start the ranks with msrun and "
                           "call mindspore.communication.init() first.")
    try:
        rank, size = communication.get_rank(name), communication.get_group_size(name)
    except RuntimeError as error:
        raise RuntimeError(f"group {name!r} has no rank here: create it with mindspore.communication.create_group on "
                           "its members, and its windows on its members only.") from error
    if size == 1:
        return contextlib.nullcontext(SoloGroup())
    if ms.get_context("device_target") == "Ascend":
        return contextlib.nullcontext(DeviceGroup(name, rank, size))
    scheduler = f"{os.environ['MS_SCHED_HOST']}:{os.environ['MS_SCHED_PORT']}"
    return LocalGroup(f"{scheduler}/{name}", rank, size)


def _words(values: object) -> NDArray[np.int64]:
    """A rank's values for `all_gather`, as int64 [n]."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and not np.can_cast(array.dtype, np.int64)):
        raise TypeError(f"For 'all_gather', 'values' must be a sequence of int64, but got {shown(values)}.")
    return np.ascontiguousarray(array, np.int64)


def _same_user(peer: socket.socket) -> bool:
    """Whether the other end is the same user. Abstract sockets have no file permissions, so we ask Linux."""
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("=iII"))
    return struct.unpack("=iII", credentials)[1] == os.getuid()


def _receive_exactly(peer: socket.socket, size: int, deadline: float) -> bytes | None:
    """`size` bytes, or None when the other end is gone or the deadline has passed."""
    data = b""
    while len(data) < size:
        peer.settimeout(max(deadline - time.monotonic(), _RETRY_SECONDS))
        try:
            piece = peer.recv(size - len(data))
        except OSError:  # includes the time-out
            return None
        if not piece:
            return None
        data += piece
    return data


def join_ranks(ranks: Iterable[int]) -> str:
    """Ranks as an error names them: '0, 2, 5'."""
    return ", ".join(str(rank) for rank in sorted(ranks))
