from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from voxterra.core.photos import Photo
from voxterra.core.progress import no_progress
from voxterra.sfm.features.staging import stage_photos


def test_other_photos_and_masks_replace_those_of_an_earlier_run(
    photo: Callable[..., Photo], tmp_path: Path
) -> None:
    """Even if their files are older: dates of copied files say nothing."""

    def stage(value: int, masked: bool, mtime: int) -> tuple[np.ndarray, list[int], list[str]]:
        path, mask = tmp_path / f"{value}.tif", tmp_path / f"{value}.png"
        Image.fromarray(np.full((8, 10, 3), value, np.uint8)).save(path)
        Image.fromarray(np.full((8, 10), value, np.uint8)).save(mask)
        for written in (path, mask):
            os.utime(written, (mtime, mtime))
        fields = {"path": path, "width": 10, "height": 8, "mask_path": mask if masked else None}
        work = tmp_path / "work"
        staged = stage_photos((photo(0, **fields),), work, progress=no_progress)
        with Image.open(staged.image_dir / staged.names[0]) as image:
            pixels = np.asarray(image)
        masks = sorted(staged.mask_dir.glob("*"))
        return pixels, [int(np.asarray(Image.open(m)).max()) for m in masks], staged.masked_names

    first, masks, names = stage(200, True, 2_000_000_000)
    assert np.abs(first.astype(int) - 200).max() <= 2 and masks == [255] and len(names) == 1
    second, masks, names = stage(0, True, 1_000_000_000)
    assert second.max() <= 2 and masks == [0] and len(names) == 1
    third, masks, names = stage(90, False, 1_000_000_000)
    assert np.abs(third.astype(int) - 90).max() <= 2 and masks == [] and names == []
