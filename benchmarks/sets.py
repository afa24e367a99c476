"""The rows of the accuracy table: photos, options, what is scored, and what must come out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Eval:
    """One call of `voxterra eval`.

    Attributes:
        name: of the figures in the result file.
        verb: such as "poses".
        truth: below the data folder.
        options: further arguments.
        picture: keep a picture of the errors; only of sets whose licence lets it be published.
    """

    name: str
    verb: str
    truth: str
    options: tuple[str, ...] = ()
    picture: bool = False


@dataclass(frozen=True)
class Check:
    """A figure and what it must be.

    Attributes:
        text: for people.
        figure: dotted path into the result file.
        relation: "<=", ">=", "==", "" for a figure that is only stated.
        bound: to compare with.
        factor, unit: how the figure is shown.
        aim: True when missing it is not a failure.
    """

    text: str
    figure: str
    relation: str = ""
    bound: float = 0.0
    factor: float = 1.0
    unit: str = ""
    aim: bool = False


@dataclass(frozen=True)
class Row:
    """A set, how it is run, and what is asked of it.

    Attributes:
        photos: below the data folder; "demo/photos" is in the repository.
        preset: of `voxterra run`.
        cold: run with an empty kernel cache.
    """

    photos: str
    preset: str
    evals: tuple[Eval, ...] = ()
    checks: tuple[Check, ...] = ()
    options: tuple[str, ...] = ()
    cold: bool = False


def _registered(total: int) -> Check:
    return Check(f"photos registered of {total}", "cameras.registered", "==", total)


_WALL = "wall_s"
_SYNTHETIC, _STREET = "synthetic_uav", "synthetic_street"
_AT = ("--thresholds", "0.05", "0.15", "0.5")
_BRIGHTON_TRUTH = "uav_brighton_beach/reference/model.laz"

ROWS: dict[str, Row] = {
    "demo": Row(
        "demo/photos",
        "preview",
        checks=(
            Check("run from an empty kernel cache", _WALL, "<=", 360, unit="s"),
            Check("photos registered", "cameras.registered", ">=", 10),
        ),
        cold=True,
    ),
    "smoke_berlin": Row(
        "smoke_berlin/images",
        "preview",
        checks=(
            Check("run from an empty kernel cache", _WALL, "<=", 90, unit="s"),
            _registered(3),
        ),
        cold=True,
    ),
    "uav_brighton_beach": Row(
        "uav_brighton_beach/images",
        "standard",
        evals=(
            Eval("raster", "raster", _BRIGHTON_TRUTH, ("--align", "none"), picture=True),
            Eval("fitted", "raster", _BRIGHTON_TRUTH, ("--align", "surface"), picture=True),
        ),
        checks=(
            _registered(18),
            Check("horizontal GPS fit, RMS", "georef.rmse_horizontal_m", "<=", 0.6, unit="m"),
            Check(
                "DSM against the reference cloud, one offset removed: median |d|",
                "evals.raster.median_abs_m",
                unit="m",
            ),
            Check("the same: NMAD", "evals.raster.nmad_m", unit="m"),
            Check(
                "DSM fitted to the reference by its shape: median |d|",
                "evals.fitted.median_abs_m",
                unit="m",
            ),
        ),
    ),
    "uav_brighton_beach_preview": Row(
        "uav_brighton_beach/images",
        "preview",
        evals=(Eval("raster", "raster", _BRIGHTON_TRUTH, ("--align", "none")),),
        checks=(
            _registered(18),
            Check("wall time", _WALL, "<=", 300, unit="s"),
            Check("peak memory", "peak_rss_bytes", "<=", 4e9, 1e-9, "GB"),
            Check(
                "DSM against the reference cloud, one offset removed: median |d|",
                "evals.raster.median_abs_m",
                unit="m",
            ),
        ),
    ),
    _SYNTHETIC: Row(
        "synthetic_uav/images",
        "standard",
        evals=(
            Eval("poses", "poses", _SYNTHETIC),
            Eval("frame", "frame", _SYNTHETIC),
            Eval("depth", "depth", _SYNTHETIC, picture=True),
            Eval("surface", "surface", _SYNTHETIC, picture=True),
            Eval("raster", "raster", _SYNTHETIC, picture=True),
        ),
        checks=(
            _registered(24),
            Check("camera centres, worst", "evals.poses.center_max", "<=", 0.05, unit="m"),
            Check("DSM cells filled", "evals.raster.filled", ">=", 0.95, 100, "%"),
            Check("DSM cells measured, not filled in", "evals.raster.measured", "", 0, 100, "%"),
            Check("DSM NMAD", "evals.raster.nmad_m", "<=", 0.15, unit="m"),
            Check(
                "depth maps pooled, pixels that 3 photos see, within 0.5 %",
                "evals.depth.pooled_seen.within_0.5_percent",
                ">=",
                0.85,
                100,
                "%",
            ),
            Check(
                "the same of all pixels with a true depth",
                "evals.depth.pooled.within_0.5_percent",
                "",
                0,
                100,
                "%",
            ),
            Check(
                "mesh F-score at 0.2 m",
                "evals.surface.thresholds.2.f_score",
                ">=",
                0.75,
                aim=True,
            ),
            Check("GPS frame: tilt", "evals.frame.tilt_deg", "<=", 0.6, unit="deg"),
            Check("GPS frame: scale", "evals.frame.scale_ratio"),
            Check("GPS frame: offset east", "evals.frame.offset_m.0", unit="m"),
            Check("GPS frame: offset north", "evals.frame.offset_m.1", unit="m"),
            Check("GPS frame: offset up", "evals.frame.offset_m.2", unit="m"),
        ),
    ),
    # The folder, not images/ in it: the attitudes are in meta.csv.
    "street_lund": Row(
        "street_lund/images",
        "preview",
        checks=(
            Check("photos registered of 29", "cameras.registered", ">=", 27),
            Check("focal length, 995.6 by the metadata", "cameras.focal_px", ">=", 846, unit="px"),
            Check("the same", "cameras.focal_px", "<=", 1145, unit="px"),
            Check("horizontal GPS fit, RMS", "georef.rmse_horizontal_m", "<=", 6.0, unit="m"),
            Check("tilt as stated, 1 sigma", "georef.tilt_sigma_deg", unit="deg"),
        ),
        options=("--until", "georef"),
    ),
    _STREET: Row(
        _STREET,
        "preview",
        evals=(
            Eval("poses", "poses", _STREET),
            Eval("frame", "frame", _STREET),
            Eval("depth", "depth", _STREET),
            Eval("walls", "surface", _STREET, ("--labels", "1", *_AT), picture=True),
            Eval("surface", "surface", _STREET, _AT),
        ),
        checks=(
            _registered(20),
            Check("camera centres, worst", "evals.poses.center_max", "<=", 0.05, unit="m"),
            Check(
                "walls of buildings that 3 photos see, F-score at 0.15 m",
                "evals.walls.thresholds.1.f_score",
            ),
            Check("the same: precision", "evals.walls.thresholds.1.precision"),
            Check("the same: recall", "evals.walls.thresholds.1.recall"),
            Check(
                "all faces that 3 photos see, F-score at 0.15 m",
                "evals.surface.thresholds.1.f_score",
            ),
            Check(
                "depth maps pooled, pixels that 3 photos see, within 0.5 %",
                "evals.depth.pooled_seen.within_0.5_percent",
                "",
                0,
                100,
                "%",
            ),
            Check("GPS frame with attitudes: tilt", "evals.frame.tilt_deg", "<=", 1.0, unit="deg"),
            Check("the same as stated, 1 sigma", "georef.tilt_sigma_deg", unit="deg"),
            Check("GPS frame: scale", "evals.frame.scale_ratio"),
            Check("the same as stated, 1 sigma", "georef.scale_sigma", "", 0, 100, "%"),
        ),
    ),
    "synthetic_street_without_attitudes": Row(
        f"{_STREET}/images",
        "preview",
        evals=(Eval("frame", "frame", _STREET),),
        checks=(
            _registered(20),
            Check("GPS frame without attitudes: tilt", "evals.frame.tilt_deg", unit="deg"),
            Check("the same as stated, 1 sigma", "georef.tilt_sigma_deg", unit="deg"),
        ),
        options=("--until", "georef"),
    ),
    "fountain_p11": Row(
        "fountain_p11/images",
        "standard",
        evals=(Eval("poses", "poses", "fountain_p11"),),
        checks=(
            _registered(11),
            Check("camera centres, mean", "evals.poses.center_mean", "<=", 0.008, 1000, "mm"),
        ),
    ),
    "indoor_rgbd_7scenes": Row(
        "indoor_rgbd_7scenes/images",
        "standard",
        evals=(
            Eval("poses", "poses", "indoor_rgbd_7scenes"),
            Eval("depth", "depth", "indoor_rgbd_7scenes", ("--align", "scale")),
        ),
        checks=(
            _registered(40),
            Check(
                "valid Kinect pixels with a depth",
                "evals.depth.pooled.completeness",
                ">=",
                0.5,
                100,
                "%",
            ),
            Check(
                "median relative depth error after scale",
                "evals.depth.pooled.median_relative_error",
                "<=",
                0.03,
                100,
                "%",
                aim=True,
            ),
        ),
    ),
}
