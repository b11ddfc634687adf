"""What the package needs besides itself, and the errors for anything else.

The import of the package, `python -m ms_moe_comm doctor` and setup.py use it, so it imports no requirement at its top.
"""
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

# package -> the requirement for pip (as in pyproject.toml), and whether a version, given as a list of texts, fits
_NEEDED: dict[str, tuple[str, Callable[[list[str]], bool]]] = {
    "numpy": ("numpy<2", lambda version: int(version[0]) < 2),  # MindSpore 2.10 was built with numpy 1
    "mindspore": ("mindspore>=2.10,<2.11", lambda version: version[:2] == ["2", "10"]),  # the library links to it
}


def import_fitting(package: str) -> ModuleType:
    """Imports the package of this name.

    Raises:
        ImportError: there is none, or its version does not fit; says what to do.
    """
    needed, fits = _NEEDED[package]
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f"{package} cannot be imported ({error}), and ms_moe_comm needs it: run: pip install "
                          f"'{needed}'") from error
    if not fits(module.__version__.split(".")):
        raise ImportError(f"{package} {module.__version__} does not fit ms_moe_comm: run: pip install '{needed}'")
    return module


def check_packages() -> None:
    """Raises ImportError if one does not fit. Checks numpy first: MindSpore cannot be imported with a wrong one."""
    for package in _NEEDED:
        import_fitting(package)


def import_library() -> ModuleType:
    """Loads the library of operators, after MindSpore's libraries, to which it links.

    Raises:
        ImportError: it is not there, or does not load; says what to do.
    """
    check_packages()
    try:
        return importlib.import_module("ms_moe_comm._lib")
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError):
            problem = (f"{Path(__file__).parent} has no library of operators for Python {sys.version_info.major}."
                       f"{sys.version_info.minor}: it is a source tree, or was built for another Python")
        else:
            problem = f"the library of operators does not load ({error}): it was built for another MindSpore"
        raise ImportError(f"{problem}. Install the package from its source tree (pip install --force-reinstall "
                          "--no-deps PATH), and run Python outside of that tree.") from error
