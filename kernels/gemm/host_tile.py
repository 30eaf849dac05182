# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# ruff: noqa: ANN001, ANN002, ANN202
"""The innermost step of the host's GEMM: a tile of the result that stays in vector registers.

Compilers turn loops into vectors, but do not keep a block of accumulators in registers through a
loop over the depth. So this one loop is written for LLVM directly: at each depth a row of B is
loaded as vectors, each number of a column of A is spread over a vector, and all products are added
to accumulators. Everything around it is Numba (`host_product.py`). LLVM maps the vectors to what
the processor has.

References
----------
F. Van Zee and R. van de Geijn, BLIS: A Framework for Rapidly Instantiating BLAS Functionality,
2015.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

__all__ = ["TILE", "TileShape", "choose_tile", "multiply_tile", "stay_apart"]

INDEX = ir.IntType(64)
LANE = ir.IntType(32)


class TileShape(NamedTuple):
    """A tile of the result in registers."""

    n_rows: int
    """Rows. [1]"""
    n_vectors: int
    """Vectors that make up a row. [1]"""
    vector_bytes: int
    """Size of a vector register. [byte]"""


def choose_tile(features: set[str]) -> TileShape:
    """Tile for a processor with these features, in LLVM's names.

    Accumulators leave room for a row of B and one spread number of A: 28 of 32 registers, 12 of 16.
    """
    if "avx512f" in features:
        return TileShape(14, 2, 64)
    if "avx" in features:
        return TileShape(6, 2, 32)
    if "neon" in features:
        return TileShape(14, 2, 16)
    return TileShape(6, 2, 16)


def _features() -> set[str]:
    """What Numba compiles for: the processor's features, or those that its settings name."""
    named = config.CPU_FEATURES  # type: ignore[attr-defined, unused-ignore]
    if named is None:
        found = llvmlite.binding.get_host_cpu_features()
        return {name for name, is_there in found.items() if is_there}
    return {name.removeprefix("+") for name in named.split(",") if name.startswith("+")}


TILE = choose_tile(_features())


def _multiply_tile(_typing, a, b, out, places, depth, factors):  # noqa: PLR0917
    """Out = alpha a b + beta out for one tile; where beta is zero, out is not read.

    Parameters
    ----------
    a
        Flat array with a packed panel: at each depth the n_rows numbers of a column. Panels come
        out of packing padded with zeros.
    b
        Flat array with a packed panel: at each depth the numbers of a row.
    out
        Flat array that holds the tile.
    places
        First elements of the panel of a, of that of b and of the tile, and the elements from row to
        row of out. [1]
    depth
        Depth of the panels. [1]
    factors
        Alpha and beta, in the type of the arrays. [1]
    """
    return types.void(a, b, out, places, depth, factors), _call


def _call(context, builder, signature, arguments):
    """Call the tile as a function of its own: once in the code, however often it is used."""
    kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
    name = f"tweeling_gemm_tile_{signature.args[0].dtype}"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    if function.is_declaration:
        function.linkage = "linkonce_odr"
        function.attributes.add("noinline")
        inside = ir.IRBuilder(function.append_basic_block("entry"))
        _generate(context, inside, signature, function.args)
        inside.ret_void()
    builder.call(function, arguments)
    return context.get_dummy_value()


def _generate(context, builder, signature, arguments):
    depth = arguments[4]
    tile = _Tile(context, builder, signature.args, arguments)
    start = builder.block
    loop = builder.append_basic_block("depths")
    done = builder.append_basic_block("done")
    is_any = builder.icmp_signed(">", depth, INDEX(0))
    builder.cbranch(is_any, loop, done)

    builder.position_at_end(loop)
    at = _phi(builder, INDEX, (INDEX(0), start))
    sums = [_phi(builder, tile.vector, (tile.zero, start)) for _ in range(tile.n_sums)]
    more = tile.multiply_add(at, sums)
    following = builder.add(at, INDEX(1))
    end = builder.block
    for phi, value in zip((at, *sums), (following, *more), strict=True):
        phi.add_incoming(value, end)
    builder.cbranch(builder.icmp_signed("<", following, depth), loop, done)

    builder.position_at_end(done)
    tile.store([_phi(builder, tile.vector, (tile.zero, start), (m, end)) for m in more])


def _stay_apart(_typing):
    """Keep the function that calls this from being copied into its callers.

    Numba optimises a function again in every function above it, four times in a parallel kernel;
    large ones that are called seldom would only lengthen that.
    """
    return types.void(), _mark_caller


def _mark_caller(context, builder, _signature, _arguments):
    builder.function.attributes.add("noinline")
    return context.get_dummy_value()


def _phi(builder, kind, *incoming):
    phi = builder.phi(kind)
    for value, block in incoming:
        phi.add_incoming(value, block)
    return phi


class _Tile:
    """Emits what is done with vectors of one tile."""

    def __init__(self, context: Any, builder: Any, kinds: Any, arguments: Any) -> None:  # noqa: ANN401
        self.builder = builder
        self.number = context.get_value_type(kinds[0].dtype)
        self.itemsize_bytes = context.get_abi_sizeof(self.number)
        self.n_lanes = TILE.vector_bytes // self.itemsize_bytes
        self.n_sums = TILE.n_rows * TILE.n_vectors
        self.vector = ir.VectorType(self.number, self.n_lanes)
        self.zero = ir.Constant(self.vector, [self.number(0.0)] * self.n_lanes)
        *first, self.row_step = cgutils.unpack_tuple(builder, arguments[3])
        self.a, self.b, self.out = (
            builder.gep(context.make_array(kind)(context, builder, array).data, [place])
            for kind, array, place in zip(kinds[:3], arguments[:3], first, strict=True)
        )
        self.alpha, self.beta = cgutils.unpack_tuple(builder, arguments[5])

    def multiply_add(self, at, sums):
        """Sums and the products of one depth."""
        builder = self.builder
        width = TILE.n_vectors * self.n_lanes
        b_row = builder.gep(self.b, [builder.mul(at, INDEX(width))])
        a_column = builder.gep(self.a, [builder.mul(at, INDEX(TILE.n_rows))])
        row = [self._load(b_row, INDEX(v * self.n_lanes)) for v in range(TILE.n_vectors)]
        more = []
        for r in range(TILE.n_rows):
            spread = self._spread(builder.load(builder.gep(a_column, [INDEX(r)])))
            known = sums[r * TILE.n_vectors : (r + 1) * TILE.n_vectors]
            more += [self._fused(spread, b, c) for b, c in zip(row, known, strict=True)]
        return more

    def store(self, sums):
        """Write the scaled sums, or add them to the scaled result."""
        builder = self.builder
        alpha, beta = self._spread(self.alpha), self._spread(self.beta)
        scaled = [builder.fmul(alpha, value) for value in sums]
        places = [
            builder.add(builder.mul(self.row_step, INDEX(r)), INDEX(v * self.n_lanes))
            for r in range(TILE.n_rows)
            for v in range(TILE.n_vectors)
        ]
        is_fresh = builder.fcmp_ordered("==", self.beta, self.number(0.0))
        with builder.if_else(is_fresh) as (fresh, added):
            with fresh:
                for place, value in zip(places, scaled, strict=True):
                    self._store(value, place)
            with added:
                for place, value in zip(places, scaled, strict=True):
                    self._store(self._fused(beta, self._load(self.out, place), value), place)

    def _fused(self, x, y, z):
        """X y + z, in one instruction where the processor has one."""
        name = f"llvm.fmuladd.v{self.n_lanes}f{8 * self.itemsize_bytes}"
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        return self.builder.call(
            cgutils.get_or_insert_function(self.builder.module, kind, name), [x, y, z]
        )

    def _spread(self, number):
        nothing = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(nothing, number, LANE(0))
        lanes = ir.Constant(ir.VectorType(LANE, self.n_lanes), [0] * self.n_lanes)
        return self.builder.shuffle_vector(one, nothing, lanes)

    def _pointer(self, base, place):
        return self.builder.bitcast(self.builder.gep(base, [place]), self.vector.as_pointer())

    # Arrays of the caller lie on multiples of their element's size, not of a vector's.
    def _load(self, base, place):
        return self.builder.load(self._pointer(base, place), align=self.itemsize_bytes)

    def _store(self, value, place):
        self.builder.store(value, self._pointer(self.out, place), align=self.itemsize_bytes)


# To Numba's own types an intrinsic is called with its typing context as well.
multiply_tile: Any = intrinsic(_multiply_tile)
stay_apart: Any = intrinsic(_stay_apart)
