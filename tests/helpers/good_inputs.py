"""A small good file of every format that a user can hand in, for tests that damage them."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import yaml
from PIL import Image as Pillow

from voxterra.core.camera import Camera
from voxterra.core.options import plain
from voxterra.core.reconstruction import Image, Reconstruction, SparsePoints
from voxterra.io.colmap.model import write_colmap
from voxterra.io.nerf import write_transforms
from voxterra.pipeline.recipe.presets import preset

XMP = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:drone-dji="http://www.dji.com/drone-dji/1.0/" xmlns:Camera="http://pix4d.com/camera/1.0"
 drone-dji:AbsoluteAltitude="+198.63" drone-dji:RelativeAltitude="+20.10"
 drone-dji:GpsLatitude="46.842691" drone-dji:GpsLongitude="-91.994427"
 drone-dji:GimbalRollDegree="+0.00" drone-dji:GimbalYawDegree="-45.30"
 drone-dji:GimbalPitchDegree="-89.90" drone-dji:FlightYawDegree="-45.10" drone-dji:RtkFlag="50"
 drone-dji:RtkStdLon="0.01" drone-dji:RtkStdLat="0.01" drone-dji:RtkStdHgt="0.02">
 <Camera:GPSXYAccuracy>0.5</Camera:GPSXYAccuracy></rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""

META_CSV = """filename,lat,lon,alt,yaw,pitch,roll,accuracy
a.jpg,46.842691,-91.994427,198.6,12.5,-90,0,2.5
b.jpg,46.842778,-91.994299,198.7,12.6,-89.5,0.1,2.5
"c, d.jpg",46.842865,-91.994177,198.6,,,,
"""

SCALE_BARS = """bar,length_m,photo,x1,y1,x2,y2
north,12.345,a.jpg,100.5,200.25,400.0,210.75
north,12.345,b.jpg,90,180,380,195
"""

AREA = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"name": "plot"},
            "geometry": {
                "type": "Polygon",
                "coordinates": [
                    [[-92.0, 46.8], [-91.9, 46.8], [-91.9, 46.9], [-92.0, 46.9], [-92.0, 46.8]]
                ],
            },
        }
    ],
}


def photo_bytes(seed: int = 0, kind: str = "JPEG", size: tuple[int, int] = (96, 64)) -> bytes:
    """A photo of smooth noise with EXIF (camera, time, GPS) and, in JPEG, XMP of a drone."""
    values = np.random.default_rng(seed).integers(0, 255, (size[1] // 8, size[0] // 8, 3), np.uint8)
    image = Pillow.fromarray(values).resize(size, Pillow.Resampling.BICUBIC)
    exif = Pillow.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112], exif[0x0132] = (
        "DJI",
        "FC300S",
        1,
        "2024:05:01 10:11:12",
    )
    exif.get_ifd(0x8769).update({0x9003: "2024:05:01 10:11:12", 0x920A: 3.61, 0xA405: 20})
    gps = {
        1: "N",
        2: (46.0, 50.0, 33.7),
        3: "W",
        4: (91.0, 59.0, 39.9),
        5: b"\0",
        6: 198.6,
        11: 2.0,
    }
    exif.get_ifd(0x8825).update(gps)
    out = io.BytesIO()
    if kind == "TIFF":
        gray = np.asarray(image.convert("L")).astype(np.uint16) * 257
        Pillow.fromarray(gray).save(out, kind, compression="tiff_lzw")
    else:
        image.save(out, kind, exif=exif, **({"xmp": XMP} if kind == "JPEG" else {}))
    return out.getvalue()


def reconstruction() -> Reconstruction:
    """Three images and five points."""
    turn = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
    images = []
    for index, name in enumerate(("a.jpg", "b c.jpg", "sub/d.jpg")):
        pose = np.array(turn)
        pose[0, 3] = -float(index)
        images.append(Image(name, 1 + index % 2, pose))
    cameras = {
        1: Camera("PINHOLE", 96, 64, (80.0, 80.0, 48.0, 32.0)),
        2: Camera("OPENCV", 96, 64, (80.0, 81.0, 48.0, 32.0, 0.01, -0.02, 0.001, 0.002)),
    }
    random = np.random.default_rng(1)
    points = SparsePoints(
        positions_in_world=random.normal(0, 1, (5, 3)) + np.array([0.0, 0.0, 5.0]),
        colors=random.integers(0, 255, (5, 3), np.uint8),
        errors_px=random.random(5),
        track_start=np.arange(0, 16, 3),
        track_image=np.tile(np.arange(3, dtype=np.int32), 5),
        track_xy=random.random((15, 2)) * 60,
    )
    return Reconstruction(cameras, tuple(images), points)


def ply_bytes(*, binary: bool) -> bytes:
    """A tetrahedron with colours."""
    kind = "binary_little_endian" if binary else "ascii"
    fields = [f"property float {n}" for n in "xyz"] + [
        f"property uchar {n}" for n in ("red", "green")
    ]
    fields += ["property uchar blue", "element face 4", "property list uchar int vertex_indices"]
    head = "\n".join(["ply", f"format {kind} 1.0", "element vertex 4", *fields, "end_header", ""])
    corners = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    faces = [(0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2)]
    if not binary:
        lines = [f"{x} {y} {z} 10 20 30" for x, y, z in corners]
        lines += [f"3 {a} {b} {c}" for a, b, c in faces]
        return (head + "\n".join(lines) + "\n").encode()
    body = b"".join(struct.pack("<3f3B", *corner, 10, 20, 30) for corner in corners)
    return head.encode() + body + b"".join(struct.pack("<B3i", 3, *face) for face in faces)


def write_good_inputs(folder: Path) -> dict[str, Path]:
    """One file (of `colmap_*`: one folder) of each format by name."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, bytes] = {
        "photo.jpg": photo_bytes(),
        "photo.png": photo_bytes(1, "PNG"),
        "photo.tif": photo_bytes(2, "TIFF"),
        "drone.xmp": XMP,
        "meta.csv": META_CSV.encode(),
        "bars.csv": SCALE_BARS.encode(),
        "area.geojson": json.dumps(AREA).encode(),
        "mesh.ply": ply_bytes(binary=True),
        "mesh_ascii.ply": ply_bytes(binary=False),
        "config.yaml": yaml.safe_dump(plain(preset("preview")), sort_keys=False).encode(),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with zipfile.ZipFile(folder / "photos.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images/a.jpg", photo_bytes(3))
        archive.writestr("images/b.jpg", photo_bytes(4))
        archive.writestr("meta.csv", META_CSV)
    write_colmap(reconstruction(), folder / "colmap_binary")
    write_colmap(reconstruction(), folder / "colmap_text", text=True)
    write_transforms(reconstruction(), folder / "transforms.json")
    matrices = np.tile(np.eye(4), (2, 1, 1))
    scaled = {f"{kind}_mat_{i}": matrices[i] for kind in ("world", "scale") for i in range(2)}
    np.savez(folder / "cameras_sphere.npz", **scaled)
    names = (
        *files,
        "cameras_sphere.npz",
        "photos.zip",
        "colmap_binary",
        "colmap_text",
        "transforms.json",
    )
    return {name: folder / name for name in names}
