"""Widths of camera sensors, for photos whose EXIF gives a focal length in millimetres only.

Nominal widths of the image area's long side, from the makers' public data sheets. Cameras with
exchangeable or several lenses are listed only when all of them share one sensor.
"""

from __future__ import annotations

_INCH_2_3 = 6.17  # the "1/2.3 inch" format
_INCH_1 = 13.2  # the "1 inch" format
_FOUR_THIRDS = 17.3

# (make or None, model) in lower case to width [mm].
_WIDTH_MM: dict[str, float] = {
    "dji fc300s": _INCH_2_3,  # Phantom 3 Professional
    "dji fc300x": _INCH_2_3,
    "dji fc300c": _INCH_2_3,
    "dji fc300xw": _INCH_2_3,
    "dji fc330": _INCH_2_3,  # Phantom 4
    "dji fc350": _INCH_2_3,  # Inspire 1, X3
    "dji fc220": _INCH_2_3,  # Mavic Pro
    "dji fc2103": _INCH_2_3,  # Mavic Air
    "dji fc2204": _INCH_2_3,  # Mavic 2 Zoom
    "dji fc6310": _INCH_1,  # Phantom 4 Pro
    "dji fc6310s": _INCH_1,
    "dji fc6310r": _INCH_1,  # Phantom 4 RTK
    "dji fc550": _FOUR_THIRDS,  # X5
    "dji fc6520": _FOUR_THIRDS,  # X5S
    "hasselblad l1d-20c": _INCH_1,  # Mavic 2 Pro
    "dji zenmusep1": 35.9,
    "parrot sequoia": 4.8,  # the four bands; its colour camera is told apart by its size
    "parrot anafi": 5.9,
    "autel robotics xt701": 6.4,
    "yuneec cgo3+": _INCH_2_3,
    "gopro hero3+ black edition": _INCH_2_3,
    "gopro hero4 black": _INCH_2_3,
    "gopro hero5 black": _INCH_2_3,
    "gopro hero7 black": _INCH_2_3,
    "canon eos digital rebel xsi": 22.2,  # sold as 450D and Kiss X2 too
    "canon eos 450d": 22.2,
    "canon eos kiss x2": 22.2,
    "canon eos 5d mark ii": 36.0,
    "canon eos 5d mark iii": 36.0,
    "canon eos 6d": 35.8,
    "canon powershot s100": 7.44,
    "canon powershot s110": 7.44,
    "canon powershot sx260 hs": _INCH_2_3,
    "nikon d90": 23.6,
    "nikon d800": 35.9,
    "nikon d810": 35.9,
    "sony ilce-6000": 23.5,
    "sony ilce-7rm2": 35.9,
    "sony ilce-7rm4": 35.7,
    "sony dsc-rx100": _INCH_1,
    "sony dsc-wx220": _INCH_2_3,
    "sony nex-5": 23.4,
    "ricoh gr": 23.7,
    "apple iphone 4s": 4.54,
    "apple iphone 5": 4.54,
    "apple iphone 5s": 4.89,
    "apple iphone 6": 4.8,
}


def sensor_width_mm(make: str | None, model: str | None) -> float | None:
    """Width of the long side of a camera's sensor [mm], or None when the camera is not listed."""
    if not model:
        return None
    model = " ".join(model.lower().split())
    make = " ".join((make or "").lower().split())
    for maker in (make, make.split(" ")[0]):
        # Some makers repeat their name in the model ("Canon" + "Canon EOS 6D").
        for name in (f"{maker} {model}".strip(), model):
            if name in _WIDTH_MM:
                return _WIDTH_MM[name]
    return None
