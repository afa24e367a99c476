"""Sparse-voxel files: exact, with 8 bits a number, and damaged."""

import contextlib
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from voxel_models import around_surface, model_of, octants, torus, tree

from voxterra.core.voxels import VoxelModel, corner_keys, corners
from voxterra.errors import FormatError, OutputError
from voxterra.io.voxel_codec import largest_edges
from voxterra.io.voxels import read_voxels, write_voxels


@pytest.fixture(scope="module")
def model() -> VoxelModel:
    """A torus over four levels, with what lies far from it pruned, off the origin, degree 3."""
    distance, center = torus(0.6, 0.25), (10.0, -20.0, 5.0)
    local = lambda x: distance(x - np.array(center))  # noqa: E731
    path, level = tree(
        around_surface(local, lambda x: octants(4, 7)(x - center)), edge=4.0, center=center
    )
    whole = model_of(local, path, level, center=center, degree=3)
    keep = np.abs(local(whole.lower + whole.edge[:, None] / 2)) < 3 * whole.edge
    path, level = path[keep], level[keep]
    keys = corner_keys(path, level)
    sdf = whole.sdf[np.searchsorted(corner_keys(whole.path, whole.level), keys)]
    return replace(whole, path=path, level=level, sdf=sdf, sh0=whole.sh0[keep],
                   shs=whole.shs[keep])  # fmt: skip


def test_exact_round_trip(model, tmp_path):
    write_voxels(model, tmp_path / "deep" / "model.npz")
    again = read_voxels(tmp_path / "deep" / "model.npz")
    for name in ("path", "level", "sdf", "sh0", "shs", "sharpness", "background", "center"):
        given, read = getattr(model, name), getattr(again, name)
        assert given.dtype == read.dtype and (given == read).all(), name
    assert (again.inside_edge, again.outside_level) == (2.0, 1)
    assert again.metadata == {"source": "test"}
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["model.npz"]


def test_an_octree_of_one_leaf_and_an_empty_one(tmp_path):
    zeros = np.zeros((1, 3), np.float32)
    one = VoxelModel(
        np.zeros(3), 1.0, 0, np.zeros(1, np.int64), np.zeros(1, np.int8), np.ones(8, np.float32),
        zeros, np.zeros((1, 0, 3), np.float32), np.ones(17, np.float32), zeros[0],
    )  # fmt: skip
    none = replace(one, path=one.path[:0], level=one.level[:0], sdf=one.sdf[:0],
                   sh0=one.sh0[:0], shs=one.shs[:0])  # fmt: skip
    for given in (one, none):
        for quantized in (False, True):
            write_voxels(given, tmp_path / "m.npz", quantized=quantized)
            again = read_voxels(tmp_path / "m.npz")
            assert again.n_voxels == given.n_voxels and again.shs.shape == given.shs.shape


def test_quantised_is_a_quarter_and_close(model, tmp_path):
    exact, small = tmp_path / "exact.npz", tmp_path / "small.npz"
    write_voxels(model, exact)
    write_voxels(model, small, quantized=True)
    assert small.stat().st_size < 0.3 * exact.stat().st_size
    again = read_voxels(small)
    assert (again.path == model.path).all() and (again.level == model.level).all()
    # Signs are kept: no corner changes its side.
    assert ((again.sdf < 0) == (model.sdf < 0)).all()
    unit = largest_edges(model.path, model.level) * model.cube.edge
    error, u = np.abs(again.sdf - model.sdf) / unit, np.abs(model.sdf) / unit
    assert (error[u < 7.9] <= 0.5 * (0.01 + 0.0235 * u[u < 7.9]) * 1.03).all()
    assert error[u < 1].mean() < 0.006 and error[u < 1].max() < 0.0175  # in edges
    # Colours: the base colours of a block span little; the noise of the others 8 sigma = 0.8.
    assert np.abs(again.base_color - model.base_color).max() < 1.5 / 255
    assert np.abs(again.shs - model.shs).max() < 0.002
    assert np.abs(again.shs - model.shs).mean() < 0.001


def test_quantised_twice_is_quantised_once(model, tmp_path):
    write_voxels(model, tmp_path / "once.npz", quantized=True)
    once = read_voxels(tmp_path / "once.npz")
    write_voxels(once, tmp_path / "twice.npz", quantized=True)
    assert (read_voxels(tmp_path / "twice.npz").sdf == once.sdf).all()


def test_largest_edge_at_a_corner(model):
    _, index = corners(model.path, model.level)
    edge = largest_edges(model.path, model.level)
    own = 2.0 ** -model.level.astype(float)
    assert (edge[index] >= own[:, None]).all()
    assert (np.isin(edge, own)).all() and (edge[index].min(1) <= 2 * own).mean() > 0.5


def test_an_invalid_model_is_not_written(model, tmp_path):
    with pytest.raises(OutputError, match="signed distances for"):
        write_voxels(replace(model, sdf=model.sdf[1:]), tmp_path / "m.npz")
    assert not list(tmp_path.iterdir())


def _rewritten(source, target, **changes):
    with np.load(source) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(target, **(arrays | changes))


def test_damage_is_a_format_error(model, tmp_path):
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    write_voxels(model, good, quantized=True)
    with np.load(good) as file:
        header = json.loads(str(file["header"]))
    for changes, said in [
        ({"header": np.array("{}")}, "kind"),
        ({"header": np.array(json.dumps(header | {"kind": "mesh"}))}, "another kind"),
        ({"header": np.array(json.dumps(header | {"version": 99}))}, "version 99"),
        ({"header": np.array(json.dumps(header | {"center": [0, 1]}))}, "center"),
        ({"level": np.full(model.n_voxels, 17, np.int8)}, "levels"),
        ({"level": model.level[1:]}, "."),
        ({"gap": np.full(1, -5), "gap_at": np.zeros(1, np.int32)}, "gaps"),
        ({"sdf": np.zeros(5, np.uint8)}, "5 signed distances"),
        ({"sh0_step": np.zeros((1, 3), np.float32)}, "blocks"),
        ({"sharpness": np.full(17, np.nan, np.float32)}, "not finite"),
    ]:
        _rewritten(good, bad, **changes)
        with pytest.raises(FormatError, match=said) as error:
            read_voxels(bad)
        assert error.value.where == str(bad) and error.value.next_step
    with pytest.raises(FormatError):
        read_voxels(tmp_path / "missing.npz")


def test_any_broken_byte_is_an_error_or_harmless(model, tmp_path):
    keep = slice(0, 64)
    small = replace(
        model, path=model.path[keep], level=model.level[keep], sh0=model.sh0[keep],
        shs=model.shs[keep],
        sdf=np.ones(len(corner_keys(model.path[keep], model.level[keep])), np.float32),
    )  # fmt: skip
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    write_voxels(small, good)
    data, rng = good.read_bytes(), np.random.default_rng(0)
    for cut in (0, 1, 100, len(data) // 2, len(data) - 1):
        bad.write_bytes(data[:cut])
        with pytest.raises(FormatError):
            read_voxels(bad)
    for _ in range(300):
        broken = bytearray(data)
        broken[rng.integers(len(data))] ^= 1 << rng.integers(8)
        bad.write_bytes(broken)
        with contextlib.suppress(FormatError):
            assert read_voxels(bad).why_invalid() is None


def test_anyone_can_open_the_file(model, tmp_path):
    write_voxels(model, tmp_path / "m.npz")
    with zipfile.ZipFile(tmp_path / "m.npz") as file:
        assert file.testzip() is None
        assert {"header.npy", "level.npy", "sdf.npy", "shs.npy"} <= set(file.namelist())
