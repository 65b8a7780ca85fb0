"""What every request of every process passes: the worker, the logs, the counts."""
