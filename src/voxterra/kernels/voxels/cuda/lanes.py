"""What CUDA kernels share: 16-byte loads and stores, and sums over a warp.

Numba has no vector types of torch's arrays; one load of 16 bytes instead of four of 4 is worth
having where all lanes of a warp read a record.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from voxterra.kernels.cuda.launch import import_numba_cuda

cuda = import_numba_cuda()
from numba.cuda import types  # noqa: E402
from numba.cuda.extending import intrinsic  # noqa: E402

FULL = np.uint32(0xFFFFFFFF)
"""All lanes of a warp."""
U0, U1 = np.uint32(0), np.uint32(1)
_I64, _I32, _F32 = ir.IntType(64), ir.IntType(32), ir.FloatType()


def _address(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """Address (int64) of array[index], for the first two arguments of an intrinsic."""
    array_type, index_type = sig.args[:2]
    data = context.make_array(array_type)(context, builder, value=args[0]).data
    index = args[1]
    if index_type.bitwidth < 64:
        extend = builder.sext if index_type.signed else builder.zext
        index = extend(index, _I64)
    size = ir.Constant(_I64, array_type.dtype.bitwidth // 8)
    return builder.add(builder.ptrtoint(data, _I64), builder.mul(index, size))


@intrinsic
def load4(typingctx, array, index):
    """4 float32 from array[index : index + 4], index a multiple of 4, constant data."""
    sig = types.UniTuple(types.float32, 4)(array, index)

    def codegen(context, builder, sig, args):
        kind = ir.FunctionType(ir.LiteralStructType([_F32] * 4), [_I64])
        asm = ir.InlineAsm(kind, "ld.global.nc.v4.f32 {$0, $1, $2, $3}, [$4];", "=f,=f,=f,=f,l")
        out = builder.call(asm, [_address(context, builder, sig, args)])
        items = [builder.extract_value(out, i) for i in range(4)]
        return context.make_tuple(builder, sig.return_type, items)

    return sig, codegen


@intrinsic
def load_words(typingctx, array, index):
    """8 bytes as 2 int32 from an int16 array, index a multiple of 4, constant data."""
    sig = types.UniTuple(types.int32, 2)(array, index)

    def codegen(context, builder, sig, args):
        kind = ir.FunctionType(ir.LiteralStructType([_I32] * 2), [_I64])
        asm = ir.InlineAsm(kind, "ld.global.nc.v2.s32 {$0, $1}, [$2];", "=r,=r,l")
        out = builder.call(asm, [_address(context, builder, sig, args)])
        items = [builder.extract_value(out, i) for i in range(2)]
        return context.make_tuple(builder, sig.return_type, items)

    return sig, codegen


@intrinsic
def load4_int(typingctx, array, index):
    """4 int32 from array[index : index + 4], index a multiple of 4, constant data."""
    sig = types.UniTuple(types.int32, 4)(array, index)

    def codegen(context, builder, sig, args):
        kind = ir.FunctionType(ir.LiteralStructType([_I32] * 4), [_I64])
        asm = ir.InlineAsm(kind, "ld.global.nc.v4.s32 {$0, $1, $2, $3}, [$4];", "=r,=r,=r,=r,l")
        out = builder.call(asm, [_address(context, builder, sig, args)])
        items = [builder.extract_value(out, i) for i in range(4)]
        return context.make_tuple(builder, sig.return_type, items)

    return sig, codegen


@intrinsic
def store_words(typingctx, array, index, a, b):
    """8 bytes of an int16 array at `index`, a multiple of 4, from 2 int32."""
    sig = types.void(array, index, types.int32, types.int32)

    def codegen(context, builder, sig, args):
        kind = ir.FunctionType(ir.VoidType(), [_I64, _I32, _I32])
        code = "st.global.v2.s32 [$0], {$1, $2};"
        asm = ir.InlineAsm(kind, code, "l,r,r,~{memory}", side_effect=True)
        builder.call(asm, [_address(context, builder, sig, args), *args[2:]])
        return context.get_dummy_value()

    return sig, codegen


@intrinsic
def store4(typingctx, array, index, a, b, c, d):
    """array[index : index + 4] = a, b, c, d (float32), index a multiple of 4."""
    sig = types.void(array, index, *([types.float32] * 4))

    def codegen(context, builder, sig, args):
        kind = ir.FunctionType(ir.VoidType(), [_I64, _F32, _F32, _F32, _F32])
        code = "st.global.v4.f32 [$0], {$1, $2, $3, $4};"
        asm = ir.InlineAsm(kind, code, "l,f,f,f,f,~{memory}", side_effect=True)
        builder.call(asm, [_address(context, builder, sig, args), *args[2:]])
        return context.get_dummy_value()

    return sig, codegen


@intrinsic
def shared_address(typingctx, array):
    """Address (uint32) of an array in shared memory, for `load4_shared` and `store4_shared`."""
    sig = types.uint32(array)

    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, value=args[0]).data
        code = "{ .reg .u64 a; cvta.to.shared.u64 a, $1; cvt.u32.u64 $0, a; }"
        asm = ir.InlineAsm(ir.FunctionType(_I32, [_I64]), code, "=r,l")
        return builder.call(asm, [builder.ptrtoint(data, _I64)])

    return sig, codegen


@intrinsic
def load4_shared(typingctx, address):
    """4 float32 from an address in shared memory, a multiple of 16."""
    sig = types.UniTuple(types.float32, 4)(types.uint32)

    def codegen(context, builder, sig, args):
        kind = ir.FunctionType(ir.LiteralStructType([_F32] * 4), [_I32])
        code = "ld.shared.v4.f32 {$0, $1, $2, $3}, [$4];"
        asm = ir.InlineAsm(kind, code, "=f,=f,=f,=f,r,~{memory}", side_effect=True)
        out = builder.call(asm, args)
        items = [builder.extract_value(out, i) for i in range(4)]
        return context.make_tuple(builder, sig.return_type, items)

    return sig, codegen


@intrinsic
def store4_shared(typingctx, address, a, b, c, d):
    """Write 4 float32 to an address in shared memory, a multiple of 16."""
    sig = types.void(types.uint32, *([types.float32] * 4))

    def codegen(context, builder, sig, args):
        kind = ir.FunctionType(ir.VoidType(), [_I32, _F32, _F32, _F32, _F32])
        code = "st.shared.v4.f32 [$0], {$1, $2, $3, $4};"
        builder.call(ir.InlineAsm(kind, code, "r,f,f,f,f,~{memory}", side_effect=True), args)
        return context.get_dummy_value()

    return sig, codegen


def _operator(code: str, count: int) -> Any:
    """Code generator of one instruction on `count` float32."""

    def codegen(context, builder, sig, args):
        kind = ir.FunctionType(_F32, [_F32] * count)
        return builder.call(ir.InlineAsm(kind, code, ",".join(["=f"] + ["f"] * count)), args)

    return codegen


@intrinsic
def multiply_add_unit(typingctx, a, b, c):
    """a * b + c, clamped to [0, 1]: one instruction."""
    sig = types.float32(types.float32, types.float32, types.float32)
    return sig, _operator("fma.rn.ftz.sat.f32 $0, $1, $2, $3;", 3)


@intrinsic
def exp2(typingctx, x):
    """2**x to 2 ulp; 0 and infinity beyond the range."""
    return types.float32(types.float32), _operator("ex2.approx.ftz.f32 $0, $1;", 1)


@intrinsic
def reciprocal(typingctx, x):
    """1 / x to 1 ulp; 0 for infinity."""
    return types.float32(types.float32), _operator("rcp.approx.ftz.f32 $0, $1;", 1)


@cuda.jit(device=True)
def low16(word):
    """The lower 16 bits of an int32, with their sign."""
    return np.int32(np.int32(word << np.int32(16)) >> np.int32(16))


@cuda.jit(device=True)
def high16(word):
    """The upper 16 bits of an int32, with their sign."""
    return np.int32(word >> np.int32(16))


@cuda.jit(device=True)
def _pair(upper, low, high, step):
    """One step of `scatter_sum`: keep one value, give the other to the partner lane."""
    kept = high if upper else low
    given = low if upper else high
    return kept + cuda.shfl_xor_sync(FULL, given, step)


@cuda.jit(device=True, inline=True)
def scatter_sum(lane, a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q):
    """Sums over the warp of 16 values: lanes 2k and 2k + 1 get the sum of value k.

    16 shuffles, where a sum of each value by itself takes 80.
    """
    up = (lane & 16) != 0
    a, b, c, d = _pair(up, a, i, 16), _pair(up, b, j, 16), _pair(up, c, k, 16), _pair(up, d, m, 16)
    e, f, g, h = _pair(up, e, n, 16), _pair(up, f, o, 16), _pair(up, g, p, 16), _pair(up, h, q, 16)
    up = (lane & 8) != 0
    a, b, c, d = _pair(up, a, e, 8), _pair(up, b, f, 8), _pair(up, c, g, 8), _pair(up, d, h, 8)
    up = (lane & 4) != 0
    a, b = _pair(up, a, c, 4), _pair(up, b, d, 4)
    a = _pair((lane & 2) != 0, a, b, 2)
    return a + cuda.shfl_xor_sync(FULL, a, 1)


@cuda.jit(device=True)
def warp_max(value):
    """Largest value (any number) of the warp, in all its lanes."""
    for step in (16, 8, 4, 2, 1):
        value = max(value, cuda.shfl_xor_sync(FULL, value, step))
    return value
