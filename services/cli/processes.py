"""Commands that run until they are stopped, each a process of its own, and the development stack of all of them."""

import typer

app = typer.Typer()


@app.command(rich_help_panel="Services")
def edge() -> None:
    """Run the ingest edge: takes events over HTTP, and answers when Kafka has them.

    Settings: `HEADRACE_EDGE_*`, `HEADRACE_KAFKA_*`, `HEADRACE_CLICKHOUSE_*`, `HEADRACE_LOG_*`, HEADRACE_KEYS_REFRESH_S.
    """
    from services.edge.app import main

    main()


@app.command(rich_help_panel="Services")
def worker() -> None:
    """Run a worker: moves events from Kafka to ClickHouse, each once.

    Settings: `HEADRACE_WORKER_*`, `HEADRACE_KAFKA_*`, `HEADRACE_CLICKHOUSE_*`, `HEADRACE_LOG_*`.
    """
    from services.worker.app import main

    main()


@app.command(rich_help_panel="Services")
def query() -> None:
    """Run the query service: queries, persons, deletions and dashboards over HTTP.

    Settings: `HEADRACE_QUERY_*`, `HEADRACE_KAFKA_*`, `HEADRACE_CLICKHOUSE_*`, `HEADRACE_LOG_*`, HEADRACE_KEYS_REFRESH_S.
    """
    from services.query.app import main

    main()


@app.command(rich_help_panel="Services")
def console() -> None:
    """Run the console: pages for people, made of what the HTTP calls answer.

    Settings: `HEADRACE_CONSOLE_*`, `HEADRACE_HTTP_*`, `HEADRACE_LOG_*`.
    """
    from services.console.app import main

    main()


@app.command(rich_help_panel="Services")
def probe() -> None:
    """Run the probe: sends an event now and then, and measures when a query shows it.

    Settings: `HEADRACE_PROBE_*`, `HEADRACE_LOG_*`.
    """
    from services.probe.app import main

    main()


@app.command(rich_help_panel="On this machine")
def dev() -> None:
    """Run the whole pipeline on this machine, with an embedded broker and database (what `make run` does).

    Settings: HEADRACE_PORT (8000), HEADRACE_DATA (.data), HEADRACE_BROKER (embedded, apache or host:port),
    HEADRACE_LOG_CONSOLE, HEADRACE_DRAIN_TIMEOUT_S.
    """
    from services.devstack.supervisor import run

    raise SystemExit(run())


@app.command(rich_help_panel="On this machine")
def demo() -> None:
    """Send a real clickstream of 31,106 events through the pipeline and print its retention and paths.

    Uses the stack at HEADRACE_PORT, or starts one for as long as it takes.
    """
    from services.devstack.demo import run

    raise SystemExit(run())
