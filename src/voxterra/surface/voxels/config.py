"""What can be chosen about the training of sparse voxels.

Names are those of SVRaster and SVRecon where the option exists there, so that their users' command
lines and config files keep their meaning. Weights are ours where ours differ; the published ones
stand beside them in docs/voxels.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

# Of options that say where to train and what to show meanwhile.
_SAME_RESULT = {"affects_result": False}

BoundMode = Literal["default", "camera_median", "camera_max", "forward", "pcd"]


@dataclass(frozen=True)
class VoxelConfig:
    """Options of `train`. Where losses and splits begin and end is stated for 8000 iterations and
    scales with `n_iter / 8000`; `save_every` and `view_every` do not scale."""

    # --- images -----------------------------------------------------------------------------
    res_downscale: float = 0.0
    """Divide the images' sides by this; 0: leave them, or see `res_width`."""
    res_width: int = 0
    """Resize images to this width [px]; 0: leave them."""
    ss: float = 1.5
    """Render this much larger than the images and average, against jagged edges."""
    test_every: int = 8
    """With `eval`, every this many images is held out."""
    eval: bool = False
    """Hold images out of training, and measure PSNR and SSIM on them."""
    white_background: bool = False
    """What no voxel covers is white."""
    black_background: bool = False
    """What no voxel covers is black. Neither: it is the mean colour of the images' borders."""
    mask_mode: Literal["auto", "object", "ignore"] = "auto"
    """What masks show. object: where the object is, and that nothing is beside it; ignore: what to
    look away from, such as a tripod; auto: ignore in panoramas, object else."""
    data_device: Literal["auto", "cpu", "cuda"] = field(default="auto", metadata=_SAME_RESULT)
    """Where the images lie; auto: with the model where they fit."""
    device: Literal["auto", "cpu", "cuda"] = field(default="auto", metadata=_SAME_RESULT)
    """Where to train."""
    deterministic: bool = False
    """Repeat bit by bit, at the cost of some speed, on a GPU too; a CPU does with the same number
    of threads."""
    seed: int = 0
    """Seed of everything drawn at random."""

    # --- bound ------------------------------------------------------------------------------
    bound_mode: BoundMode = "default"
    """How the main bound is found."""
    bound_scale: float = 1.0
    """Scale of the main bound."""
    bound: tuple[float, float, float, float, float, float] | None = None
    """Main bound as a world box (x_min, y_min, z_min, x_max, y_max, z_max)."""
    outside_level: int = 5
    """Octree levels outside of the main bound, each doubling the edge."""
    init: Literal["auto", "depth", "points", "masks", "sphere"] = "auto"
    """What the first surface is made of; auto: the densest there is."""
    stereo: bool = False
    """Where there are cameras but no depth maps: compute them first by multi-view stereo, from the
    images that are trained on. `train` only; a run has its own."""
    stereo_size: int = 0
    """Longer side of these depth maps [px]; 0: that of the images."""
    init_level: int = 6
    """Levels inside the main bound of a start from points, masks or a sphere: 6 is 64 voxels a
    side. The least of a start from depth maps."""
    init_n_level: int = 0
    """Levels inside the main bound of the start; 0: `init_level`, or from the footprint of a pixel
    where depth maps are there."""
    init_pixels: float = 4.0
    """Voxels at the start are not smaller than this many pixels; splits come later."""
    init_band: float = 1.0
    """Around a start from depth maps, voxels this many half diagonals (beside their own) away from
    the surface are there too."""
    max_level: int = 11
    """Finest level inside the main bound."""
    max_voxels: int = 4_000_000
    """Voxels at most: a start that has more is made coarser, and no more are split once this many
    are there. Lowered to what fits."""

    # --- procedure --------------------------------------------------------------------------
    n_iter: int = 8000
    """Iterations, one view each."""
    sh_degree: int = 3
    """Degree of the spherical harmonics: 0 (same colour from all sides) to 3."""
    n_samp_per_vox: int = 1
    """Parts, 1 to 16, that a voxel's piece of a ray is cut into for its share in the mean depth;
    with 1 that is the middle of the piece. Only `lambda_normal_dmean` and `lambda_dist` see it."""
    adapt_every: int = 1000
    """Split and prune every this many of 8000 iterations."""
    adapt_until: int = 7500
    """No split or prune after this many of 8000 iterations."""
    surface_split_until: int = 6000
    """Until then every voxel with a sign change is split, up to the level of the stage; after that
    the `subdivide_share` with the largest priority."""
    subdivide_share: float = 0.11
    """Share of the voxels that a split by priority splits."""
    sharpness: float = 2.3
    """Sharpness in voxels: s times the edge of a voxel, s0 = ln 99 / (2 edge)."""
    sharpness_growth: float = 1.0
    """Factor on the sharpness, reached at the end of the training."""
    sharpness_lr: float = 0.0
    """Learning rate of the logarithm of one more factor on the sharpness, for the whole scene; 0:
    none is learned, and one that a resumed training has learned stays."""
    sharpness_from: int = 6000
    """First iteration at which it is learned: late, since a surface that still moves looks
    thick."""
    subdivide_save_gpu: bool = field(default=False, metadata=_SAME_RESULT)
    """Accepted for SVRaster's users; splitting here never needs more memory than training."""
    save_quantized: bool = False
    """Save the model with 8 bits a number."""
    save_every: int = field(default=0, metadata=_SAME_RESULT)
    """Write a checkpoint to resume from every this many iterations too (0: every minute and at the
    end only)."""
    view_every: int = field(default=500, metadata=_SAME_RESULT)
    """Write a picture of the progress every this many iterations."""

    # --- optimiser --------------------------------------------------------------------------
    geo_lr: float = 0.025
    """Learning rate of the signed distances, in units of the local voxel."""
    sh0_lr: float = 0.010
    """Learning rate of the base colours."""
    shs_lr: float = 0.00025
    """Learning rate of the view-dependent colours."""
    lr_decay: float = 0.1
    """Factor on the learning rates of distances and colours, reached over the last quarter."""
    optim_beta1: float = 0.1
    """Adam's first beta."""
    optim_beta2: float = 0.99
    """Adam's second beta."""
    optim_eps: float = 1e-15
    """Adam's epsilon."""

    # --- losses -----------------------------------------------------------------------------
    photo_loss: Literal["mse", "l1", "huber"] = "mse"
    """How colours are compared."""
    lambda_photo: float = 1.0
    """Weight of the colour difference."""
    lambda_ssim: float = 0.02
    """Weight of 1 - SSIM."""
    lambda_mask: float = 0.1
    """Weight of transmittance against the masks, where there are masks."""
    reg_reduction: Literal["mean", "sum"] = "mean"
    """Grid terms are means over what they visit (our weights), or sums (published weights)."""
    lambda_ge_density: float = 1e-3
    """Weight of the eikonal term on the lattice (published: 1e-8 under `sum`)."""
    ge_until: int = 6000
    """Last iteration of that term."""
    lambda_vg_density: float = 1e-3
    """Weight of the eikonal term at voxel centres (published: 1e-11 under `sum`)."""
    vg_from: int = 6000
    """First iteration of that term."""
    lambda_ls_density: float = 1e-3
    """Weight of the Laplacian across voxel borders (published: 1e-10 under `sum`)."""
    grid_decay: float = 0.25
    """Factor on the lattice terms every 2000 iterations, twice."""
    lambda_normal_dmean: float = 0.001
    """Weight of rendered normals against the normals of the mean depth."""
    lambda_normal_dmed: float = 0.001
    """Weight of rendered normals against the normals of the median depth."""
    normal_from: int = 2000
    """First iteration of the two normal terms."""
    lambda_prior_normal: float = 0.1
    """Weight of rendered normals against those of prior depth maps."""
    lambda_prior_depth: float = 0.1
    """Weight of rendered depth against prior depth maps."""
    prior_until: int = 6000
    """Last iteration of the two prior terms."""
    lambda_R_concen: float = 0.01
    """Weight of the colour of every voxel on a ray against the pixel."""
    lambda_T_concen: float = 0.0
    """Weight of transmittance to 0 or 1."""
    lambda_T_inside: float = 0.0
    """Weight of rays that do not end inside."""
    lambda_dist: float = 0.0
    """Weight of the distortion (Mip-NeRF 360), of depths relative to the scene's."""
    dist_from: int = 4000
    """First iteration of the distortion."""
    lambda_tv_density: float = 0.0
    """Weight of the total variation of the distances; it fights |grad f| = 1."""
    tv_until: int = 4000
    """Last iteration of that term."""
    lambda_ascending: float = 0.0
    """Weight of the rise of the distance along a ray up to its first hit, in voxels (SVRaster, of
    densities: 0.01). With it voxels that lose no light are visited too, which takes time."""
    lambda_start: float = 0.0
    """Weight of the distances against those of a start from depth maps, where these measured; a
    training that was begun without it resumes without."""
    lambda_sparse_depth: float = 0.01
    """Weight of depth at the sparse points that a view sees (DS-NeRF)."""
    sparse_depth_until: int = 4000
    """Last iteration of that term."""
    lambda_mv_ncc: float = 0.0
    """Weight of normalised cross correlation of patches warped to a neighbouring view (PGSR)."""
    lambda_mv_geo: float = 0.0
    """Weight of reprojection there and back between neighbouring views (PGSR)."""
    mv_from: int = 2000
    """First iteration of the two multi-view terms."""
    mv_every: int = 1
    """They are computed every this many iterations."""
    exposure: bool = False
    """Learn an affine exposure for each image."""
    exposure_lr: float = 0.001
    """Learning rate of the exposures."""
