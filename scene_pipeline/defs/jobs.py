"""One job per partition axis: a job cannot select assets of both.

Belongs here: names that people launch. Does not belong here: when they are launched (`sensors`).
"""

import dagster as dg

frames_job = dg.define_asset_job(
    "frames",
    selection=dg.AssetSelection.assets(
        "scene_prompt", "generated_frame", "scene_image", "scene_start_frame"
    ),
    description="Frames for a range of scenes: prompt, generation, storage, master JSON.",
)

storyboard_job = dg.define_asset_job(
    "storyboards",
    selection=dg.AssetSelection.assets("storyboard"),
    description="The contact sheet of a project.",
)
