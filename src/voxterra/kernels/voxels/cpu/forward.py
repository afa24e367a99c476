"""Rendering on the CPU: bucket by bucket, voxel by voxel, rows of 8 pixels at once.

What not every call wants comes as two tuples: `rises`, of one item (any) for the rise of the
distance, and `parts`, of one item (their number) for more than one part of a segment; empty where
it is not wanted. A tuple's length belongs to its type: what is not wanted is not compiled.
"""

import numpy as np
from numba import njit, prange

from voxterra.kernels.voxels import math as vm
from voxterra.kernels.voxels.cpu import tiles as ts
from voxterra.kernels.voxels.cpu.lanes import (
    LANES,
    TINY,
    falloff,
    lane,
    polynomial,
    tally,
    transmission,
    unit,
)
from voxterra.kernels.voxels.math import ALPHA_MIN, EXACT, F0, F1, HALF, TRANSMITTANCE_MIN

_TWO = np.float32(2.0)
_ENDED = np.float32(32.0)
"""Added to a step's events for every pixel that ended; 1 for each that passed T = 1/2."""


@lane
def _step(state, base, box, field, colour, normal, rgb2, sharpness, near, index, rises, parts):
    """Blend a voxel into the 8 pixels from `base` on; returns the events (see `_ENDED`)."""
    nx, ny, nz, fx, fy, fz, ox, oy, oz, inverse = box
    a, ax, ay, az, axy, axz, ayz, axyz = field
    red, green, blue = colour
    ux, uy, uz = normal
    events = F0
    for i in range(LANES):
        p = base + i
        ix, iy, iz = state[ts.IX + p], state[ts.IY + p], state[ts.IZ + p]
        dx, dy, dz = state[ts.DX + p], state[ts.DY + p], state[ts.DZ + p]
        before = state[ts.T + p]
        t0 = max(max(nx * ix, ny * iy), max(nz * iz, near))
        t1 = min(min(fx * ix, fy * iy), fz * iz)
        dx, dy, dz = dx * inverse, dy * inverse, dz * inverse
        x, y, z = unit(ox, dx, t0), unit(oy, dy, t0), unit(oz, dz, t0)
        f_in = polynomial(a, ax, ay, az, axy, axz, ayz, axyz, x, y, z)
        x, y, z = unit(ox, dx, t1), unit(oy, dy, t1), unit(oz, dz, t1)
        f_out = polynomial(a, ax, ay, az, axy, axz, ayz, axyz, x, y, z)
        phi_in = F1 / (F1 + falloff(sharpness * f_in))
        phi_out = F1 / (F1 + falloff(sharpness * f_out))
        m = transmission(phi_in, phi_out)
        alpha = F1 - m
        hit = (t1 > t0) & (before >= TRANSMITTANCE_MIN) & (alpha >= ALPHA_MIN)
        w = before * alpha if hit else F0
        after = before * m if hit else before
        middle = (t0 + t1) * HALF
        if len(parts) > 0:
            drop = F1 / max(phi_in - phi_out, TINY)
            part = (t1 - t0) / np.float32(len(parts) + 1)
            t = t0
            for _ in range(len(parts)):
                t += part
                x, y, z = unit(ox, dx, t), unit(oy, dy, t), unit(oz, dz, t)
                f = polynomial(a, ax, ay, az, axy, axz, ayz, axyz, x, y, z)
                phi = F1 / (F1 + falloff(sharpness * f))
                middle += part * (vm.share_left(phi, phi_out, drop) - HALF)
        if len(rises) > 0:
            rising = (t1 > t0) & (before > HALF) & (f_out > f_in)
            state[ts.RISE + p] += (f_out - f_in) * inverse if rising else F0
        depth = state[ts.DEPTH + p]
        state[ts.RED + p] += w * red
        state[ts.GREEN + p] += w * green
        state[ts.BLUE + p] += w * blue
        state[ts.DISTORTION + p] += _TWO * w * (middle * (F1 - before) - depth)
        state[ts.DEPTH + p] = depth + w * middle
        state[ts.NX + p] += w * ux
        state[ts.NY + p] += w * uy
        state[ts.NZ + p] += w * uz
        state[ts.RGB2 + p] += w * rgb2
        state[ts.T + p] = after
        state[ts.BEFORE + p] = before
        state[ts.LAST + p] = index if hit else state[ts.LAST + p]
        events = tally(events, F1 if (before > HALF) & (after <= HALF) else F0)
        ended = (before >= TRANSMITTANCE_MIN) & (after < TRANSMITTANCE_MIN)
        events = tally(events, _ENDED if ended else F0)
    return events


@njit(fastmath=EXACT, error_model="numpy", cache=True)
def median_of(state, p, box, field, sharpness, near, before):
    """Segment of one pixel's ray: t0, t1, f_in, f_out, and where in it T passes 1/2."""
    nx, ny, nz, fx, fy, fz, ox, oy, oz, inverse = box
    a, ax, ay, az, axy, axz, ayz, axyz = field
    ix, iy, iz = state[ts.IX + p], state[ts.IY + p], state[ts.IZ + p]
    dx, dy, dz = state[ts.DX + p], state[ts.DY + p], state[ts.DZ + p]
    t0 = max(max(nx * ix, ny * iy), max(nz * iz, near))
    t1 = min(min(fx * ix, fy * iy), fz * iz)
    dx, dy, dz = dx * inverse, dy * inverse, dz * inverse
    x, y, z = unit(ox, dx, t0), unit(oy, dy, t0), unit(oz, dz, t0)
    f_in = polynomial(a, ax, ay, az, axy, axz, ayz, axyz, x, y, z)
    x, y, z = unit(ox, dx, t1), unit(oy, dy, t1), unit(oz, dz, t1)
    f_out = polynomial(a, ax, ay, az, axy, axz, ayz, axyz, x, y, z)
    phi_in = F1 / (F1 + falloff(sharpness * f_in))
    u = vm.median_fraction(phi_in, f_in, f_out, before, sharpness)
    return t0, t1, f_in, f_out, u


@njit(fastmath=EXACT, error_model="numpy", cache=True)
def _finish_step(state, row_live, row, base, box, field, sharpness, near):
    """Write the medians of a step; update which of the row's pixels still take light.

    Returns the number of pixels of the row that ended.
    """
    ended = 0
    for i in range(LANES):
        p = base + i
        before, after = state[ts.BEFORE + p], state[ts.T + p]
        if before > HALF and after <= HALF:
            t0, t1, _, _, u = median_of(state, p, box, field, sharpness, near, before)
            state[ts.MEDIAN + p] = t0 + u * (t1 - t0)
        if before >= TRANSMITTANCE_MIN and after < TRANSMITTANCE_MIN:
            row_live[row] &= ~(np.int64(1) << np.int64(p & np.uint64(15)))
            ended += 1
    return ended


@njit(fastmath=EXACT, error_model="numpy", cache=True)
def _blend_bucket(state, live, row_live, entries, record, rect, camera, x0, y0, octant, weight,
                  rises, parts):  # fmt: skip
    """Blend the entries of a bucket in order until no pixel takes light."""
    near = camera[vm.C_NEAR]
    for index in range(len(entries)):
        v = entries[index]
        left, right = max(rect[v, 0] - x0, 0), min(rect[v, 2] - x0, ts.TILE)
        top, bottom = max(rect[v, 1] - y0, 0), min(rect[v, 3] - y0, ts.TILE)
        r = record[v]
        box = ts.load_box(r, camera, octant)
        field = ts.load_field(r)
        colour, normal = (r[12], r[13], r[14]), (r[15], r[16], r[17])
        rgb2, sharpness = r[18], r[19]
        largest = F0
        for row in range(top, bottom):
            base = min(left, 8) if right - left <= 8 else 0
            while base < right:
                if (row_live[row] >> base) & 0xFF:
                    p = np.uint64(row * ts.TILE + base)
                    events = _step(
                        state, p, box, field, colour, normal, rgb2, sharpness, near,
                        np.float32(index), rises, parts,
                    )  # fmt: skip
                    if events > F0:
                        live -= _finish_step(state, row_live, row, p, box, field, sharpness, near)
                    if len(weight) > 0:
                        for i in range(LANES):
                            largest = max(largest, state[ts.BEFORE + p + i] - state[ts.T + p + i])
                base += 8
        if len(weight) > 0:
            weight[index] = largest
        if live == 0:
            break


@njit(parallel=True, fastmath=EXACT, error_model="numpy", cache=True)
def render(record, rect, camera, entry, bucket_start, tile_of, octant_of, tiles_x, shape,
           pixels, last, weight, rises, parts, threads):  # fmt: skip
    """Render all buckets; see `ops.rasterize_forward`. `weight` [E] or [0]: largest per entry."""
    height, width = shape
    for worker in prange(threads):
        state = np.empty(ts.STATE, np.float32)
        row_live = np.empty(ts.TILE, np.int64)
        for b in range(worker, len(tile_of), threads):
            x0 = (tile_of[b] % tiles_x) * ts.TILE
            y0 = (tile_of[b] // tiles_x) * ts.TILE
            live = ts.start_tile(state, camera, x0, y0, width, height, octant_of[b])
            if live == 0:
                continue
            start, end = bucket_start[b], bucket_start[b + 1]
            for row in range(ts.TILE):
                row_live[row] = 0
                for column in range(ts.TILE):
                    if state[ts.T + np.uint64(row * ts.TILE + column)] > F0:
                        row_live[row] |= np.int64(1) << column
            owned = row_live.copy()
            entry_weight = weight[start:end] if len(weight) > 0 else weight
            _blend_bucket(
                state, live, row_live, entry[start:end], record, rect, camera, x0, y0,
                octant_of[b], entry_weight, rises, parts,
            )  # fmt: skip
            _write(state, owned, pixels, last, x0, y0, start)


@njit(fastmath=EXACT, error_model="numpy", cache=True)
def _write(state, owned, pixels, last, x0, y0, start):
    """Write the pixels of a bucket; `owned` has a bit for each of them in each row."""
    for row in range(ts.TILE):
        for column in range(ts.TILE):
            if not (owned[row] >> column) & 1:
                continue
            p = np.uint64(row * ts.TILE + column)
            out = pixels[y0 + row, x0 + column]
            out[vm.P_RGB] = state[ts.RED + p]
            out[vm.P_RGB + 1] = state[ts.GREEN + p]
            out[vm.P_RGB + 2] = state[ts.BLUE + p]
            out[vm.P_T] = state[ts.T + p]
            out[vm.P_DEPTH] = state[ts.DEPTH + p]
            out[vm.P_MEDIAN] = state[ts.MEDIAN + p]
            out[vm.P_NORMAL] = state[ts.NX + p]
            out[vm.P_NORMAL + 1] = state[ts.NY + p]
            out[vm.P_NORMAL + 2] = state[ts.NZ + p]
            out[vm.P_RGB2] = state[ts.RGB2 + p]
            out[vm.P_DISTORTION] = state[ts.DISTORTION + p]
            out[vm.P_RISE] = state[ts.RISE + p] if state[ts.T + p] <= HALF else F0
            index = np.int32(state[ts.LAST + p])
            last[y0 + row, x0 + column] = index + start if index >= 0 else -1
