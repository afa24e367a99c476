"""Backward rasterizing on CUDA: each warp walks its part of the bucket's list from the end.

Only the voxels that the forward pass noted as having changed a pixel of the warp are visited. The
16 gradient values of a voxel are summed over the warp and added to the voxel's row, either by
atomic adds or, to repeat bit for bit, into rows of their own that are summed in fixed order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from voxterra.kernels.cuda.launch import Kernel
from voxterra.kernels.voxels import math as vm
from voxterra.kernels.voxels.cuda.lanes import (
    FULL,
    U1,
    cuda,
    load4,
    load4_shared,
    reciprocal,
    scatter_sum,
    shared_address,
    warp_max,
)
from voxterra.kernels.voxels.cuda.ray import (
    ROW,
    STAGE,
    chunk_of,
    crossing,
    direction,
    sigmoid,
    stage,
    through,
    unit_point,
    warp_corner,
)

SIGNATURE = (
    "f32[] i32[] i32[] i32[] f32[] f32[] i32[] "  # record entry start tile camera pixels last
    "i32[] i32[] f32[] f32[] i32 i32 i32"  # touched row grad_pixels out tiles_x width height
)
THREADS = 256
"""Threads of a block of the two smaller kernels."""
F0, F1, F2, HALF = np.float32(0.0), np.float32(1.0), np.float32(2.0), np.float32(0.5)
EPS = vm.OPACITY_EPS
GRADIENT = np.uint64(vm.GRADIENT)
W4, W8, W12 = (np.uint64(k) for k in (4, 8, 12))


@cache
def kernel(features: int, rows: bool, warps: int = 8, blocks: int = 2, samples: int = 1) -> Kernel:
    """The kernel for images with `features` (bits F_*) and depths from `samples` parts of a
    segment; `rows`: write rows instead of adding."""
    made = _make(features, int(rows), warps, samples)
    return Kernel(made, SIGNATURE, launch_bounds=(32 * warps, blocks))


@cuda.jit(device=True)
def split(g, x, y, z):
    """Gradients of the 8 corners from the gradient of the trilinear value at (x, y, z)."""
    b = g * x
    a = g - b
    ab, bb = a * y, b * y
    aa, ba = a - ab, b - bb
    c1, c3, c5, c7 = aa * z, ab * z, ba * z, bb * z
    return aa - c1, c1, ab - c3, c3, ba - c5, c5, bb - c7, c7


@cuda.jit(device=True)
def split_both(g, x, y, z, h, u, v, w):
    """Sum of `split` of two places."""
    d0, d1, d2, d3, d4, d5, d6, d7 = split(g, x, y, z)
    e0, e1, e2, e3, e4, e5, e6, e7 = split(h, u, v, w)
    return d0 + e0, d1 + e1, d2 + e2, d3 + e3, d4 + e4, d5 + e5, d6 + e6, d7 + e7


@cuda.jit(device=True)
def cut_gradients(samples, slope, s, f_in, f_out, phi_in, phi_out, t0, part, a, d, c):
    """`ray.depth_offset`, and the gradients by the distances it is made of.

    Whether a share is clamped is asked of the distances: where a segment stops little light, the
    rounding of Phi is as large as its fall.

    Args:
        slope: gradient by the depth, times `part` / (phi_in - phi_out).
        f_in, f_out: distances where the ray enters and leaves.

    Returns:
        The offset; gradients by s f where the ray enters and leaves; by the sharpness as far as the
        cuts go; by the 8 corners as far as the cuts go.
    """
    total, t, drop = F0, t0, reciprocal(phi_in - phi_out)
    of_in, of_out, d_s = F0, F0, F0
    d0, d1, d2, d3, d4, d5, d6, d7 = F0, F0, F0, F0, F0, F0, F0, F0
    for _ in range(1, samples):
        t += part
        x, y, z = unit_point(t, a[0], a[1], a[2], d[0], d[1], d[2])
        f = vm.trilinear(c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], x, y, z)
        phi = sigmoid(s, f)
        share = vm.share_left(phi, phi_out, drop)
        total += share - HALF
        if f < f_in and f > f_out:
            of_in -= share
            of_out -= F1 - share
            g = slope * phi * (F1 - phi)
            d_s += g * f
            e0, e1, e2, e3, e4, e5, e6, e7 = split(g * s, x, y, z)
            d0, d1, d2, d3 = d0 + e0, d1 + e1, d2 + e2, d3 + e3
            d4, d5, d6, d7 = d4 + e4, d5 + e5, d6 + e6, d7 + e7
    of_in = slope * of_in * phi_in * (F1 - phi_in)
    of_out = slope * of_out * phi_out * (F1 - phi_out)
    return part * total, of_in, of_out, d_s, (d0, d1, d2, d3, d4, d5, d6, d7)


def _make(features: int, rows: int, warps: int, samples: int) -> Callable[..., None]:
    SAMPLES, PARTS, SHARE = samples, int(samples > 1), np.float32(1.0 / samples)
    RISE = features & vm.F_RISE
    NORMAL, MEDIAN = features & vm.F_NORMAL, features & vm.F_MEDIAN
    RGB2, DISTORTION = features & vm.F_RGB2, features & vm.F_DISTORTION
    WARPS, STAGED = warps, warps * STAGE
    CENTER, NEAR = np.uint32(vm.C_CENTER), np.uint32(vm.C_NEAR)
    P_T, P_DEPTH = np.uint64(vm.P_T), np.uint64(vm.P_DEPTH)

    def backward(
        record, entry, bucket_start, bucket_tile, camera, pixels, last,
        touched, row_start, grad_pixels, out, tiles_x, width, height,
    ):  # fmt: skip
        lane = np.int32(cuda.threadIdx.x & 31)
        job = np.int32(cuda.blockIdx.x * WARPS + (cuda.threadIdx.x >> 5))
        bucket, warp = np.uint32(job >> np.int32(3)), np.int32(job & np.int32(7))
        start = bucket_start[bucket]
        end = bucket_start[np.uint32(bucket + U1)]
        corner_x, corner_y = warp_corner(bucket_tile[bucket], tiles_x, warp)
        x = np.int32(corner_x + (lane & np.int32(7)))
        y = np.int32(corner_y + (lane >> np.int32(3)))
        final = np.int32(-1)
        light, opacity, depth = F1, F0, F0
        gr, gg, gb, behind = F0, F0, F0, F0
        g_depth, g_median, gnx, gny = F0, F0, F0, F0
        gnz, g_rgb2, g_dist, g_rise = F0, F0, F0, F0
        if x < width and y < height:
            pixel = np.uint64(np.uint32(y * width + x))
            mine = last[pixel]
            if mine >= start and mine < end:  # else another octant's, or nothing was met
                final = mine
                pixel = pixel * W12
                light, depth = pixels[pixel + P_T], pixels[pixel + P_DEPTH]
                opacity = F1 - light
                gr, gg, gb, behind = load4(grad_pixels, pixel)
                g_depth, g_median, gnx, gny = load4(grad_pixels, pixel + W4)
                gnz, g_rgb2, g_dist, g_rise = load4(grad_pixels, pixel + W8)
                if light > HALF:
                    g_rise = F0
        top = warp_max(final)
        if top < start:
            return
        total_depth = depth
        dx, dy, dz = direction(camera, x, y)
        ix, iy, iz = (
            vm.inverse_direction(dx), vm.inverse_direction(dy), vm.inverse_direction(dz),
        )  # fmt: skip
        ox, oy, oz = (
            camera[CENTER], camera[np.uint32(CENTER + U1)], camera[np.uint32(CENTER + U1 + U1)],
        )  # fmt: skip
        near = camera[NEAR]
        back = np.int32((top - start) >> np.int32(5))
        first = np.int32(chunk_of(start, np.int32(bucket)))
        staging = cuda.shared.array(STAGED, np.float32, alignment=16)
        staged = np.uint32(
            shared_address(staging)
            + np.uint32(np.uint32(cuda.threadIdx.x >> 5) * np.uint32(32 * ROW))
        )
        while back >= 0:
            base = np.int32(start + (back << np.int32(5)))
            word = np.uint64(np.uint32(first + back)) * W8 + np.uint64(np.uint32(warp))
            todo = np.uint32(touched[word])
            back = np.int32(back - np.int32(1))
            if todo == 0:
                continue
            voxel = np.int32(0)
            if np.int32(base + lane) < end:
                voxel = entry[np.uint32(base + lane)]
            row = np.uint64(0)
            if rows:
                row = np.uint64(np.uint32(row_start[word]))
            cuda.syncwarp()
            stage(record, voxel, todo, lane, staged)
            at = np.uint32(staged + np.uint32(np.uint32(cuda.popc(todo)) * ROW))
            while todo != 0:
                k = np.int32(31) - np.int32(cuda.clz(todo))
                todo = np.uint32(todo ^ np.uint32(U1 << np.uint32(k)))
                v = np.uint64(np.uint32(cuda.shfl_sync(FULL, voxel, k)))
                at = np.uint32(at - ROW)
                lx, ly, lz, size = load4_shared(at)
                c0, c1, c2, c3 = load4_shared(np.uint32(at + np.uint32(16)))
                c4, c5, c6, c7 = load4_shared(np.uint32(at + np.uint32(32)))
                vr, vg, vb, vnx = load4_shared(np.uint32(at + np.uint32(48)))
                vny, vnz, vr2, s = load4_shared(np.uint32(at + np.uint32(64)))
                ax, ay, az = ox - lx, oy - ly, oz - lz
                t0, t1 = crossing(ax, ay, az, size, ix, iy, iz, near)
                d0, d1, d2, d3, d4, d5, d6, d7 = F0, F0, F0, F0, F0, F0, F0, F0
                dr, dg, db, dnx, dny, dnz, priority, d_s = F0, F0, F0, F0, F0, F0, F0, F0
                if np.int32(base + k) <= final and t1 > t0:
                    inv = reciprocal(size)
                    ax, ay, az = ax * inv, ay * inv, az * inv
                    ux, uy, uz = dx * inv, dy * inv, dz * inv
                    x0, y0, z0 = unit_point(t0, ax, ay, az, ux, uy, uz)
                    x1, y1, z1 = unit_point(t1, ax, ay, az, ux, uy, uz)
                    f_in = vm.trilinear(c0, c1, c2, c3, c4, c5, c6, c7, x0, y0, z0)
                    f_out = vm.trilinear(c0, c1, c2, c3, c4, c5, c6, c7, x1, y1, z1)
                    phi_in, phi_out = sigmoid(s, f_in), sigmoid(s, f_out)
                    m = through(phi_in, phi_out)
                    alpha = F1 - m
                    if alpha >= vm.ALPHA_MIN:
                        after = light
                        light = light * reciprocal(m)
                        w = light * alpha
                        t = HALF * (t0 + t1)
                        if PARTS:
                            part, of_depth = SHARE * (t1 - t0), g_depth
                            if DISTORTION:
                                of_depth += g_dist * F2 * (F2 * (F1 - light) - opacity + w)
                            slope = light * of_depth * part * reciprocal(phi_in + EPS)
                            shift, of_in, of_out, of_s, e = cut_gradients(
                                SAMPLES, slope, s, f_in, f_out, phi_in, phi_out, t0, part,
                                (ax, ay, az), (ux, uy, uz), (c0, c1, c2, c3, c4, c5, c6, c7),
                            )  # fmt: skip
                            t += shift
                        gain = gr * vr + gg * vg + gb * vb + g_depth * t
                        if NORMAL:
                            gain += gnx * vnx + gny * vny + gnz * vnz
                            dnx, dny, dnz = w * gnx, w * gny, w * gnz
                        if RGB2:
                            gain += g_rgb2 * vr2
                        if DISTORTION:
                            depth -= w * t  # that of the entries in front
                            front = F1 - light
                            far = (total_depth - depth - w * t) - t * (opacity - front - w)
                            gain += g_dist * F2 * (t * front - depth + far)
                        d_alpha = light * (gain - behind)
                        behind = alpha * gain + m * behind
                        priority = abs(alpha * d_alpha)
                        if RGB2:
                            dr = w * (gr + F2 * g_rgb2 * vr)
                            dg = w * (gg + F2 * g_rgb2 * vg)
                            db = w * (gb + F2 * g_rgb2 * vb)
                        else:
                            dr, dg, db = w * gr, w * gg, w * gb
                        d_m = d_alpha * reciprocal(phi_in + EPS)
                        d_out = -d_m * phi_out * (F1 - phi_out)
                        d_in = d_m * m * phi_in * (F1 - phi_in)
                        if PARTS:
                            d_in, d_out, d_s = d_in + of_in, d_out + of_out, of_s
                            d_s += d_in * f_in + d_out * f_out
                        else:
                            d_s = d_in * f_in + d_out * f_out
                        d_in, d_out = d_in * s, d_out * s
                        if MEDIAN and light > HALF and after <= HALF:
                            u = vm.median_fraction(phi_in, f_in, f_out, light, s)
                            slope = g_median * (t1 - t0) / (f_in - f_out)
                            d_in += slope * (F1 - u)
                            d_out += slope * u
                        d0, d1, d2, d3, d4, d5, d6, d7 = split_both(
                            d_in, x0, y0, z0, d_out, x1, y1, z1
                        )
                        if PARTS:
                            d0, d1, d2, d3 = d0 + e[0], d1 + e[1], d2 + e[2], d3 + e[3]
                            d4, d5, d6, d7 = d4 + e[4], d5 + e[5], d6 + e[6], d7 + e[7]
                    elif RISE and light > HALF and f_out > f_in:
                        d_out = g_rise * inv
                        d0, d1, d2, d3, d4, d5, d6, d7 = split_both(
                            -d_out, x0, y0, z0, d_out, x1, y1, z1
                        )
                total = scatter_sum(
                    lane, d0, d1, d2, d3, d4, d5, d6, d7,
                    dr, dg, db, dnx, dny, dnz, priority, d_s,
                )  # fmt: skip
                if (lane & np.int32(1)) == 0:
                    value = np.uint64(np.uint32(lane >> np.int32(1)))
                    if rows:
                        out[(row + np.uint64(cuda.popc(todo))) * GRADIENT + value] = total
                    else:
                        cuda.atomic.add(out, v * GRADIENT + value, total)

    return backward


def _popcount(touched, counts, count):
    """counts: voxels noted in each word, the rows that the word's warp will write."""
    i = np.int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i < count:
        counts[np.uint32(i)] = np.int32(cuda.popc(np.uint32(touched[np.uint32(i)])))


def _sum_rows(
    rows, row_start, touched, rank_order, ends, place, key, bucket_start, octant, job, count, out
):
    """Add to out [N, 16] the rows of every voxel's entries in one octant, in fixed order.

    16 threads a voxel. `ends`: running sum of the entries by (octant, rank), of which `job` is the
    octant's row; `place`: sorted position of each entry as emitted; `key`: bucket by position.
    """
    thread = np.int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    rank, value = np.int32(thread >> np.int32(4)), np.uint64(np.uint32(thread & np.int32(15)))
    if rank >= count:
        return
    here = np.int32(job * count + rank)
    e = np.int32(0)
    if here > 0:
        e = ends[np.uint32(here - np.int32(1))]
    end = ends[np.uint32(here)]
    if e == end:
        return
    total = F0
    while e < end:
        position = place[np.uint32(e)]
        bucket = np.int32(key[np.uint32(position)])
        start = bucket_start[np.uint32(bucket)]
        offset = np.int32(position - start)
        chunk = np.int32(chunk_of(start, bucket) + (offset >> np.int32(5)))
        bit = np.uint32(U1 << np.uint32(offset & np.int32(31)))
        for warp in range(8):
            at = np.uint64(np.uint32(chunk)) * W8 + np.uint64(warp)
            word = np.uint32(touched[at])
            if np.uint32(word & bit) != 0:
                below = np.uint64(cuda.popc(np.uint32(word & np.uint32(bit - U1))))
                row = np.uint64(np.uint32(row_start[at])) + below
                total += rows[row * GRADIENT + value]
        e = np.int32(e + np.int32(1))
    v = np.uint64(np.uint32(rank_order[np.uint32(octant * count + rank)]))
    out[v * GRADIENT + value] += total


popcount_kernel = Kernel(_popcount, "i32[] i32[] i32", launch_bounds=THREADS)


@cache
def sum_kernel(key: str) -> Kernel:
    """The kernel that sums rows per voxel, for keys of a type, `i16` or `i32`."""
    signature = f"f32[] i32[] i32[] i32[] i32[] i32[] {key}[] i32[] i32 i32 i32 f32[]"
    return Kernel(_sum_rows, signature, launch_bounds=THREADS)
