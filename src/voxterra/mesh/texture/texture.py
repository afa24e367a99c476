"""Texturing: photos baked onto a mesh, exposure levelled and seams hidden."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from voxterra.core.depth import DepthMaps
from voxterra.core.mesh import Texture, TriMesh
from voxterra.core.progress import Progress, no_progress, part
from voxterra.errors import ReconstructionError
from voxterra.imaging.exposure import levelled
from voxterra.kernels.raster.texture_atlas import dilate
from voxterra.mesh.texture.atlas import copy_photos, hide_background, paint, vertex_colors
from voxterra.mesh.texture.charts import lay_out
from voxterra.mesh.texture.config import TextureConfig
from voxterra.mesh.texture.labels import choose_views, face_adjacency
from voxterra.mesh.texture.levels import level_seams
from voxterra.mesh.texture.split import split_large_faces
from voxterra.mesh.texture.views import find_candidates, reject_outliers, sharpness

log = logging.getLogger(__name__)

__all__ = ["TextureConfig", "texture_mesh"]


def texture_mesh(
    mesh: TriMesh,
    maps: DepthMaps,
    config: TextureConfig = TextureConfig(),
    *,
    progress: Progress = no_progress,
) -> TriMesh:
    """Bake photos onto a mesh: each face gets the photo that shows it best.

    After Lempitsky & Ivanov (CVPR 2007) and Waechter, Moehrle & Goesele (ECCV 2014): visibility
    by z-buffer, photos that disagree with the majority dropped, seams placed where they cost
    least, photos levelled (`imaging.exposure`), and a smooth shift of colours that closes seams.

    Args:
        mesh: in the world of the views; any unit. Its colours, if any, fill what no photo sees.
        maps: undistorted photos with poses. Depths are used only where the photos are to be
            levelled and `maps` do not know how yet.
        config: options.
        progress: called with the fraction done.

    Returns:
        The same surface with `texture` and `colors`. Faces that look large in the photos are
        split (`max_face_px`), so there can be more of them; original vertices keep their index.

    Raises:
        ReconstructionError: the mesh has no faces.
        UsageError: `max_atlas_px` is too small for the mesh.
    """
    if not len(mesh.faces):
        raise ReconstructionError(
            "The mesh has no faces, so there is nothing to texture.",
            next_step="Add photos that overlap by 60 % or more and show texture.",
        )
    mesh = split_large_faces(mesh, maps.views, config.max_face_px)
    if config.level_exposure:
        maps = levelled(maps)
    found = find_candidates(mesh, maps, config, part(progress, 0.0, 0.5))
    found = reject_outliers(found, sharpness(found, len(maps.views)), config)
    adjacency = face_adjacency(mesh.faces)
    views = choose_views(mesh, adjacency, found, config, part(progress, 0.5, 0.6))
    unseen = float((views < 0).mean())
    if unseen > 0:
        log.info("no photo sees %.1f %% of the faces; they get plain colours", 100 * unseen)

    progress(0.6, "laying out the atlas")
    charts = lay_out(mesh, maps, adjacency, views, config)
    raw = copy_photos(charts, maps, part(progress, 0.65, 0.85))
    progress(0.85, "hiding seams")
    shift = np.zeros((len(mesh.faces), 3, 3), np.float32)
    image, covered = np.zeros_like(raw), np.zeros(raw.shape[:2], np.uint8)
    if config.level_seams:
        shift = level_seams(mesh, charts, adjacency, found.view, raw, len(maps.views))
    progress(0.95, "painting the atlas")
    paint(charts, raw, shift, len(maps.views), image, covered, from_photo=True)
    dilate(image, covered, config.gutter_px)
    colors = vertex_colors(mesh, charts, len(maps.views), image)
    if unseen > 0:
        plain = colors[mesh.faces].astype(np.float32)
        paint(charts, raw, plain, len(maps.views), image, covered, from_photo=False)
    hide_background(image, covered, config.gutter_px)
    uv = charts.corners / [charts.width, charts.height]
    uv[..., 1] = 1.0 - uv[..., 1]
    log.info(
        "atlas %d x %d px, %d charts, photos at %.0f %% of their size",
        charts.width, charts.height, len(charts.chart_label), 100 * charts.scale,
    )  # fmt: skip
    progress(1.0, "textured")
    return replace(
        mesh,
        colors=np.rint(colors).astype(np.uint8),
        texture=Texture(image, uv.astype(np.float32)),
    )
