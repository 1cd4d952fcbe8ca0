"""A process that uses the embedded server until its standard input is closed, or it is killed.

Run as `python -m scene_pipeline_tests.standins.embedded_client HOME`. It prints one line once it is
attached: the server's process id, its supervisor's, and the URL of the application's database.
"""

import sys
from pathlib import Path

from scene_pipeline.database import embedded

if __name__ == "__main__":
    home = Path(sys.argv[1])
    with embedded.attach(home, system_state=home / "system") as server:
        sys.stdout.write(f"{server.pid} {server.supervisor_pid} {server.url('scene_pipeline')}\n")
        sys.stdout.flush()
        sys.stdin.read()
