"""Where the workers of one start of gunicorn write what they count, for whichever of them is asked to add it up."""

import atexit
import os
import shutil
import tempfile

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def prepare() -> None:
    """Make the directory and name it to prometheus_client, which wants that before it is loaded.

    A new one for each start of gunicorn, which removes it at its end, but not for a reload.
    """
    own = f"leads-metrics-{os.getpid()}-"
    if own not in os.environ.get(_VARIABLE, ""):
        os.environ[_VARIABLE] = tempfile.mkdtemp(prefix=own)
        atexit.register(_remove, os.getpid(), os.environ[_VARIABLE])


def _remove(owner, directory):
    if os.getpid() == owner:  # workers, which are forks, come by here too when they end
        shutil.rmtree(directory, ignore_errors=True)
