"""Errors that a user can fix; each message names the cause and the remedy in one line."""

import importlib
from types import ModuleType


class InputError(ValueError):
    """Wrong input; the message says which and what to do about it.

    Tools print the message and exit with code 2. In Python it is a ValueError.
    """

    exit_code = 2


class StoreError(InputError):
    """An object store does not answer. Tools exit with code 1, since a later start may succeed."""

    exit_code = 1


class MissingExtraError(InputError, ImportError):
    """An optional package is not installed; the message names the extra that installs it."""


class InputWarning(UserWarning):
    """Something about the input that a user should know; tools print it as one line."""


def require(module: str, extra: str) -> ModuleType:
    """Imports an optional module where it is needed.

    Args:
        module: its dotted name.
        extra: the extra of setup.cfg that installs it.

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
