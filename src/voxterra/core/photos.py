"""Photos as delivered: files with their metadata."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

HeightReference = Literal["ellipsoidal", "egm96", "unknown"]


@dataclass(frozen=True)
class Gps:
    """Position of the camera as recorded.

    Attributes:
        lon, lat: [deg], WGS 84.
        height_m: height, or None when not recorded [m].
        height_reference: zero of the height: the ellipsoid, or mean sea level (EGM96).
        sigma_horizontal_m, sigma_vertical_m: stated standard deviations, None when not stated [m].
        source: where it was read: "exif", "xmp", "meta.csv".
    """

    lon: float
    lat: float
    height_m: float | None
    height_reference: HeightReference = "egm96"
    sigma_horizontal_m: float | None = None
    sigma_vertical_m: float | None = None
    source: str = "exif"


@dataclass(frozen=True)
class Attitude:
    """Attitude of the camera's optical axis, as drones write it.

    Attributes:
        yaw_deg: clockwise from true north.
        pitch_deg: 0 horizontal, -90 straight down.
        roll_deg: about the optical axis, 0 = horizon level.
        sigma_deg: standard deviation, None when not stated.
    """

    yaw_deg: float
    pitch_deg: float
    roll_deg: float = 0.0
    sigma_deg: float | None = None


@dataclass(frozen=True)
class Photo:
    """One usable photo.

    Attributes:
        id: unique name within the set: the path relative to the input folder, "/" separated.
        path: the file on this machine.
        width, height: of the pixel array as stored in the file, before EXIF orientation [px].
        sha256: of the file's bytes.
        orientation: EXIF orientation 1..8. Voxterra works on pixels as stored: orientation is
            recorded, never applied.
        focal_35mm: 35 mm equivalent focal length [mm], or None.
        focal_px: focal length guessed from metadata [px], or None.
        camera_key: photos with the same key share one set of intrinsics.
        captured_at: ISO 8601 local time, or None.
        mask_path: 8 bit image of the photo's size, 0 = ignore, or None.
        sharpness: variance of the Laplacian on a 1000 px wide grey version.
        brightness: mean grey value in [0, 1].
        blown, black: share of pixels at the bright and at the dark end, in [0, 1].
        height_above_takeoff_m: as a drone recorded it, or None [m].
        exposure_ev: log2 of the exposure given, shutter [s] * ISO / 100 / f-number^2: a photo with
            1 more shows the same scene twice as bright (in linear light). None unknown.
        stretch: values that features, stereo and colour show black and white, the same for all
            photos of a set; None: the photo has 8 bits, or is shown as its bits are.
        warnings: about this photo.
    """

    id: str
    path: Path
    width: int
    height: int
    sha256: str
    gps: Gps | None = None
    attitude: Attitude | None = None
    orientation: int = 1
    make: str | None = None
    model: str | None = None
    focal_mm: float | None = None
    focal_35mm: float | None = None
    focal_px: float | None = None
    camera_key: str = ""
    captured_at: str | None = None
    mask_path: Path | None = None
    sharpness: float = 0.0
    brightness: float = 0.0
    exposure_ev: float | None = None
    blown: float = 0.0
    black: float = 0.0
    height_above_takeoff_m: float | None = None
    stretch: tuple[float, float] | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class RejectedFile:
    """A file of the input that is not used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class PhotoSet:
    """The photos of a project, sorted by id, and the files that were left out.

    Attributes:
        root: folder that `Photo.id` is relative to.
        warnings: what holds for the set as a whole (duplicates, mixed cameras, no GPS).
    """

    root: Path
    photos: tuple[Photo, ...]
    rejected: tuple[RejectedFile, ...] = ()
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.photos)

    def by_id(self) -> dict[str, Photo]:
        return {photo.id: photo for photo in self.photos}
