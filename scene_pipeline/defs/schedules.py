"""What happens at fixed times: all of it visible and switchable in the UI.

Belongs here: when. Does not belong here: what is done (`pipeline`, by the jobs of `defs.upkeep`).
"""

import dagster as dg

SCHEDULES: tuple[dg.ScheduleDefinition, ...] = ()
"""All schedules of the code location."""
