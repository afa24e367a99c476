"""Voxels to records and back to their parameters, on CUDA: one thread a voxel or a corner."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from voxterra.kernels.cuda.launch import Kernel
from voxterra.kernels.voxels import math as vm
from voxterra.kernels.voxels.cpu.prepare import image_rect
from voxterra.kernels.voxels.cuda.lanes import (
    U1,
    cuda,
    load4,
    load4_int,
    store4,
    store_words,
)
from voxterra.kernels.voxels.sh import BASIS0, basis1, basis2, basis3

THREADS = 128
F0, F1, HALF, TINY = np.float32(0.0), np.float32(1.0), np.float32(0.5), np.float32(1e-20)
W1, W2, W3, W4, W5, W8, W12, W16 = (np.uint64(k) for k in (1, 2, 3, 4, 5, 8, 12, 16))
RECORD, GRADIENT = np.uint64(vm.RECORD), np.uint64(vm.GRADIENT)
CENTER = vm.C_CENTER
SIGNATURE = (
    "f32[] i8[] i32[] f32[] f32[] f32[] f32[] "  # lo_size level corner_index sdf sh0 shs sharpness
    "f32[] f32[] i16[] i32 i32"  # camera record rect shs_rows count
)


@cuda.jit(device=True)
def _gradient(c0, c1, c2, c3, c4, c5, c6, c7):
    """Sums over the edges: 4 * size times the gradient at the centre."""
    gx = (c4 + c5 + c6 + c7) - (c0 + c1 + c2 + c3)
    gy = (c2 + c3 + c6 + c7) - (c0 + c1 + c4 + c5)
    gz = (c1 + c3 + c5 + c7) - (c0 + c2 + c4 + c6)
    return gx, gy, gz


@cuda.jit(device=True)
def _add(value, shs, k, r, g, b):
    """Colour (r, g, b) plus a basis function's value times its coefficients at shs[k]."""
    return r + value * shs[k], g + value * shs[k + W1], b + value * shs[k + W2]


@cache
def prepare_kernel(degree: int, cull: bool = True) -> Kernel:
    """The kernel of `ops.prepare` for a degree of spherical harmonics.

    Besides what lies outside the image, with `cull` voxels that cannot take light from any ray
    (seen from behind, or far in front of the surface) get an empty rect.
    """
    return Kernel(_make_prepare(degree, int(cull)), SIGNATURE, launch_bounds=THREADS)


def _make_prepare(degree: int, culls: int) -> Callable[..., None]:
    CULLS = culls

    def prepare(
        lo_size, level, corner_index, sdf, sh0, shs, sharpness, camera, record, rect, shs_rows,
        count,
    ):  # fmt: skip
        thread = np.int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
        if thread >= count:
            return
        v = np.uint64(np.uint32(thread))
        row = v * RECORD
        lx, ly, lz, size = load4(lo_size, v * W4)
        x0, y0, x1, y1 = image_rect(lx, ly, lz, size, camera)
        if x1 > x0:
            i0, i1, i2, i3 = load4_int(corner_index, v * W8)
            i4, i5, i6, i7 = load4_int(corner_index, v * W8 + W4)
            c0, c1, c2, c3 = (
                sdf[np.uint32(i0)], sdf[np.uint32(i1)], sdf[np.uint32(i2)], sdf[np.uint32(i3)],
            )  # fmt: skip
            c4, c5, c6, c7 = (
                sdf[np.uint32(i4)], sdf[np.uint32(i5)], sdf[np.uint32(i6)], sdf[np.uint32(i7)],
            )  # fmt: skip
            s = sharpness[np.uint32(level[v])]
            ax, ay, az = lx - camera[CENTER], ly - camera[CENTER + 1], lz - camera[CENTER + 2]
            if CULLS and vm.seen_from_behind(ax, ay, az, size, c0, c1, c2, c3, c4, c5, c6, c7):
                x1 = x0
            if CULLS and vm.transparent(s, c0, c1, c2, c3, c4, c5, c6, c7):
                x1 = x0
        if x1 <= x0:
            store_words(rect, v * W4, np.int32(0), np.int32(0))
            for k in range(5):
                store4(record, row + np.uint64(4 * k), F0, F0, F0, F0)
            return
        store_words(
            rect, v * W4, np.int32(np.int32(y0) << np.int32(16) | np.int32(x0)),
            np.int32(np.int32(y1) << np.int32(16) | np.int32(x1)),
        )  # fmt: skip
        half = HALF * size
        dx, dy, dz = ax + half, ay + half, az + half
        scale = F1 / math.sqrt(max(dx * dx + dy * dy + dz * dz, TINY))
        dx, dy, dz = dx * scale, dy * scale, dz * scale
        k = v * W3
        r = HALF + BASIS0 * sh0[k]
        g = HALF + BASIS0 * sh0[k + W1]
        b = HALF + BASIS0 * sh0[k + W2]
        k = v * np.uint64(np.uint32(shs_rows)) * W3
        if degree > 0:
            b0, b1, b2 = basis1(dx, dy, dz)
            r, g, b = _add(b0, shs, k, r, g, b)
            r, g, b = _add(b1, shs, k + np.uint64(3), r, g, b)
            r, g, b = _add(b2, shs, k + np.uint64(6), r, g, b)
        if degree > 1:
            b0, b1, b2, b3, b4 = basis2(dx, dy, dz)
            r, g, b = _add(b0, shs, k + np.uint64(9), r, g, b)
            r, g, b = _add(b1, shs, k + np.uint64(12), r, g, b)
            r, g, b = _add(b2, shs, k + np.uint64(15), r, g, b)
            r, g, b = _add(b3, shs, k + np.uint64(18), r, g, b)
            r, g, b = _add(b4, shs, k + np.uint64(21), r, g, b)
        if degree > 2:
            b0, b1, b2, b3, b4, b5, b6 = basis3(dx, dy, dz)
            r, g, b = _add(b0, shs, k + np.uint64(24), r, g, b)
            r, g, b = _add(b1, shs, k + np.uint64(27), r, g, b)
            r, g, b = _add(b2, shs, k + np.uint64(30), r, g, b)
            r, g, b = _add(b3, shs, k + np.uint64(33), r, g, b)
            r, g, b = _add(b4, shs, k + np.uint64(36), r, g, b)
            r, g, b = _add(b5, shs, k + np.uint64(39), r, g, b)
            r, g, b = _add(b6, shs, k + np.uint64(42), r, g, b)
        r, g, b = max(r, F0), max(g, F0), max(b, F0)
        gx, gy, gz = _gradient(c0, c1, c2, c3, c4, c5, c6, c7)
        square = gx * gx + gy * gy + gz * gz
        scale = F0
        if square > TINY:
            scale = F1 / math.sqrt(square)
        store4(record, row, lx, ly, lz, size)
        store4(record, row + W4, c0, c1, c2, c3)
        store4(record, row + W8, c4, c5, c6, c7)
        store4(record, row + W12, r, g, b, gx * scale)
        store4(record, row + W16, gy * scale, gz * scale, r * r + g * g + b * b, s)

    return prepare


def _chain(grad_record, record, by_corner, grad_rgb, count):
    """Thread per voxel: gradients of its corners [N, 8], the normal's included, and those of its
    colour, none where it was clamped."""
    thread = np.int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if thread >= count:
        return
    v = np.uint64(np.uint32(thread))
    at, row, corner = v * GRADIENT, v * RECORD, v * W8
    d0, d1, d2, d3 = load4(grad_record, at)
    d4, d5, d6, d7 = load4(grad_record, at + W4)
    gr, gg, gb, nx = load4(grad_record, at + W8)
    ny, nz, _, _ = load4(grad_record, at + W12)
    turned = nx != F0 or ny != F0 or nz != F0
    if turned or gr != F0 or gg != F0 or gb != F0:
        r, g, b, ux = load4(record, row + W12)
        gr = gr if r > F0 else F0
        gg = gg if g > F0 else F0
        gb = gb if b > F0 else F0
        if turned:
            c0, c1, c2, c3 = load4(record, row + W4)
            c4, c5, c6, c7 = load4(record, row + W8)
            uy, uz, _, _ = load4(record, row + W16)
            gx, gy, gz = _gradient(c0, c1, c2, c3, c4, c5, c6, c7)
            square = gx * gx + gy * gy + gz * gz
            if square > TINY:
                scale = F1 / math.sqrt(square)
                along = nx * ux + ny * uy + nz * uz
                gx = (nx - along * ux) * scale
                gy = (ny - along * uy) * scale
                gz = (nz - along * uz) * scale
                d0, d1, d2, d3 = (
                    d0 - gx - gy - gz, d1 - gx - gy + gz, d2 - gx + gy - gz, d3 - gx + gy + gz,
                )  # fmt: skip
                d4, d5, d6, d7 = (
                    d4 + gx - gy - gz, d5 + gx - gy + gz, d6 + gx + gy - gz, d7 + gx + gy + gz,
                )  # fmt: skip
    store4(by_corner, corner, d0, d1, d2, d3)
    store4(by_corner, corner + W4, d4, d5, d6, d7)
    at = v * W3
    grad_rgb[at] = gr
    grad_rgb[at + W1] = gg
    grad_rgb[at + W2] = gb


def _corners(by_corner, corner_start, corner_slot, grad_sdf, count):
    """Thread per corner: the sum over the voxels around it, in the order of the table."""
    thread = np.int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if thread >= count:
        return
    m = np.uint32(thread)
    total = F0
    j, end = np.uint32(corner_start[m]), np.uint32(corner_start[np.uint32(m + U1)])
    while j < end:
        total += by_corner[np.uint32(corner_slot[j])]
        j = np.uint32(j + U1)
    grad_sdf[m] = total


chain_kernel = Kernel(_chain, "f32[] f32[] f32[] f32[] i32", launch_bounds=THREADS)
corners_kernel = Kernel(_corners, "f32[] i32[] i32[] f32[] i32", launch_bounds=THREADS)
