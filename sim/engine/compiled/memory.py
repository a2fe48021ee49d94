"""Memory that compiled functions reach by its address, so that all they hand each other is one record.

A compiled function that takes thirty arrays copies thirty descriptions of arrays whenever it calls another one. Here the
arrays lie where Python put them, their addresses stand in the fields of one record, and a function looks at those it
needs. Python keeps the arrays alive for as long as anything runs (`Memory`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types
from numba.core import cgutils
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    intrinsic,
    lower_getattr_generic,
    lower_setattr_generic,
    models,
    register_model,
)
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

from sim.serving.compiled import jit_inner
from sim.serving.lookup import COLUMNS

__all__ = ["Memory", "WorldType", "call_choice", "floats", "ints", "pairs", "pointer", "service_rows", "truths"]


@intrinsic  # type: ignore[untyped-decorator]
def pointer(_typing: Any, address: Any) -> Any:
    """Return the pointer to an address."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


@intrinsic  # type: ignore[untyped-decorator]
def call_choice(
    _typing: Any,
    address: Any,
    size: Any,
    time_left_ns: Any,
    paths: Any,
    accuracy: Any,
    service_ns: Any,
    wait_ns: Any,
    numbers: Any,
    parameters: Any,
) -> Any:
    """Call the policy at an address, see `sim.engine.compiled.choice.entry_point`; all arguments are int64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        word = context.get_value_type(types.int64)
        function = ir.FunctionType(word, [word] * (len(arguments) - 1))
        target = builder.inttoptr(arguments[0], function.as_pointer())
        words = [
            context.cast(builder, value, given, types.int64)
            for value, given in zip(arguments[1:], signature.args[1:], strict=True)
        ]
        return builder.call(target, words)

    given = (address, size, time_left_ns, paths, accuracy, service_ns, wait_ns, numbers, parameters)
    return types.int64(*given), generate


@jit_inner
def ints(address: int, count: int) -> NDArray[np.int64]:
    """Return the int64 array at an address."""
    return carray(pointer(address), (count,), np.int64)  # type: ignore[no-any-return]


@jit_inner
def floats(address: int, count: int) -> NDArray[np.float64]:
    """Return the float64 array at an address."""
    return carray(pointer(address), (count,), np.float64)  # type: ignore[no-any-return]


@jit_inner
def truths(address: int, count: int) -> NDArray[np.bool_]:
    """Return the bool array at an address."""
    return carray(pointer(address), (count,), np.bool_)  # type: ignore[no-any-return]


@jit_inner
def pairs(address: int, count: int) -> NDArray[np.int64]:
    """Return the int64 array of shape (count, 2) at an address."""
    return carray(pointer(address), (count, 2), np.int64)  # type: ignore[no-any-return]


@jit_inner
def service_rows(address: int, count: int) -> NDArray[np.int64]:
    """Return the index of packed services at an address."""
    return carray(pointer(address), (count, COLUMNS), np.int64)  # type: ignore[no-any-return]


class WorldType(types.Type):  # type: ignore[misc]
    """The type of a record of addresses and numbers, where it lies.

    A record type of numba's has all its fields in its name, and the name of every compiled function the types of all its
    arguments: with two hundred fields that is most of the time that compiling takes.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        super().__init__(name="World")
        self.dtype = dtype


@register_model(WorldType)
class _WorldModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, world: WorldType) -> None:
        super().__init__(manager, world, cgutils.voidptr_t)


@infer_getattr
class _WorldFields(AttributeTemplate):  # type: ignore[misc]
    key = WorldType

    def generic_resolve(self, world: WorldType, field: str) -> Any:
        return from_dtype(world.dtype[field]) if field in (world.dtype.names or ()) else None


def _field(context: Any, builder: Any, world: WorldType, value: Any, field: str) -> tuple[Any, Any]:
    """Return the type of a field and the pointer to it."""
    assert world.dtype.fields is not None
    dtype, offset = world.dtype.fields[field][:2]
    of_field = from_dtype(dtype)
    place = cgutils.pointer_add(builder, value, offset)
    return of_field, builder.bitcast(place, context.get_value_type(of_field).as_pointer())


@lower_getattr_generic(WorldType)
def _read_field(context: Any, builder: Any, world: WorldType, value: Any, field: str) -> Any:
    _, place = _field(context, builder, world, value, field)
    return builder.load(place)


@lower_setattr_generic(WorldType)
def _write_field(context: Any, builder: Any, signature: Any, arguments: Any, field: str) -> None:
    world, given = signature.args
    of_field, place = _field(context, builder, world, arguments[0], field)
    builder.store(context.cast(builder, arguments[1], given, of_field), place)


class Memory:
    """The arrays behind a record of addresses.

    Parameters
    ----------
    dtype : numpy dtype
        Of the record. Field ``NAME_at`` holds the address of the array NAME, ``NAME_room``, where there is one, its
        length.

    Attributes
    ----------
    record : structured array, shape (1,)
        Whose address compiled functions get.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.record: NDArray[np.void] = np.zeros(1, dtype=dtype)
        self._arrays: dict[str, NDArray[Any]] = {}
        self._fields = frozenset(dtype.names or ())

    @property
    def address(self) -> int:
        """Where the record lies."""
        return int(self.record.ctypes.data)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the array of this name."""
        return self._arrays[name]

    def put(self, name: str, array: NDArray[Any]) -> None:
        """Let the field of this name point to an array, which has to be contiguous."""
        if not array.flags.c_contiguous:
            raise ValueError(f"{name} is not contiguous")
        self._arrays[name] = array
        self.record[f"{name}_at"] = array.ctypes.data
        if f"{name}_room" in self._fields:
            self.record[f"{name}_room"] = len(array)

    def grow(self, name: str, room: int) -> None:
        """Make an array longer, keeping what is in it; what is new is zero."""
        old = self._arrays[name]
        new = np.zeros((room, *old.shape[1:]), dtype=old.dtype)
        new[: len(old)] = old
        self.put(name, new)

    def get(self, name: str) -> int:
        """Return a number of the record."""
        return int(self.record[name][0])

    def set(self, name: str, value: int) -> None:
        """Change a number of the record."""
        self.record[name] = value
