"""Several numbers side by side, which a processor compares and adds with one instruction.

Compilers write such instructions for loops only where they see a gain, which they do not for a handful of paths or of
parts; and branches on what these are would be guessed wrong more often than not.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from sim.engine.compiled.memory import machine_code

__all__ = ["EIGHT", "counter_of", "eight_alike", "eight_at", "eight_sum", "eight_with", "least_of_eight"]

EIGHT = 8
"""Numbers of an `eight`: a line of the cache, and as many as the widest instructions take."""


class EightType(types.Type):
    """The type of eight int64 side by side."""

    def __init__(self) -> None:
        super().__init__(name="Eight")


@register_model(EightType)
class _EightModel(models.PrimitiveModel):
    def __init__(self, manager: Any, eight: EightType) -> None:
        super().__init__(manager, eight, _eight())


def _eight(bits: int = 64) -> Any:
    from llvmlite import ir

    return ir.VectorType(ir.IntType(bits), EIGHT)


def _load(builder: Any, address: Any) -> Any:
    """Return the eight from an address on, which need not be a multiple of their size."""
    return builder.load(builder.inttoptr(address, _eight().as_pointer()), align=8)


def _alike(builder: Any, number: Any) -> Any:
    """Return eight times the same number."""
    from llvmlite import ir

    nothing = ir.Constant(_eight(), ir.Undefined)
    first = builder.insert_element(nothing, number, ir.IntType(32)(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(_eight(32), [0] * EIGHT))


eight_type = EightType()


def counter_of(count: int) -> Any:
    """Return a compiled function ``above(address, number)``.

    It tells how many of the first `count` int64 from an address on are above a number; eight are read.
    """

    @machine_code
    def above(_typing: Any, address: Any, number: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            from llvmlite import ir

            bits = ir.IntType(EIGHT)
            above = builder.icmp_signed(">", _load(builder, arguments[0]), _alike(builder, arguments[1]))
            counted = builder.and_(builder.bitcast(above, bits), bits((1 << count) - 1))
            return context.cast(builder, builder.ctpop(counted), types.uint8, types.int64)

        return types.int64(address, number), generate

    return above


@machine_code
def eight_at(_typing: Any, address: Any) -> Any:
    """Return the eight from an address on; all of them are read."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _load(builder, arguments[0])

    return eight_type(address), generate


@machine_code
def eight_alike(_typing: Any, number: Any) -> Any:
    """Return eight times the same number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _alike(builder, context.cast(builder, arguments[0], signature.args[0], types.int64))

    return eight_type(number), generate


@machine_code
def eight_sum(_typing: Any, one: Any, other: Any) -> Any:
    """Return the sums of two eights, place by place."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.add(*arguments)

    return eight_type(one, other), generate


@machine_code
def eight_with(_typing: Any, eight: Any, keys: Any, key: Any, number: Any) -> Any:
    """Return an eight with a number in the places where `keys` are `key`."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        others, places, key, number = arguments
        there = builder.icmp_signed("==", places, _alike(builder, key))
        return builder.select(there, _alike(builder, number), others)

    return eight_type(eight, keys, types.int64, types.int64), generate


def least_of_eight(number_bits: int, above_limit: int) -> Any:
    """Return a compiled function ``least(values, ranks, limit, first, count)``.

    Each of the first `count` values is shifted by `number_bits`, and its place, counted from `first` on, is added. What
    is above the limit then has all bits of `above_limit` for its rank. The function returns the least of rank and
    result added.
    """

    @machine_code
    def least(_typing: Any, values: Any, ranks: Any, limit: Any, first: Any, count: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            from llvmlite import ir

            values, ranks, limit, first, count = arguments
            several, word = _eight(), ir.IntType(64)
            places = ir.Constant(several, list(range(EIGHT)))

            def each(number: int) -> Any:
                return ir.Constant(several, [number] * EIGHT)

            shifted = builder.shl(values, each(number_bits))
            numbered = builder.add(shifted, builder.add(places, _alike(builder, first)))
            late = builder.icmp_signed(">", numbered, _alike(builder, limit))
            added = builder.add(builder.select(late, each(above_limit), ranks), numbered)
            is_one = builder.icmp_signed("<", places, _alike(builder, count))
            candidates = builder.select(is_one, added, each((1 << 63) - 1))
            of_all = ir.FunctionType(word, [several])
            reduce = cgutils.get_or_insert_function(builder.module, of_all, f"llvm.vector.reduce.smin.v{EIGHT}i64")
            return builder.call(reduce, [candidates])

        return types.int64(eight_type, eight_type, types.int64, types.int64, types.int64), generate

    return least
