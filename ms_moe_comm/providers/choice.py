"""Which provider serves a window. This is the one place that knows their names.

The environment variable MS_MOE_COMM_WINDOW chooses between the providers of a device, the same on all ranks. No
provider is ever chosen silently because another failed, since allocation is collective.
"""
import importlib
import importlib.util
import os

import mindspore as ms

from ms_moe_comm.group import RankGroup
from ms_moe_comm.providers.contract import WindowProvider

ENVIRONMENT_VARIABLE = "MS_MOE_COMM_WINDOW"
_OF_DEVICE = {"CPU": ("shm",), "Ascend": ("symm", "vmm")}  # device target -> names; the first is its default
# name of a provider and of its module -> its class. The modules for Ascend need CANN, so first use imports them.
_CLASSES = {"shm": "SharedMemoryProvider", "symm": "SymmetricMemoryProvider", "vmm": "VirtualMemoryProvider"}


def built_for_ascend() -> bool:
    """Whether the package was built with CANN. Its Ascend part is loaded when the first window on an NPU is created."""
    return importlib.util.find_spec("ms_moe_comm._ascend") is not None


def provider_name() -> str:
    """The provider that MS_MOE_COMM_WINDOW asks for, or the default of the device that MindSpore is set to.

    Raises:
        ValueError: there is no provider for this device, or none of that name. Says what is available.
    """
    device = ms.get_context("device_target")
    devices = [name for name in _OF_DEVICE if name != "Ascend" or built_for_ascend()]
    if device not in devices:
        build = ""
        if device == "Ascend":
            build = " Built where ASCEND_HOME_PATH names a CANN, the package serves Ascend too."
        raise ValueError(f"this version has no window memory for the device {device}; available: "
                         f"{', '.join(devices)}. Call mindspore.set_device('CPU') before you create a window.{build}")
    available = _OF_DEVICE[device]
    name = os.environ.get(ENVIRONMENT_VARIABLE) or available[0]
    if name not in available:
        raise ValueError(f"{ENVIRONMENT_VARIABLE} is {name!r}, but this version has for the device {device}: "
                         f"{', '.join(available)}. Unset the variable or give one of these.")
    return name


def make_provider(name: str, group: RankGroup) -> WindowProvider:
    """The provider of this name (see `provider_name`) for these ranks; it has no memory yet.

    Raises:
        RuntimeError: the package's Ascend part cannot be loaded.
    """
    return _provider_class(name)(group)


def default_block_dim(name: str) -> int:
    """The default number of cores of an operator on a window of this provider (see `provider_name`).

    Raises:
        RuntimeError: the package's Ascend part cannot be loaded, or CANN does not say how many cores there are.
    """
    return _provider_class(name).default_block_dim()


def _provider_class(name: str) -> type[WindowProvider]:
    try:
        module = importlib.import_module(f"ms_moe_comm.providers.{name}")
    except ImportError as error:
        raise RuntimeError(f"no window: the Ascend part of the package cannot be loaded: {error}. Source CANN's "
                           "set_env.sh and use the MindSpore that the package was built with; or install the package "
                           "again.") from error
    return getattr(module, _CLASSES[name])
