"""The form of the log: text or JSON, a line a record, to standard error."""

import logging.config


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


def configure(form: str) -> logging.Formatter:
    """Have this process log in `form` ("text" or "json"); gives the formatter, for loggers that do not propagate."""
    logging.config.dictConfig({
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"chosen": _FORMATTERS[form]},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "chosen"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
    })
    return logging.getLogger().handlers[0].formatter
