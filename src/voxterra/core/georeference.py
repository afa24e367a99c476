"""Placement of the components of a reconstruction in the world, with its accuracy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from voxterra.core.geo import GeoFrame, check_in_area, projected_crs
from voxterra.core.map_config import MapConfig
from voxterra.core.reconstruction import Reconstruction
from voxterra.core.registration import UnregisteredPhoto
from voxterra.core.transforms import Similarity

Method = Literal["gps+attitude", "gps", "none"]


@dataclass(frozen=True)
class PhotoResidual:
    """Camera centre of the placed model minus recorded position of one photo.

    Attributes:
        name: photo id.
        east_m, north_m, up_m: model minus GPS in world axes [m]; `up_m` is None when the photo
            records no height.
        sigma_horizontal_m, sigma_vertical_m: standard deviation the fit used for this position,
            a horizontal axis each and the vertical [m].
        outlier: True when the fit set this position aside.
    """

    name: str
    east_m: float
    north_m: float
    up_m: float | None
    sigma_horizontal_m: float
    sigma_vertical_m: float
    outlier: bool = False


@dataclass(frozen=True)
class Lag:
    """Recorded positions that all lag behind the cameras along their path.

    Attributes:
        distance_m: distance behind the cameras at the usual speed, negative ahead [m].
        sigma_m: its standard deviation [m].
        seconds: the same as a time, negative ahead; None if photos have no capture time.
        left_out_without_m, left_out_with_m: median horizontal misfit of photos that were left out
            of the fit, without and with the lag [m].
    """

    distance_m: float
    sigma_m: float
    seconds: float | None
    left_out_without_m: float
    left_out_with_m: float


@dataclass(frozen=True)
class Placement:
    """How one component was placed in the world.

    Attributes:
        world_from_model: from the component's own frame as structure from motion delivered it.
        placed: False if there was nothing to place it by.
        method: what placed it. "gps+attitude": positions, and camera attitudes for its tilt.
        residuals: one a photo with GPS, sorted by name.
        rmse_horizontal_m: root mean square of the 2-D residuals of the photos that are not
            outliers [m]; a measure of the GPS noise, not of the accuracy of the model.
        rmse_vertical_m: the same of the heights [m].
        tilt_sigma_deg: standard deviation of the model's tilt, of its worst direction [deg].
        heading_sigma_deg: standard deviation of the model's heading [deg].
        scale_sigma: relative standard deviation of the scale (0.01 = 1 %).
        position_sigma_horizontal_m, position_sigma_vertical_m: standard deviation of the position
            of the model's centre, with the part of the GPS error that all photos share [m].
        lag: lag of the recorded positions, None without; `world_from_model` and the residuals are
            corrected for it.
        apart: the component's own frame if it is too far from the others for one world; its
            coordinates are then in that frame, and it has products of its own.
        warnings: about this placement.
    """

    world_from_model: Similarity
    placed: bool
    method: Method
    residuals: tuple[PhotoResidual, ...] = ()
    rmse_horizontal_m: float | None = None
    rmse_vertical_m: float | None = None
    tilt_sigma_deg: float | None = None
    heading_sigma_deg: float | None = None
    scale_sigma: float | None = None
    position_sigma_horizontal_m: float | None = None
    position_sigma_vertical_m: float | None = None
    lag: Lag | None = None
    apart: GeoFrame | None = None
    warnings: tuple[str, ...] = ()

    @property
    def outliers(self) -> tuple[str, ...]:
        """Names of the photos whose recorded position was set aside."""
        return tuple(r.name for r in self.residuals if r.outlier)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary; `from_dict` is its inverse."""
        data = dict(vars(self))
        data["world_from_model"] = {
            "scale": self.world_from_model.scale,
            "rotation": self.world_from_model.rotation.tolist(),
            "translation": self.world_from_model.translation.tolist(),
        }
        data["lag"] = None if self.lag is None else dict(vars(self.lag))
        data["residuals"] = [dict(vars(r)) for r in self.residuals]
        data["apart"] = None if self.apart is None else self.apart.to_dict()
        data["warnings"] = list(self.warnings)
        return data

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Placement:
        """Inverse of `to_dict`. Raises KeyError or TypeError when `data` is something else."""
        fields = dict(data)
        similarity, apart = fields.pop("world_from_model"), fields.pop("apart", None)
        lag = fields.pop("lag", None)
        return Placement(
            world_from_model=Similarity(
                float(similarity["scale"]),
                np.array(similarity["rotation"], np.float64).reshape(3, 3),
                np.array(similarity["translation"], np.float64).reshape(3),
            ),
            residuals=tuple(PhotoResidual(**r) for r in fields.pop("residuals")),
            warnings=tuple(fields.pop("warnings")),
            lag=None if lag is None else Lag(**lag),
            apart=None if apart is None else GeoFrame.from_dict(apart),
            **fields,
        )


@dataclass(frozen=True)
class Georeference:
    """All components in one world.

    Attributes:
        frame: the frame of the world on Earth, or the local frame.
        components: in world coordinates, in the order they were given.
        placements: one a component.
        warnings: what holds for all components.
        unregistered: photos that are in no component, and why.
        numbers: how people count the components, where this is a part of a larger project and they
            have their numbers from there; () for 1, 2, ...
    """

    frame: GeoFrame
    components: tuple[Reconstruction, ...]
    placements: tuple[Placement, ...]
    warnings: tuple[str, ...] = ()
    unregistered: tuple[UnregisteredPhoto, ...] = ()
    numbers: tuple[int, ...] = ()

    def number(self, index: int) -> int:
        """The number of component `index` for people, counted from 1."""
        return self.numbers[index] if self.numbers else index + 1

    @property
    def all_warnings(self) -> tuple[str, ...]:
        """Warnings of the whole, then of each component."""
        return self.warnings + tuple(w for p in self.placements for w in p.warnings)

    @property
    def mappable_components(self) -> tuple[Reconstruction, ...]:
        """Components that may share dense products: those placed on the map.

        In a local frame nothing relates one component to another, so only the largest counts.
        """
        return tuple(self.components[index] for index in self.mappable_indices())

    def mappable_component_of_photo(self) -> dict[str, int]:
        """Index among all `components` of the first mappable one that holds a photo, by name."""
        return {
            image.name: index
            for index in reversed(self.mappable_indices())
            for image in self.components[index].images
        }

    def mappable_indices(self) -> list[int]:
        """Indices of `mappable_components` among all `components`."""
        here = [index for index, p in enumerate(self.placements) if p.apart is None]
        if self.frame.is_local:
            return here[:1]
        return [index for index in here if self.placements[index].placed]

    def frame_of(self, index: int) -> GeoFrame:
        """The frame of the coordinates of component `index`.

        The world's, or its own if it is far from the others; local if it is not placed.
        """
        placement = self.placements[index]
        if placement.apart is not None:
            return placement.apart
        return self.frame if placement.placed or self.frame.is_local else GeoFrame.local()

    def on_map(self, config: MapConfig) -> Georeference:
        """The same world, with the CRS and the vertical datum that products are to have.

        Components far from the others keep their own UTM zone.

        Raises:
            GeoError: the CRS is unknown, not projected, or not made for the place.
        """
        if config.crs is not None:
            projected_crs(config.crs)  # a wrong name is an error even where nothing is placed
        placements = tuple(
            p if p.apart is None else replace(p, apart=_framed(p.apart, None, config))
            for p in self.placements
        )
        frame, warnings = self.frame, list(self.warnings)
        if not frame.is_local:
            frame = _framed(frame, config.crs, config)
            warnings += _map_warnings(frame)
        elif config.crs is not None:
            warnings.append(f"--crs {config.crs} has no effect: nothing places the photos on Earth")
        return replace(self, frame=frame, placements=placements, warnings=tuple(warnings))


def _framed(frame: GeoFrame, crs: str | None, config: MapConfig) -> GeoFrame:
    frame = replace(frame, crs=crs or "", heights=config.heights)
    frame = replace(frame, crs=frame.map_crs)
    check_in_area(frame.crs, frame.lon, frame.lat)
    return frame


def _map_warnings(frame: GeoFrame) -> list[str]:
    """What a CRS costs in accuracy. The 2 m of the WGS 84 ensemble itself are no warning."""
    out = []
    accuracy, scale, datum = frame.map_accuracy_m(), frame.map_scale(), frame.datum_name()
    if datum != "WGS 84" and (accuracy is None or accuracy > 2.0):
        known = (
            f"no accuracy is known for the shift WGS 84 → {datum}"
            if accuracy is None
            else f"the shift WGS 84 → {datum} is accurate to {accuracy:.0f} m only, and so is the "
            "position of the products"
        )
        out.append(f"{known}; leave --crs out for the UTM zone of WGS 84")
    if abs(scale - 1.0) > 0.01:
        out.append(
            f"the map stretches lengths by {scale:.3f} there: measure in the 3D products, or give "
            "a --crs that is made for this place"
        )
    return out
