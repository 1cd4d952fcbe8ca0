"""What happens by itself: one file per sensor, and the list of them.

Belongs here: when a job is launched, by cheap and indexed reads alone. Does not belong here: what
is due (`pipeline`, `database`), and any work that takes more than a moment (jobs).

Every sensor is level-triggered: a predicate in the database says what is due, and nothing is
remembered in a cursor. A tick may therefore die at any point; the next one sees the same.
"""

import dagster as dg

from scene_pipeline.defs.sensors.dead_runs import dead_runs
from scene_pipeline.defs.sensors.stale_storyboards import stale_storyboards

SENSORS: tuple[dg.SensorDefinition, ...] = (stale_storyboards, dead_runs)
"""All sensors of the code location."""
