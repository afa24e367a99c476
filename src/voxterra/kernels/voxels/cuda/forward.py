"""Forward rasterizing on CUDA: one warp blends the voxels of its bucket over its 8x4 pixels.

A warp walks the bucket's list 32 entries at a time: each lane tests the pixel rect of one voxel,
and those that meet the warp's pixels are blended one after the other, all lanes reading the same
record. Which of the 32 changed any pixel is kept as one word for the backward pass.
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
    load4_shared,
    reciprocal,
    shared_address,
    store4,
    warp_max,
)
from voxterra.kernels.voxels.cuda.ray import (
    ROW,
    STAGE,
    chunk_of,
    crossing,
    depth_offset,
    direction,
    meets,
    rect_words,
    sigmoid,
    stage,
    through,
    unit_point,
    warp_corner,
)

SIGNATURE = (
    "f32[] i16[] i32[] i32[] i32[] i8[] f32[] "  # record rect entry start tile octant camera
    "f32[] i32[] i32[] f32[] i32 i32 i32"  # pixels last touched max_weight tiles_x width height
)
F0, F1, F2, HALF = np.float32(0.0), np.float32(1.0), np.float32(2.0), np.float32(0.5)
ALPHA_MIN, TRANSMITTANCE_MIN = vm.ALPHA_MIN, vm.TRANSMITTANCE_MIN
W4, W8, W12 = (np.uint64(k) for k in (4, 8, 12))


@cache
def kernel(
    features: int, max_weight: bool, warps: int = 8, blocks: int = 3, samples: int = 1
) -> Kernel:
    """The kernel that writes the `features` (bits F_*) and, if wanted, each voxel's weight, with a
    depth from `samples` parts of a segment."""
    made = _make(features, int(max_weight), warps, samples)
    return Kernel(made, SIGNATURE, launch_bounds=(32 * warps, blocks))


def _make(features: int, heaviest: int, warps: int, samples: int) -> Callable[..., None]:
    SAMPLES, PARTS, SHARE = samples, int(samples > 1), np.float32(1.0 / samples)
    RISE = features & vm.F_RISE
    NORMAL, MEDIAN = features & vm.F_NORMAL, features & vm.F_MEDIAN
    RGB2, DISTORTION = features & vm.F_RGB2, features & vm.F_DISTORTION
    WARPS, STAGED = warps, warps * STAGE
    CENTER, NEAR = np.uint32(vm.C_CENTER), np.uint32(vm.C_NEAR)

    def forward(
        record, rect, entry, bucket_start, bucket_tile, bucket_octant, camera,
        pixels, last, touched, max_weight, tiles_x, width, height,
    ):  # fmt: skip
        lane = np.int32(cuda.threadIdx.x & 31)
        job = np.int32(cuda.blockIdx.x * WARPS + (cuda.threadIdx.x >> 5))
        bucket, warp = np.uint32(job >> np.int32(3)), np.int32(job & np.int32(7))
        corner_x, corner_y = warp_corner(bucket_tile[bucket], tiles_x, warp)
        x = np.int32(corner_x + (lane & np.int32(7)))
        y = np.int32(corner_y + (lane >> np.int32(3)))
        dx, dy, dz = direction(camera, x, y)
        inside = x < width and y < height
        inside = inside and vm.octant_of(dx, dy, dz) == bucket_octant[bucket]
        ix, iy, iz = (
            vm.inverse_direction(dx), vm.inverse_direction(dy), vm.inverse_direction(dz),
        )  # fmt: skip
        ox, oy, oz = (
            camera[CENTER], camera[np.uint32(CENTER + U1)], camera[np.uint32(CENTER + U1 + U1)],
        )  # fmt: skip
        near = camera[NEAR]
        alive = inside
        final = np.int32(-1)
        light, depth, median = F1, F0, F0
        red, green, blue, rgb2 = F0, F0, F0, F0
        nx, ny, nz, distortion, rise = F0, F0, F0, F0, F0
        start = bucket_start[bucket]
        end = bucket_start[np.uint32(bucket + U1)]
        chunk = np.uint64(chunk_of(start, np.int32(bucket))) * W8 + np.uint64(warp)
        staging = cuda.shared.array(STAGED, np.float32, alignment=16)
        staged = np.uint32(
            shared_address(staging)
            + np.uint32(np.uint32(cuda.threadIdx.x >> 5) * np.uint32(32 * ROW))
        )
        base = start
        while base < end and cuda.any_sync(FULL, alive):
            index = np.int32(base + lane)
            voxel = np.int32(0)
            found = False
            if index < end:
                voxel = entry[np.uint32(index)]
                low, high = rect_words(rect, voxel)
                found = meets(low, high, corner_x, corner_y)
            todo = np.uint32(cuda.ballot_sync(FULL, found))
            stage(record, voxel, todo, lane, staged)
            at = staged
            kept = np.uint32(0)
            while todo != 0:
                bit = np.uint32(todo & np.uint32(-np.int32(todo)))
                k = np.int32(cuda.ffs(todo)) - np.int32(1)
                todo = np.uint32(todo ^ bit)
                lx, ly, lz, size = load4_shared(at)
                c0, c1, c2, c3 = load4_shared(np.uint32(at + np.uint32(16)))
                c4, c5, c6, c7 = load4_shared(np.uint32(at + np.uint32(32)))
                vr, vg, vb, vnx = load4_shared(np.uint32(at + np.uint32(48)))
                vny, vnz, vr2, s = load4_shared(np.uint32(at + np.uint32(64)))
                at = np.uint32(at + ROW)
                ax, ay, az = ox - lx, oy - ly, oz - lz
                t0, t1 = crossing(ax, ay, az, size, ix, iy, iz, near)
                used = False
                w = F0
                if alive and t1 > t0:
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
                    if alpha >= ALPHA_MIN:
                        used = True
                        w = light * alpha
                        t = HALF * (t0 + t1)
                        if PARTS:
                            t += depth_offset(
                                SAMPLES, s, phi_in, phi_out, t0, SHARE * (t1 - t0), (ax, ay, az),
                                (ux, uy, uz), (c0, c1, c2, c3, c4, c5, c6, c7),
                            )  # fmt: skip
                        after = light * m
                        if DISTORTION:
                            distortion += F2 * w * (t * (F1 - light) - depth)
                        if MEDIAN and light > HALF and after <= HALF:
                            u = vm.median_fraction(phi_in, f_in, f_out, light, s)
                            median = t0 + u * (t1 - t0)
                        if NORMAL:
                            nx += w * vnx
                            ny += w * vny
                            nz += w * vnz
                        if RGB2:
                            rgb2 += w * vr2
                        red += w * vr
                        green += w * vg
                        blue += w * vb
                        depth += w * t
                        light = after
                        final = np.int32(base + k)
                        alive = light >= TRANSMITTANCE_MIN
                    elif RISE and light > HALF and f_out > f_in:
                        used = True
                        rise += (f_out - f_in) * inv
                if cuda.any_sync(FULL, used):
                    kept = np.uint32(kept | bit)
                    if not cuda.any_sync(FULL, alive):
                        todo = np.uint32(0)
                    if heaviest:
                        v = np.uint64(np.uint32(cuda.shfl_sync(FULL, voxel, k)))
                        w = warp_max(w)
                        if lane == 0:
                            cuda.atomic.max(max_weight, v, w)
            if lane == 0 and kept != 0:
                touched[chunk] = np.int32(kept)
            cuda.syncwarp()
            chunk += W8
            base = np.int32(base + np.int32(32))
        if inside:
            pixel = np.uint64(np.uint32(y * width + x))
            last[pixel] = final
            pixel = pixel * W12
            store4(pixels, pixel, red, green, blue, light)
            store4(pixels, pixel + W4, depth, median, nx, ny)
            if light > HALF:
                rise = F0
            store4(pixels, pixel + W8, nz, rgb2, distortion, rise)

    return forward
