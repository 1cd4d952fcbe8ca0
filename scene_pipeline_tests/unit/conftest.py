"""Property tests are judged by what they find, not by how busy the machine is.

Hypothesis fails an example that takes longer than 200 ms by the wall clock. The first one of a
process pays for imports, and shared cores stall for longer than that.
"""

from hypothesis import settings

settings.register_profile("scene_pipeline", deadline=None)
settings.load_profile("scene_pipeline")
