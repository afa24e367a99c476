"""Gradients on the CPU: bucket by bucket, voxel by voxel from the back, 8 pixels at once.

One recursion over the light that comes from behind each voxel gives all gradients; the
transmittance is divided back out on the way. Sums over pixels are kept per lane, and the gradient
of the distance as its 8 trilinear moments, from which those of the corners follow at the end.
Every entry has a slot of its own, so nothing is contended and results repeat bit for bit.
"""

import numpy as np
from numba import njit, prange

from voxterra.kernels.voxels import math as vm
from voxterra.kernels.voxels.cpu import tiles as ts
from voxterra.kernels.voxels.cpu.forward import median_of
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
from voxterra.kernels.voxels.math import ALPHA_MIN, EXACT, F0, F1, HALF, OPACITY_EPS

_TWO = np.float32(2.0)
# Sums per lane: 8 moments, colour, normal, priority, s times sharpness.
(_M, _MX, _MY, _MZ, _MXY, _MXZ, _MYZ, _MXYZ, _RED, _GREEN, _BLUE, _NX, _NY, _NZ, _PRIORITY,
 _SHARP) = (np.uint64(8 * k) for k in range(16))  # fmt: skip


@lane
def _add_moments(sums, i, g, x, y, z):
    """Add the gradient of the distance at (x, y, z) to the moments of a lane."""
    xy = g * x * y
    sums[_M + i] += g
    sums[_MX + i] += g * x
    sums[_MY + i] += g * y
    sums[_MZ + i] += g * z
    sums[_MXY + i] += xy
    sums[_MXZ + i] += g * x * z
    sums[_MYZ + i] += g * y * z
    sums[_MXYZ + i] += xy * z


@lane
def _step(state, sums, base, box, field, colour, normal, rgb2, sharpness, near, index, rises, parts,
          lanes):  # fmt: skip
    """Gradients of a voxel from the 8 pixels from `base` on; 0 unless it holds a median depth.

    `rises` and `parts` as in `forward`. `lanes` is 8, unknown to the compiler: it checks whether
    `state` and `sums` overlap, which this loop needs, only in loops that may be longer.
    """
    nx, ny, nz, fx, fy, fz, ox, oy, oz, inverse = box
    a, ax, ay, az, axy, axz, ayz, axyz = field
    red, green, blue = colour
    ux, uy, uz = normal
    events = F0
    for i in range(lanes):
        p = base + i
        ix, iy, iz = state[ts.IX + p], state[ts.IY + p], state[ts.IZ + p]
        dx, dy, dz = state[ts.DX + p], state[ts.DY + p], state[ts.DZ + p]
        t0 = max(max(nx * ix, ny * iy), max(nz * iz, near))
        t1 = min(min(fx * ix, fy * iy), fz * iz)
        dx, dy, dz = dx * inverse, dy * inverse, dz * inverse
        x0, y0, z0 = unit(ox, dx, t0), unit(oy, dy, t0), unit(oz, dz, t0)
        f_in = polynomial(a, ax, ay, az, axy, axz, ayz, axyz, x0, y0, z0)
        x1, y1, z1 = unit(ox, dx, t1), unit(oy, dy, t1), unit(oz, dz, t1)
        f_out = polynomial(a, ax, ay, az, axy, axz, ayz, axyz, x1, y1, z1)
        e_in, e_out = falloff(sharpness * f_in), falloff(sharpness * f_out)
        phi_in, phi_out = F1 / (F1 + e_in), F1 / (F1 + e_out)
        m = transmission(phi_in, phi_out)
        alpha = F1 - m
        hit = (t1 > t0) & (state[ts.LAST + p] >= index) & (alpha >= ALPHA_MIN)
        after = state[ts.T + p]
        before = after / m if hit else after
        w = before * alpha if hit else F0
        middle = (t0 + t1) * HALF
        slope_in, slope_out = F0, F0
        if len(parts) > 0:
            part = (t1 - t0) / np.float32(len(parts) + 1)
            of_depth = state[ts.G_DEPTH + p] + _TWO * state[ts.G_DISTORTION + p] * (
                F1 - before - after + state[ts.T_END + p]
            )
            slope = sharpness * before * of_depth * part / (phi_in + OPACITY_EPS) if hit else F0
            t, drop = t0, F1 / max(phi_in - phi_out, TINY)
            for _ in range(len(parts)):
                t += part
                x, y, z = unit(ox, dx, t), unit(oy, dy, t), unit(oz, dz, t)
                f = polynomial(a, ax, ay, az, axy, axz, ayz, axyz, x, y, z)
                e = falloff(sharpness * f)
                phi = F1 / (F1 + e)
                share = vm.share_left(phi, phi_out, drop)
                middle += part * (share - HALF)
                within = (
                    hit & (f < f_in) & (f > f_out)
                )  # rounding of Phi may be as large as its fall
                g = slope * phi * (e * phi) if within else F0
                slope_in -= slope * share if within else F0
                slope_out -= slope * (F1 - share) if within else F0
                _add_moments(sums, i, g, x, y, z)
                sums[_SHARP + i] += g * f
        depth_after = state[ts.DEPTH_BEFORE + p]
        depth_before = depth_after - w * middle
        spread = _TWO * (
            middle * (F1 - before)
            - depth_before
            + (state[ts.DEPTH_ALL + p] - depth_after)
            - middle * (after - state[ts.T_END + p])
        )
        g_red, g_green, g_blue = state[ts.G_RED + p], state[ts.G_GREEN + p], state[ts.G_BLUE + p]
        g_nx, g_ny, g_nz = state[ts.G_NX + p], state[ts.G_NY + p], state[ts.G_NZ + p]
        g_rgb2 = state[ts.G_RGB2 + p]
        gain = (
            g_red * red
            + g_green * green
            + g_blue * blue
            + g_nx * ux
            + g_ny * uy
            + g_nz * uz
            + g_rgb2 * rgb2
            + state[ts.G_DEPTH + p] * middle
            + state[ts.G_DISTORTION + p] * spread
        )
        behind = state[ts.BEHIND + p]
        d_alpha = before * (gain - behind) if hit else F0
        state[ts.BEHIND + p] = alpha * gain + m * behind if hit else behind
        state[ts.T + p] = before
        state[ts.DEPTH_BEFORE + p] = depth_before
        d_m = -d_alpha / (phi_in + OPACITY_EPS)
        g_in = -d_m * m * sharpness * phi_in * (e_in * phi_in)
        g_out = d_m * sharpness * phi_out * (e_out * phi_out)
        if len(parts) > 0:
            g_in += slope_in * phi_in * (e_in * phi_in)
            g_out += slope_out * phi_out * (e_out * phi_out)
        sums[_SHARP + i] += g_in * f_in + g_out * f_out
        if len(rises) > 0:
            rising = (t1 > t0) & (state[ts.LAST + p] >= index) & (after > HALF) & (f_out > f_in)
            g_rise = state[ts.G_RISE + p] * inverse if rising else F0
            g_in -= g_rise
            g_out += g_rise
        sums[_M + i] += g_in + g_out
        sums[_MX + i] += g_in * x0 + g_out * x1
        sums[_MY + i] += g_in * y0 + g_out * y1
        sums[_MZ + i] += g_in * z0 + g_out * z1
        xy0, xy1 = g_in * x0 * y0, g_out * x1 * y1
        sums[_MXY + i] += xy0 + xy1
        sums[_MXZ + i] += g_in * x0 * z0 + g_out * x1 * z1
        sums[_MYZ + i] += g_in * y0 * z0 + g_out * y1 * z1
        sums[_MXYZ + i] += xy0 * z0 + xy1 * z1
        sums[_RED + i] += w * (g_red + _TWO * g_rgb2 * red)
        sums[_GREEN + i] += w * (g_green + _TWO * g_rgb2 * green)
        sums[_BLUE + i] += w * (g_blue + _TWO * g_rgb2 * blue)
        sums[_NX + i] += w * g_nx
        sums[_NY + i] += w * g_ny
        sums[_NZ + i] += w * g_nz
        share = alpha * d_alpha
        sums[_PRIORITY + i] += max(share, -share)  # abs() would not be vectorised
        crosses = (before > HALF) & (after <= HALF) & (state[ts.G_MEDIAN + p] != F0)
        crossed = before if crosses else F0
        events = tally(events, crossed)
        state[ts.CROSSED + p] = crossed
    return events


@njit(fastmath=EXACT, error_model="numpy", cache=True)
def _add_medians(state, sums, base, box, field, sharpness, near):
    """Add the gradients of the median depths of a step's pixels."""
    for i in range(LANES):
        p = base + i
        before = state[ts.CROSSED + p]
        if before == F0:
            continue
        t0, t1, f_in, f_out, u = median_of(state, p, box, field, sharpness, near, before)
        g = state[ts.G_MEDIAN + p] * (t1 - t0) / (f_in - f_out)
        inverse = box[9]
        for t, gain in ((t0, g * (F1 - u)), (t1, g * u)):
            x = unit(box[6], state[ts.DX + p] * inverse, t)
            y = unit(box[7], state[ts.DY + p] * inverse, t)
            z = unit(box[8], state[ts.DZ + p] * inverse, t)
            _add_moments(sums, i, gain, x, y, z)


@njit(fastmath=EXACT, error_model="numpy", cache=True)
def _write_slot(sums, total, sharpness, out):
    """Add up the lanes and write an entry's gradient."""
    for k in range(16):
        value = F0
        for i in range(8):
            value += sums[np.uint64(8 * k + i)]
        total[k] = value
    for c in range(8):
        # Of a corner: each factor is the coordinate where the corner's bit is set, else 1 - it.
        value = F0
        for k in range(8):
            value += _SIGN[c, k] * total[k]
        out[vm.G_SDF + c] = value
    for k in range(3):
        out[vm.G_RGB + k] = total[8 + k]
        out[vm.G_NORMAL + k] = total[11 + k]
    out[vm.G_PRIORITY] = total[14]
    out[vm.G_SHARPNESS] = total[15] / sharpness


def _signs():
    """[corner, moment of 1, x, y, z, xy, xz, yz, xyz]: how corners' weights expand."""
    moments = ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2))
    table = np.zeros((8, 8), np.float32)
    for corner in range(8):
        bits = (corner >> 2 & 1, corner >> 1 & 1, corner & 1)
        for k, axes in enumerate(moments):
            absent = [axis for axis in range(3) if axis not in axes]
            if not any(bits[axis] for axis in absent):
                table[corner, k] = (-1) ** sum(1 - bits[axis] for axis in axes)
    return table


_SIGN = _signs()


@njit(fastmath=EXACT, error_model="numpy", cache=True)
def _load_pixels(state, pixels, last, gradient, x0, y0, start, reach):
    """Load what the forward pass left; returns the last entry of the bucket that any pixel hit.

    `reach[row, base]`: the last entry hit by the 8 pixels from `base` on.
    """
    deepest = -1
    for row in range(ts.TILE):
        for column in range(ts.TILE):
            p = np.uint64(row * ts.TILE + column)
            owned = state[ts.T + p] > F0
            state[ts.T + p] = F1
            if not owned or last[y0 + row, x0 + column] < 0:
                continue
            out, g = pixels[y0 + row, x0 + column], gradient[y0 + row, x0 + column]
            index = last[y0 + row, x0 + column] - start
            deepest = max(deepest, index)
            state[ts.LAST + p] = index
            state[ts.T + p] = out[vm.P_T]
            state[ts.T_END + p] = out[vm.P_T]
            state[ts.BEHIND + p] = g[vm.P_T]
            state[ts.DEPTH_BEFORE + p] = out[vm.P_DEPTH]
            state[ts.DEPTH_ALL + p] = out[vm.P_DEPTH]
            for k in range(3):
                state[ts.PIXELS * (12 + k) + p] = g[vm.P_RGB + k]
                state[ts.PIXELS * (16 + k) + p] = g[vm.P_NORMAL + k]
            state[ts.G_DEPTH + p] = g[vm.P_DEPTH]
            state[ts.G_RGB2 + p] = g[vm.P_RGB2]
            state[ts.G_DISTORTION + p] = g[vm.P_DISTORTION]
            state[ts.G_MEDIAN + p] = g[vm.P_MEDIAN]
            state[ts.G_RISE + p] = g[vm.P_RISE] if out[vm.P_T] <= HALF else F0
        for base in range(9):
            most = -F1
            for i in range(8):
                most = max(most, state[ts.LAST + np.uint64(row * ts.TILE + base + i)])
            reach[row, base] = np.int32(most)
    return deepest


@njit(fastmath=EXACT, error_model="numpy", cache=True)
def _gather_bucket(state, sums, total, reach, deepest, entries, slots, record, rect, camera,
                   x0, y0, octant, gradient, touched, rises, parts, lanes):  # fmt: skip
    """Walk the entries of a bucket from the deepest one hit to the front."""
    near = camera[vm.C_NEAR]
    for index in range(deepest, -1, -1):
        v = entries[index]
        left, right = max(rect[v, 0] - x0, 0), min(rect[v, 2] - x0, ts.TILE)
        top, bottom = max(rect[v, 1] - y0, 0), min(rect[v, 3] - y0, ts.TILE)
        r = record[v]
        box = ts.load_box(r, camera, octant)
        field = ts.load_field(r)
        colour, normal = (r[12], r[13], r[14]), (r[15], r[16], r[17])
        rgb2, sharpness = r[18], r[19]
        any_pixel = False
        for row in range(top, bottom):
            base = min(left, 8) if right - left <= 8 else 0
            while base < right:
                if reach[row, base] >= index:
                    if not any_pixel:
                        any_pixel = True
                        sums[:] = F0
                    p = np.uint64(row * ts.TILE + base)
                    events = _step(
                        state, sums, p, box, field, colour, normal, rgb2, sharpness, near,
                        np.float32(index), rises, parts, lanes,
                    )  # fmt: skip
                    if events > F0:
                        _add_medians(state, sums, p, box, field, sharpness, near)
                base += 8
        if any_pixel:
            touched[slots[index]] = 1
            _write_slot(sums, total, sharpness, gradient[slots[index]])


@njit(parallel=True, fastmath=EXACT, error_model="numpy", cache=True)
def differentiate(record, rect, camera, entry, slot, bucket_start, tile_of, octant_of, tiles_x,
                  shape, pixels, last, grad_pixels, gradient, touched, rises, parts, threads,
                  lanes):  # fmt: skip
    """Gradient [E, 16] of every entry that a pixel hit, and `touched` [E] = 1 there."""
    height, width = shape
    for worker in prange(threads):
        state = np.empty(ts.STATE, np.float32)
        sums = np.empty(128, np.float32)
        total = np.empty(16, np.float32)
        reach = np.empty((ts.TILE, 9), np.int32)
        for b in range(worker, len(tile_of), threads):
            x0 = (tile_of[b] % tiles_x) * ts.TILE
            y0 = (tile_of[b] // tiles_x) * ts.TILE
            if ts.start_tile(state, camera, x0, y0, width, height, octant_of[b]) == 0:
                continue
            start, end = bucket_start[b], bucket_start[b + 1]
            deepest = _load_pixels(state, pixels, last, grad_pixels, x0, y0, start, reach)
            _gather_bucket(
                state, sums, total, reach, deepest, entry[start:end], slot[start:end], record,
                rect, camera, x0, y0, octant_of[b], gradient, touched, rises, parts, lanes,
            )  # fmt: skip
