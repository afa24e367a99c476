import json

import pytest

from voxterra.core.geo import GeoFrame
from voxterra.errors import FormatError
from voxterra.georef.georeference import georeference
from voxterra.io.georeference import read_georeference, write_georeference


def test_write_read(survey, tmp_path):
    s = survey(n=9)
    found = georeference([s.model], s.photos)
    path = tmp_path / "georeference.json"
    write_georeference(found, path)
    again = read_georeference(path, found.components)
    assert again.frame == found.frame and again.warnings == found.warnings
    assert again.placements[0].to_dict() == found.placements[0].to_dict()
    assert again.placements[0].residuals == found.placements[0].residuals
    assert [p.name for p in tmp_path.iterdir()] == ["georeference.json"]


def test_a_local_one_too(survey, tmp_path):
    found = georeference([], survey(n=2).photos)
    write_georeference(found, tmp_path / "g.json")
    assert read_georeference(tmp_path / "g.json", ()).frame == GeoFrame.local()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "other"}', '{"format": "voxterra georeference 1"}', "\x00"]
)
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "g.json"
    path.write_text(text)
    with pytest.raises(FormatError):
        read_georeference(path, ())


def test_another_number_of_components_is_refused(survey, tmp_path):
    s = survey(n=9)
    write_georeference(georeference([s.model], s.photos), tmp_path / "g.json")
    with pytest.raises(FormatError, match="places 1"):
        read_georeference(tmp_path / "g.json", ())
    data = json.loads((tmp_path / "g.json").read_text())
    data["placements"][0]["surprise"] = 1
    (tmp_path / "g.json").write_text(json.dumps(data))
    with pytest.raises(FormatError):
        read_georeference(tmp_path / "g.json", (s.model,))
