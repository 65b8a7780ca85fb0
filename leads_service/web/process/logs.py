"""The form of the log: text or JSON, a line a record, to standard error."""

import logging.config

from gunicorn.glogging import Logger


class _Text(logging.Formatter):
    """A line, ended by the request that it was written in."""

    def formatMessage(self, record):
        line = super().formatMessage(record)
        return f"{line} [{record.request_id} {record.route}]" if hasattr(record, "request_id") else line


_FORMATTERS = {
    "text": {"()": _Text, "fmt": "%(asctime)s [%(process)d] %(levelname)s %(message)s"},
    "json": {"()": "pythonjsonlogger.json.JsonFormatter",
             "fmt": "%(asctime)s %(levelname)s %(name)s %(process)d %(message)s"},
}


def configure(form: str) -> None:
    """Have this process log in `form`, "text" or "json"."""
    logging.config.dictConfig({
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"chosen": _FORMATTERS[form]},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "chosen"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
    })


class GunicornLogger(Logger):
    """gunicorn's own log in the form that was configured.

    Not by gunicorn's logconfig_dict, which turns the access log on, search terms and all.
    """

    def setup(self, cfg):
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(logging.getLogger().handlers[0].formatter)
