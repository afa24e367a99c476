"""What can be chosen about the fusion of depth maps."""

from __future__ import annotations

from dataclasses import dataclass

CLOUD_OPTIONS = (
    "voxel_size_m",
    "voxel_factor",
    "min_views",
    "keep_weak",
    "max_footprint_voxels",
    "bounds_m",
    "cloud_voxel_size_m",
    "max_points",
    "cloud_tolerance",
    "cloud_neighbors",
)
"""Options that the fused cloud depends on; surfaces of all backends have that cloud."""


@dataclass(frozen=True)
class FusionConfig:
    """Options of `fuse` and `fuse_cloud`. Metres mean world units where the frame is not metric."""

    voxel_size_m: float | None = None
    """Edge of a voxel; None: `voxel_factor` times the median footprint of a depth pixel."""
    voxel_factor: float = 1.5
    """Voxel size in pixel footprints where `voxel_size_m` is None."""
    truncation_voxels: float = 4.0
    """Half width of the band of signed distances around a depth sample, in voxels."""
    noise_factor: float = 3.0
    """The band is at least this many standard deviations of the depth noise wide on each side."""
    min_views: int = 2
    """Views that must have measured a voxel for its surface to count as measured. One is enough
    where no more than three photos look."""
    keep_weak: bool = True
    """Keep the surface that fewer views measured, or that only weak pixels of the depth maps show,
    and mark it as weak."""
    free_weight: float = 1.0
    """Surface is dropped where the views that look through it weigh this much more than those
    that see it; larger carves less."""
    max_footprint_voxels: float = 5.0
    """Depth pixels that cover more than this on the surface, slant included, are too coarse."""
    max_voxels: int = 64_000_000
    """Voxels to allocate at most; the voxel size is raised until they suffice. A million voxels
    make about 150 000 faces."""
    bounds_m: tuple[float, float, float, float, float, float] | None = None
    """World box (x_min, y_min, z_min, x_max, y_max, z_max) to reconstruct; None: what two or more
    views see, without far outliers."""
    view_cache_mb: int = 768
    """Memory for depth maps kept between regions [MB]."""
    cloud_voxel_size_m: float | None = None
    """Spacing of the fused cloud; None: `voxel_size_m` or `voxel_factor` as above. Independent of
    how far `max_voxels` makes the mesh coarser."""
    max_points: int = 20_000_000
    """Points of the fused cloud at most; its spacing is raised until they suffice. Each needs
    about 250 bytes while the cloud is fused."""
    cloud_tolerance: float = 0.01
    """Depths of two views agree within this fraction of the depth."""
    cloud_neighbors: int = 8
    """Views that each depth map is compared with for the cloud."""
