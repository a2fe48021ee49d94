"""User: a function from an installed module or from a folder named on the command line."""

from __future__ import annotations

import importlib
from typing import cast

from sim.serving.policies.base import Choose, Policy
from sim.spec.experiment import UserPolicySpec

__all__ = ["USER", "UserFunctionError", "load_function"]


class UserFunctionError(ValueError):
    """A policy function that cannot be had; the message says why."""


def load_function(reference: str) -> Choose:
    """Return the function named as ``module:function``.

    The module has to be importable as it is: installed, or in a folder given by ``--plugins``. The folder of an
    experiment file is never searched, so that a file from elsewhere cannot bring code along.
    """
    module_name, _, function_name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UserFunctionError(
            f"module {module_name!r} cannot be imported ({error}); install it or name its folder with --plugins"
        ) from error
    except (Exception, SystemExit) as error:
        # Code of others may fail in any way, and is not to end what imports it.
        raise UserFunctionError(f"module {module_name!r} cannot be imported: {error!r}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise UserFunctionError(f"module {module_name!r} has no function {function_name!r}")
    return cast(Choose, function)


def _parameters(spec: UserPolicySpec, _sla_ns: int) -> list[float]:
    return list(spec.parameters)


USER = Policy("user", None, parameters=_parameters)
