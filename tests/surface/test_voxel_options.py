"""Options of a training: who overrides whom, and what is said about a wrong one."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from voxterra.errors import FormatError, UsageError
from voxterra.surface.voxels.config import VoxelConfig
from voxterra.surface.voxels.options import (
    Training,
    checked,
    option_help,
    preset_names,
    resolve,
)


def yaml_file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_later_sources_override_earlier_ones(tmp_path):
    first = yaml_file(tmp_path, "a.yaml", "n_iter: 100\nlambda_ssim: 0.5\nss: 1.0\n")
    second = yaml_file(tmp_path, "b.yaml", "lambda_ssim: 0.25\nss: 2.0\n")
    given = resolve({"ss": 1.25}, preset="object", cfg_files=(first, second)).config
    assert (given.n_iter, given.lambda_ssim, given.ss) == (100, 0.25, 1.25)
    assert given.white_background and given.outside_level == 1  # of the preset
    assert given.geo_lr == VoxelConfig().geo_lr
    turned = resolve({}, cfg_files=(second, first)).config
    assert (turned.lambda_ssim, turned.ss) == (0.5, 1.0)
    over_preset = yaml_file(tmp_path, "c.yaml", "white_background: false\n")
    assert not resolve({}, preset="object", cfg_files=(over_preset,)).config.white_background


def test_sections_are_headings(tmp_path):
    file = yaml_file(
        tmp_path,
        "svraster.yaml",
        "data:\n  source_path: scans/24\n  res_downscale: 2\n  image_dir_name: images_2\n"
        "bounding:\n  outside_level: 3\nregularizer:\n  lambda_ge_density: 1e-8\n"
        "  bound: [0, 0, 0, 1, 2, 3]\nprocedure:\n  n_iter: 8000.0\n",
    )
    given = resolve({}, cfg_files=(file,))
    assert given.source_path == Path("scans/24") and given.image_dir_name == "images_2"
    assert given.config == VoxelConfig(
        res_downscale=2.0,
        outside_level=3,
        lambda_ge_density=1e-8,
        bound=(0.0, 0.0, 0.0, 1.0, 2.0, 3.0),
        n_iter=8000,
    )


def test_what_is_wrong_with_a_file_is_told(tmp_path):
    typo = yaml_file(tmp_path, "typo.yaml", "optimizer:\n  lambda_sim: 0.1\n")
    with pytest.raises(UsageError, match="did you mean 'lambda_ssim'") as caught:
        resolve({}, cfg_files=(typo,))
    assert caught.value.where == str(typo)
    kind = yaml_file(tmp_path, "kind.yaml", "n_iter: many\n")
    with pytest.raises(UsageError, match="'many'") as caught:
        resolve({}, cfg_files=(kind,))
    assert str(kind) in str(caught.value.where) and "n_iter" in str(caught.value.where)
    half = yaml_file(tmp_path, "half.yaml", "n_iter: 10.5\n")
    with pytest.raises(UsageError, match=r"10\.5"):
        resolve({}, cfg_files=(half,))
    twice = yaml_file(tmp_path, "twice.yaml", "a:\n  ss: 1.0\nb:\n  ss: 2.0\n")
    with pytest.raises(UsageError, match="stands there twice"):
        resolve({}, cfg_files=(twice,))
    for text in ("- a\n- b\n", "a: [\n"):
        with pytest.raises(FormatError):
            resolve({}, cfg_files=(yaml_file(tmp_path, "bad.yaml", text),))
    with pytest.raises(FormatError, match="No such file"):
        resolve({}, cfg_files=(tmp_path / "none.yaml",))


def test_presets_all_resolve():
    assert set(preset_names()) == {"object", "dtu", "outdoor", "uav", "indoor"}
    for name in preset_names():
        assert resolve({}, preset=name).config != VoxelConfig()
    with pytest.raises(UsageError, match="did you mean 'outdoor'"):
        resolve({}, preset="outdor")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_iter": 0}, "n_iter"),
        ({"sh_degree": 4}, "sh_degree"),
        ({"lambda_photo": float("nan")}, "lambda_photo"),
        ({"geo_lr": -0.1}, "geo_lr"),
        ({"optim_beta2": 1.0}, "optim_beta2"),
        ({"bound": (0, 0, 0, 1, 1, 0)}, "bound"),
        ({"outside_level": 9}, "levels outside"),
        ({"init_level": 12}, "levels outside"),
        ({"init_n_level": 12}, "levels outside"),
        ({"seed": -1}, "seed"),
        ({"ss": 0.5}, "ss"),
        ({"bound_mode": "pdc"}, "'pdc' is not one of"),
    ],
)
def test_values_that_cannot_be(wrong, message):
    with pytest.raises(UsageError, match=message):
        resolve(wrong)


def test_only_what_has_no_effect_is_warned_about(caplog):
    resolve({"n_samp_per_vox": 3, "lambda_ascending": 0.01, "sharpness_lr": 0.001})
    assert not caplog.records
    resolve({"subdivide_save_gpu": True})
    assert "--subdivide_save_gpu has no effect" in caplog.text
    for wrong in ({"n_samp_per_vox": 0}, {"n_samp_per_vox": 17}, {"sharpness_lr": -1.0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            resolve(wrong)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bound: [1, 2]", "6 numbers: x_min y_min z_min x_max y_max z_max"),
        ("n_iter: many", "a whole number"),
        ("ss: [1]", "a number"),
        ("eval: 3", "true or false"),
    ],
)
def test_values_of_another_kind_are_explained_without_python(tmp_path, text, message):
    with pytest.raises(UsageError) as error:
        resolve({}, cfg_files=[yaml_file(tmp_path, "a.yaml", text)])
    assert error.value.what.endswith(f"which takes {message}.")


def test_base_holds_where_nobody_says_otherwise():
    base = Training(Path("scene"), "photos", replace(VoxelConfig(), n_iter=50))
    given = resolve({"ss": 1.0}, base=base)
    assert given.source_path == Path("scene") and given.image_dir_name == "photos"
    assert given.config.n_iter == 50 and given.config.ss == 1.0
    assert checked(VoxelConfig()) == VoxelConfig()


def test_every_option_is_explained():
    names = [field.name for field in fields(VoxelConfig)]
    helps = option_help()
    assert set(helps) == set(names) and all(text.endswith(".") for text in helps.values())
