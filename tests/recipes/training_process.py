"""`decametre train`, in processes to which something happens after given steps.

    python -m tests.recipes.training_process EVENTS train RECIPE ...

EVENTS is a JSON object: for each rank a step and what happens after it, such as
`{"1": [40, "SIGKILL"]}`. The name of a signal is sent by the process to itself. Anything else is a
path: the process makes the file PATH.reached and continues when PATH.continue exists. After a
restart by torchrun nothing happens. Where a rank hangs (SIGSTOP), others wait for it only shortly.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from decametre.training import stopping
from decametre.training.observer import TrainingObserver

HANG_TIMEOUT = 2.0
"""Seconds instead of 15. Too few for other tests: on a busy machine, a rank that does not hang may
need longer, and would be ended before it has saved its state."""


def main():
    from decametre.cli.main import main

    events = json.loads(sys.argv.pop(1))
    if any(event == "SIGSTOP" for _, event in events.values()):
        stopping.HANG_TIMEOUT = HANG_TIMEOUT
    step, event = events.get(os.environ.get("RANK", "0"), (None, None))
    if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0":
        step = None

    def step_ended(self, times):
        if times.step != step:
            return
        if event.startswith("SIG"):
            os.kill(os.getpid(), getattr(signal, event))
            return
        Path(f"{event}.reached").touch()
        while not Path(f"{event}.continue").exists():
            time.sleep(0.01)

    TrainingObserver.step_ended = step_ended
    main()


if __name__ == "__main__":
    main()
