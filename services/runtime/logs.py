"""Structured logs on standard error, for our own lines and those of the libraries. Keys and bodies are never logged."""

import logging
import sys

import structlog

from services.runtime.settings import LogSettings

_SHARED: tuple[structlog.typing.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
)


def configure_logs(settings: LogSettings, service: str) -> None:
    """Send structlog and the standard library's loggers through one formatter; every line names the service."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if settings.log_format == "json" else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=list(_SHARED),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    chatty = logging.DEBUG if settings.log_level == "debug" else max(logging.WARNING, root.level)
    for name in ("aiokafka", "faust", "mode", "uvicorn.access", "asyncio", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(chatty)
    # Of a collector that is away it says each try; that it has given up is an error.
    logging.getLogger("opentelemetry.exporter").setLevel(max(logging.ERROR, chatty))
    # At debug it writes each request and answer whole: passwords of log-ins, and people's events.
    logging.getLogger("aiokafka.conn").setLevel(max(logging.INFO, chatty))
    # They write the address of each request: ids of people.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(service=service)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger
