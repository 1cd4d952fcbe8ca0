"""What other people's tools find in our files, and what is left where they have been at work."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.media.formats import EXTENSIONS, IMAGE_FORMATS, ImageFormat
from scene_pipeline.media.inspection import InspectionOrder, inspect_image
from scene_pipeline.media.metadata import read_metadata
from scene_pipeline_tests.standins.pictures import scene_file

EXIFTOOL = shutil.which("exiftool")
pytestmark = pytest.mark.skipif(
    EXIFTOOL is None,
    reason="no exiftool on this machine: apt-get install libimage-exiftool-perl",
)
FACTS = {
    "prompt": 'A "keeper" <climbs> & waits\r\nthe night: 霧の灯台, Ёлка, 🌊',
    "model": "fal-ai/flux/schnell",
    "provider": "fal",
    "seed": "1234567890123",
    "generation_id": "272c5bec-b355-4e11-bd35-d510036b19d1",
    "project": "lighthouse",
    "project_id": "71c256f2-808e-4570-b083-f25cd7527475",
    "scene_id": "scene_1",
}


def exiftool(*arguments: str | Path) -> str:
    assert EXIFTOOL is not None
    done = subprocess.run(
        [EXIFTOOL, *arguments], capture_output=True, encoding="utf-8", timeout=60, check=True
    )
    return done.stdout


def tags_of(path: Path) -> dict[str, Any]:
    [found] = json.loads(exiftool("-j", "-G1", path))
    assert not [name for name in found if name.endswith((":Warning", ":Error"))]
    return dict(found)


def frame(folder: Path, image_format: ImageFormat, prompt: str | None = None) -> Path:
    """A frame as it is stored."""
    facts = FACTS if prompt is None else {**FACTS, "prompt": prompt}
    order = InspectionOrder(metadata=facts, embed=True)
    path = folder / f"frame.{EXTENSIONS[image_format]}"
    path.write_bytes(inspect_image(scene_file(image_format), order).data)
    return path


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_every_fact_is_a_property_of_xmp_in_every_format(
    tmp_path: Path, image_format: ImageFormat
) -> None:
    tags = tags_of(frame(tmp_path, image_format))
    assert tags["XMP-dc:Description"] == FACTS["prompt"]
    assert tags["XMP-sp:Model"] == FACTS["model"]
    assert tags["XMP-sp:Provider"] == FACTS["provider"]
    assert tags["XMP-sp:Seed"] == int(FACTS["seed"])
    assert tags["XMP-sp:GenerationId"] == FACTS["generation_id"]
    assert tags["XMP-sp:Project"] == FACTS["project"]
    assert tags["XMP-sp:SceneId"] == FACTS["scene_id"]
    assert tags["XMP-xmp:CreatorTool"] == "Scene Pipeline"
    assert tags["XMP-iptcExt:DigitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert tags["XMP-iptcExt:AIPromptInformation"] == FACTS["prompt"]
    assert tags["XMP-iptcExt:AISystemUsed"] == "fal fal-ai/flux/schnell"


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_exif_has_the_prompt_as_it_is_and_all_facts_in_its_comment(
    tmp_path: Path, image_format: ImageFormat
) -> None:
    tags = tags_of(frame(tmp_path, image_format))
    assert tags["IFD0:ImageDescription"] == FACTS["prompt"]
    assert tags["IFD0:Software"] == "Scene Pipeline"
    assert json.loads(tags["ExifIFD:UserComment"]) == {"scene_pipeline_frame": FACTS}
    assert "IFD0:Orientation" not in tags


def test_the_texts_of_a_png_are_listed_by_name(tmp_path: Path) -> None:
    tags = tags_of(frame(tmp_path, "PNG"))
    assert tags["PNG:Description"] == FACTS["prompt"]
    assert tags["PNG:Software"] == "Scene Pipeline"
    assert tags["PNG:Model"] == FACTS["model"]
    assert tags["PNG:Seed"] == int(FACTS["seed"])
    assert tags["PNG:GenerationID"] == FACTS["generation_id"]
    assert tags["PNG:Project"] == FACTS["project"]


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
@pytest.mark.parametrize("letter", ["&", "🌊"])
def test_a_prompt_of_any_length_leaves_a_sound_file(
    tmp_path: Path, image_format: ImageFormat, letter: str
) -> None:
    tags = tags_of(frame(tmp_path, image_format, letter * 70_000))
    for name in ("XMP-dc:Description", "IFD0:ImageDescription"):
        assert tags[name] == f"{letter * 1_999}…"
    assert tags["XMP-sp:GenerationId"] == FACTS["generation_id"]
    path = tmp_path / f"frame.{EXTENSIONS[image_format]}"
    warnings = exiftool("-validate", "-warning", "-a", "-s3", path).splitlines()[1:]
    # what a camera must say of itself, and nobody here can
    assert all(warning.startswith("Missing required JPEG") for warning in warnings)


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_a_file_that_a_tool_has_added_to_still_reads_back(
    tmp_path: Path, image_format: ImageFormat
) -> None:
    path = frame(tmp_path, image_format)
    exiftool("-q", "-overwrite_original", "-XMP-dc:Title=A lighthouse", "-Artist=Ada", path)
    assert tags_of(path)["XMP-dc:Title"] == "A lighthouse"
    assert read_metadata(path.read_bytes()) == FACTS


@pytest.mark.parametrize("source", IMAGE_FORMATS)
@pytest.mark.parametrize("target", IMAGE_FORMATS)
def test_facts_that_a_tool_copied_to_another_file_still_read_back(
    tmp_path: Path, source: ImageFormat, target: ImageFormat
) -> None:
    other = tmp_path / f"other.{EXTENSIONS[target]}"
    other.write_bytes(scene_file(target, 2))
    copy = ("-q", "-overwrite_original", "-TagsFromFile", frame(tmp_path, source), "-all:all")
    exiftool(*copy, other)
    assert read_metadata(other.read_bytes()) == FACTS


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_nothing_is_left_where_a_tool_took_everything_away(
    tmp_path: Path, image_format: ImageFormat
) -> None:
    path = frame(tmp_path, image_format)
    exiftool("-q", "-overwrite_original", "-all=", path)
    assert read_metadata(path.read_bytes()) == {}
