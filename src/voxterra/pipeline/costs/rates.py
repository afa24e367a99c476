"""Rates of work: seconds, memory and disk for a megapixel, a pair, a million faces.

Fitted to the runs in `benchmarks/results`: 2 cores of an Intel Xeon, 3 to 40 photos of 0.3 to 1.9
megapixels; and, for the memory and disk of large photos, to one run of 8 photos of 17 megapixels on
a busy machine.
A test in `tests/pipeline/test_estimate.py` compares them with those runs.
"""

from __future__ import annotations

CORES = 2
"""Of the measured machine. On others, seconds are assumed to scale with the number of cores, which
was not measured."""

# --- seconds on that machine ----------------------------------------------------------------------

INGEST_S_PER_MP = 0.02
"""Decoding a photo at reduced size and measuring it, for a megapixel as delivered."""
FEATURE_S_PER_MP = 2.2
"""Finding features, for a megapixel after `sfm.max_image_size`; with it the mapping."""
MATCH_S_PER_PAIR = 0.15
"""Matching two photos of 8192 features; it grows with the square of their number."""
FEATURES_PER_MP = 6000.0
"""Features in a megapixel, up to `sfm.max_features`."""
DEPTH_S_PER_MP = 10.0
"""Stereo of a depth map of one megapixel against 10 source photos."""
SURFACE_S_PER_MP = 0.4
"""Fusing a megapixel of depth."""
MESH_S_PER_M_FACES = 55.0
"""Cleaning and texturing, for a million faces after simplification."""
PRODUCTS_S = 4.5
"""Products of a small model."""
PRODUCTS_S_PER_M_FACES = 4.0
"""The same for each further million faces."""
COLOR_S_PER_MP = 0.1
"""Undistorting, texture and orthophoto, each, for a megapixel of the undistorted photos."""
REPORT_S = 5.0
"""The report."""

# --- memory [bytes] -------------------------------------------------------------------------------

BASE = 0.5e9
"""Program and libraries."""
MESH_BASE = 0.85e9
"""The same with the memory of cleaning and texturing for any mesh."""
PRODUCTS_BASE = 1.1e9
"""The same with the memory of products for any model."""
FEATURE_PER_MP = 0.32e9
"""For a megapixel after `sfm.max_image_size`, on each core."""
MAPPING_PER_FEATURE = 2e3
"""For a feature, while photos are mapped. With half of it the estimate was half of what surveys of
1,000 photos and more took."""
DEPTH_PER_MP = 0.35e9
"""For a megapixel of a depth map, with its source photos."""
SURFACE_PER_M_FACES = 0.22e9
"""For a million faces of the surface before it is simplified."""
MESH_PER_M_FACES = 0.56e9
"""The same while it is simplified and textured: mostly the largest."""
COLOR_PER_MP = 0.04e9
"""For a megapixel of an undistorted photo, while textures and orthophoto are painted."""
TEXEL_MEMORY = 6.0
"""For a pixel of the texture; measured up to 38 million of them."""
ORTHO_PER_MP = 0.015e9
"""For a million cells of the orthophoto."""

# --- sizes ----------------------------------------------------------------------------------------

M_FACES_PER_MP = 0.28
"""Million faces of the fused surface from a megapixel of depth, with `surface.voxel_factor` 1.5;
measured 0.12 to 0.45, more with less overlap."""
M_FACES_PER_M_VOXELS = 0.15
"""Largest number that `surface.max_voxels` allows."""
DEPTH_BYTES_PER_PX = 8.0
"""A depth map on disk: depth, normal, confidence. Work in progress takes 13 more for a while, which
is less than what the surface, its texture and the products keep later."""
COLOR_BYTES_PER_PX = 0.6
"""An undistorted photo on disk (JPEG of quality 96)."""
TEXELS_PER_PX = 0.3
"""Pixels of the texture for one of the undistorted photos, up to `texture.max_atlas_px`."""
TEXEL_BYTES = 4.0
"""A pixel of the texture in the run folder and in the products."""
BYTES_PER_FACE = 130.0
"""Mesh in the run folder and as GLB, OBJ and PLY."""
SURFACE_BYTES_PER_FACE = 40.0
"""The surface before it is simplified."""
POINT_BYTES = 60.0
"""A point of the cloud in the run folder, as LAZ and as PLY; about as many as half the faces."""
ORTHO_BYTES_PER_CELL = 4.0
"""Orthophoto and surface model."""
