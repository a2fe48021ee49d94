"""User: a function from an installed module or from a folder named on the command line."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable
from typing import cast

from sim.serving.policies.base import DROP, Choose, Policy
from sim.spec.experiment import UserPolicySpec

__all__ = ["USER", "PolicyError", "UserFunctionError", "is_own", "load_function", "policy_raised", "policy_returned"]


class UserFunctionError(ValueError):
    """A policy function that cannot be had; the message says why."""


class PolicyError(RuntimeError):
    """A policy function that failed while it chose a path, or chose none that there is; the message says how."""


def is_own(function: Callable[..., object]) -> bool:
    """Return whether a function is a user's, and none that ships."""
    return function.__module__.partition(".")[0] != "sim"


def policy_returned(function: Choose, answer: object, size: int, paths: int) -> PolicyError:
    """Return what is wrong with the answer to a query of so many samples, on a node with so many paths."""
    return _failed(function, f"returned {answer!r:.60}", size, paths, 0)


def policy_raised(function: Choose, error: BaseException, size: int, paths: int) -> PolicyError:
    """Return what is wrong with a function that raised `error` in place of an answer."""
    lines = [one.lineno or 0 for one in traceback.extract_tb(error.__traceback__) if one.filename == _file(function)]
    return _failed(function, f"raised {error!r}", size, paths, lines[-1] if lines else 0)


def _failed(function: Choose, did: str, size: int, paths: int, line: int) -> PolicyError:
    name = f"{function.__module__}:{getattr(function, '__qualname__', function)}"
    where = _file(function) + (f":{line}" if line else "")
    allowed = f"a path, 0 to {paths - 1}" if paths > 1 else "the only path, 0"
    asked = f"a query of {size} sample{'s' if size > 1 else ''}"
    return PolicyError(f"the policy {name} ({where}) {did} for {asked} (allowed: {allowed}, or {DROP} to drop it)")


def _file(function: Choose) -> str:
    return str(getattr(sys.modules.get(function.__module__), "__file__", None) or "no file")


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
