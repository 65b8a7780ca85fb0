"""What Python's programs load, for the process that they are forks of (real/forks.py)."""

import gc

import gunicorn.app.wsgiapp
import gunicorn.workers.gthread  # noqa: F401

import leads_service.app  # noqa: F401

gc.freeze()  # the collector of no fork looks through it, nor copies its pages for that
