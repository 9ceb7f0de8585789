"""What a user can mend: one clear line that names the thing and the remedy."""

from __future__ import annotations

import importlib
from types import ModuleType


class InputError(ValueError):
    """The input is wrong, and the message says which and what to do.

    Tools print it as one line and exit with code 2; in Python it is a ValueError.
    """


class MissingExtraError(InputError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


def require(module: str, extra: str) -> ModuleType:
    """Imports an optional module, at the place where it is used.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise MissingExtraError(
            f"this needs {package} ({error}); install it with: pip install 'diffmae-video[{extra}]'"
        ) from error
