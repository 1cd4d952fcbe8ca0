"""One job per partition axis: a job cannot select assets of both.

Belongs here: names that people launch. Does not belong here: when they are launched (`sensors`).
"""

import dagster as dg

frames_job = dg.define_asset_job(
    "frames",
    selection=dg.AssetSelection.assets(
        "scene_prompt", "generated_frame", "scene_image", "scene_start_frame"
    ),
    description=(
        "Makes the frames of a range of scenes: prompt, generation, storage, master JSON. CAN SPEND"
        " MONEY, under the caps of project and day. From here and from backfills it makes a new"
        " version of every scene that is chosen; sensors have it make what is missing."
    ),
)

storyboard_job = dg.define_asset_job(
    "storyboards",
    selection=dg.AssetSelection.assets("storyboard", "project_report"),
    description=("Draws the contact sheet of a project and adds up its report. Spends nothing."),
)

imports_job = dg.define_asset_job(
    "imports",
    selection=dg.AssetSelection.assets("user_asset"),
    description="Brings addresses and uploads that wait into a project's library. Spends nothing.",
)
