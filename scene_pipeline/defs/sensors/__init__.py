"""What happens by itself: one file per sensor, and the list of them.

Belongs here: when a job is launched, by cheap and indexed reads alone. Does not belong here: what
is due (`pipeline`, `database`), and any work that takes more than a moment (jobs).

Every sensor is level-triggered: a predicate in the database says what is due, and nothing is
remembered in a cursor. A tick may therefore die at any point; the next one sees the same.
"""

import dagster as dg

from scene_pipeline.defs.sensors.asset_imports import asset_imports
from scene_pipeline.defs.sensors.dead_runs import dead_runs
from scene_pipeline.defs.sensors.external_images import external_images
from scene_pipeline.defs.sensors.master_json_inbox import master_json_inbox
from scene_pipeline.defs.sensors.regeneration_requests import regeneration_requests
from scene_pipeline.defs.sensors.run_failures import run_failures
from scene_pipeline.defs.sensors.scene_changes import scene_changes
from scene_pipeline.defs.sensors.stale_storyboards import stale_storyboards
from scene_pipeline.defs.sensors.unfinished_generations import unfinished_generations

SENSORS: tuple[dg.SensorDefinition, ...] = (
    scene_changes,
    regeneration_requests,
    unfinished_generations,
    asset_imports,
    master_json_inbox,
    stale_storyboards,
    external_images,
    dead_runs,
    run_failures,
)
"""All sensors of the code location."""
