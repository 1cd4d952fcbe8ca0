"""Brings this film's pictures into the library and writes the document that names them.

An asset's id is made up when a picture comes in, so no document can know it beforehand. In
ferry.json pictures stand under the names of their files; here each name becomes its picture's id.
Any program can do the same: every command answers one JSON document with --json.
"""

import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
PICTURES = ("mara.jpg", "harbour.jpg", "ferry.jpg")
PROGRAM = Path(sys.executable).with_name("scene-pipeline")


def main() -> None:
    """Add the pictures, and write ferry.json into the working directory."""
    command = [PROGRAM, "assets", "add", *(FOLDER / name for name in PICTURES), "--tag", "ferry"]
    done = subprocess.run(  # noqa: S603  # our own program, our own files
        [*command, "--json"], stdout=subprocess.PIPE, check=False
    )
    if done.returncode:
        sys.exit(done.returncode)  # it has said why
    document = (FOLDER / "ferry.json").read_text(encoding="utf-8")
    for name, added in zip(PICTURES, json.loads(done.stdout)["assets"], strict=True):
        sys.stdout.write(f"{added['asset_id']}  {name}\n")
        document = document.replace(f"asset:{name}", f"asset:{added['asset_id']}")
    Path("ferry.json").write_text(document, encoding="utf-8")
    sys.stdout.write("Written: ferry.json\n")


if __name__ == "__main__":
    main()
