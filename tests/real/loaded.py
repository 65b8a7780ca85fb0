"""What Python's programs load, for the process that they are forks of (real/forks.py)."""

import gc
import importlib

for _name in "gunicorn.util", "leads_service.app":
    importlib.import_module(_name)
gc.freeze()  # the collector of no fork looks through it, nor copies its pages for that
