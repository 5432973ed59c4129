"""Sums over rows of a few channels that stay in vector registers.

The compiler turns a loop over eight channels into eight scalar instructions, or into a load and a
store for each neighbour. Here the vectors are written out in its intermediate language. Rows lie
one after the other in a flat array, and are as wide as a multiple of `LANES`.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["LANES", "add", "dot", "gather"]

LANES = 4
_BLOCKS = (32, 8, LANES)  # channels at a time, as many as are left
_LOOSE = ("contract",)  # a product and a sum may be one instruction

_Any: TypeAlias = Any  # types and values of the compiler, which has no annotations


@intrinsic
def gather(
    _: _Any, out: _Any, row: _Any, x: _Any, width: _Any, col: _Any, weight: _Any, first: _Any,
    last: _Any,
) -> tuple[_Any, Callable[..., _Any]]:  # fmt: skip
    """Set a row of `out` to the sum of `weight[e] * x[col[e]]`, for e from `first` to `last`."""

    def emit(context: _Any, builder: _Any, sig: _Any, args: _Any) -> _Any:
        into, source, columns, weights = (
            _data(context, builder, sig, args, i) for i in (0, 2, 4, 5)
        )
        start, wide = builder.mul(args[1], args[3]), args[3]

        def block(offset: _Any, lanes: int) -> None:
            total = cgutils.alloca_once(builder, _vector(source, lanes))
            builder.store(_zeros(source, lanes), total)
            step = ir.Constant(wide.type, 1)
            with cgutils.for_range_slice(builder, args[6], args[7], step) as (e, _):
                node = builder.zext(builder.load(builder.gep(columns, [e])), wide.type)
                value = _load(builder, source, builder.add(builder.mul(node, wide), offset), lanes)
                factor = _spread(builder, builder.load(builder.gep(weights, [e])), lanes)
                builder.store(_fused(builder, builder.load(total), factor, value), total)
            _store(builder, builder.load(total), into, builder.add(start, offset))

        _by_blocks(builder, wide, block)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(out, whole, x, whole, col, weight, whole, whole), emit


@intrinsic
def add(
    _: _Any, out: _Any, row: _Any, factor: _Any, x: _Any, other: _Any, width: _Any
) -> tuple[_Any, Callable[..., _Any]]:
    """Add `factor` times row `other` of `x` to a row of `out`."""

    def emit(context: _Any, builder: _Any, sig: _Any, args: _Any) -> _Any:
        into, source = (_data(context, builder, sig, args, i) for i in (0, 3))
        start, begin = (builder.mul(args[i], args[5]) for i in (1, 4))

        def block(offset: _Any, lanes: int) -> None:
            here = builder.add(start, offset)
            value = _load(builder, source, builder.add(begin, offset), lanes)
            sums = _load(builder, into, here, lanes)
            times = _spread(builder, args[2], lanes)
            _store(builder, _fused(builder, sums, times, value), into, here)

        _by_blocks(builder, args[5], block)
        return context.get_dummy_value()

    return types.void(out, types.intp, factor, x, types.intp, types.intp), emit


@intrinsic
def dot(
    _: _Any, x: _Any, row: _Any, y: _Any, other: _Any, width: _Any
) -> tuple[_Any, Callable[..., _Any]]:
    """Inner product of a row of `x` and row `other` of `y`."""

    def emit(context: _Any, builder: _Any, sig: _Any, args: _Any) -> _Any:
        left, right = (_data(context, builder, sig, args, i) for i in (0, 2))
        start, begin = (builder.mul(args[i], args[4]) for i in (1, 3))
        total = cgutils.alloca_once_value(builder, ir.Constant(left.type.pointee, 0.0))

        def block(offset: _Any, lanes: int) -> None:
            value = builder.fmul(
                _load(builder, left, builder.add(start, offset), lanes),
                _load(builder, right, builder.add(begin, offset), lanes),
            )
            while lanes > 1:  # halves on halves
                lanes //= 2
                low, high = (
                    builder.shuffle_vector(value, value, _places(range(k, k + lanes)))
                    for k in (0, lanes)
                )
                value = builder.fadd(low, high)
            one = builder.extract_element(value, ir.Constant(ir.IntType(32), 0))
            builder.store(builder.fadd(builder.load(total), one), total)

        _by_blocks(builder, args[4], block)
        return builder.load(total)

    return x.dtype(x, types.intp, y, types.intp, types.intp), emit


def _data(context: _Any, builder: _Any, sig: _Any, args: _Any, index: int) -> _Any:
    """Where the values of an array begin."""
    return context.make_array(sig.args[index])(context, builder, args[index]).data


def _vector(data: _Any, lanes: int) -> _Any:
    return ir.VectorType(data.type.pointee, lanes)


def _zeros(data: _Any, lanes: int) -> _Any:
    return ir.Constant(_vector(data, lanes), None)


def _places(numbers: range) -> _Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), list(numbers))


def _load(builder: _Any, data: _Any, at: _Any, lanes: int) -> _Any:
    place = builder.bitcast(builder.gep(data, [at]), _vector(data, lanes).as_pointer())
    return builder.load(place, align=4)


def _store(builder: _Any, value: _Any, data: _Any, at: _Any) -> None:
    place = builder.bitcast(builder.gep(data, [at]), value.type.as_pointer())
    builder.store(value, place, align=4)


def _spread(builder: _Any, value: _Any, lanes: int) -> _Any:
    """The same value in every lane."""
    empty = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
    return builder.shuffle_vector(first, empty, zeros)


def _fused(builder: _Any, total: _Any, left: _Any, right: _Any) -> _Any:
    return builder.fadd(total, builder.fmul(left, right, flags=_LOOSE), flags=_LOOSE)


def _by_blocks(builder: _Any, width: _Any, block: Callable[[_Any, int], None]) -> None:
    """Emit loops that cover the channels of a row by blocks, the widest ones first."""
    done = cgutils.alloca_once(builder, width.type)
    builder.store(ir.Constant(width.type, 0), done)
    for lanes in _BLOCKS:
        loop, body, after = (builder.append_basic_block() for _ in range(3))
        builder.branch(loop)
        builder.position_at_end(loop)
        end = builder.add(builder.load(done), ir.Constant(width.type, lanes))
        builder.cbranch(builder.icmp_signed("<=", end, width), body, after)
        builder.position_at_end(body)
        block(builder.load(done), lanes)
        builder.store(end, done)
        builder.branch(loop)
        builder.position_at_end(after)
