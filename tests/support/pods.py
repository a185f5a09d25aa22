"""A pod of deploy/kubernetes as a process of this machine: with the environment, the files, the probes, the limit and the
grace period that the manifests give it.

What differs is what a cluster has and this machine has not: addresses, and where files lie.
"""

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

from services.devstack.child_process import ChildProcess, free_port
from tests.support.manifests import amount, container, environment, pod, pre_stop_s, probe_port

# What Python needs to start, where it is set.
_PASSED_ON = ("PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "LANG", "LC_ALL")
# A Service, and what keeps it, hears of a pod's end a little later than the pod.
ENDPOINT_DELAY_S = 1.0

Secrets = Mapping[str, Mapping[str, str]]


class Pod:
    """`secrets`: content by the name of a Secret and its key. `addresses`: variables that take the place of a cluster's."""

    def __init__(
        self, overlay: str, component: str, name: str, folder: Path, secrets: Secrets, addresses: Mapping[str, str]
    ) -> None:
        self.name = name
        self.port = free_port()
        self.container = container(overlay, component)
        self.peak_bytes = 0
        self._spec = pod(overlay, component)
        self._folder = folder / name
        self._mounts = {mount["name"]: mount["mountPath"] for mount in self.container["volumeMounts"]}
        self._write_files(secrets)
        self.environment = {**self._placed(environment(overlay, component, name)), **addresses}
        if "ports" in self.container:
            self.environment |= {
                f"HEADRACE_{component.upper()}_HOST": "127.0.0.1",
                f"HEADRACE_{component.upper()}_PORT": str(self.port),
            }
        command = [sys.executable, "-m", "services.cli", *self.container.get("args", [])]
        self.process = ChildProcess(name, command, log=folder / f"{name}.log", env=self._all(), env_is_all=True)

    def _write_files(self, secrets: Secrets) -> None:
        for volume in self._spec["volumes"]:
            place = self._place(self._mounts[volume["name"]])
            place.mkdir(parents=True, exist_ok=True)
            if "secret" in volume:
                content = secrets[volume["secret"]["secretName"]]
                for item in volume["secret"].get("items") or [{"key": key, "path": key} for key in content]:
                    (place / item["path"]).write_text(content[item["key"]])

    def _place(self, path: str) -> Path:
        """Where what the container has at this path lies here."""
        return self._folder / path.removeprefix("/")

    def _placed(self, values: Mapping[str, str]) -> dict[str, str]:
        mounted = re.compile("|".join(f"{re.escape(path)}/" for path in self._mounts.values()))
        return {name: str(self._place(value)) if mounted.match(value) else value for name, value in values.items()}

    def _all(self) -> dict[str, str]:
        temporary = str(self._place("/tmp"))  # noqa: S108
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        return {**passed_on, "HOME": temporary, "TMPDIR": temporary, **self.environment}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command in the container, as `kubectl exec` runs it; its own command where there is none."""
        words = arguments or tuple(self.container["args"])
        return subprocess.run(  # noqa: S603 the command is our own
            [sys.executable, "-m", "services.cli", *words],
            env=self._all(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def answers(self, probe: str) -> bool:
        """Whether a probe succeeds now: a status below 400, in time."""
        one = self.container[probe]
        assert probe_port(self.container, probe) == self.container["ports"][0]["containerPort"]
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=one["timeoutSeconds"])
        with closing(connection), suppress(OSError, http.client.HTTPException):
            connection.request("GET", one["httpGet"]["path"])
            return connection.getresponse().status < 400
        return False

    def until_ready(self) -> None:
        """Raises ChildFailedError when the startup probe would have given up."""
        startup = self.container["startupProbe"]
        self.process.wait_until(
            lambda: self.answers("startupProbe"), startup["periodSeconds"] * startup["failureThreshold"]
        )
        self.process.wait_until(lambda: self.answers("readinessProbe"), 30)

    def end(self) -> float:
        """As the kubelet ends a pod: preStop, SIGTERM, and after the grace period SIGKILL. How long it took."""
        began, grace_s = time.monotonic(), self._spec["terminationGracePeriodSeconds"]
        self.note_peak()
        if pre_stop_s(self.container):
            subprocess.run(self.container["lifecycle"]["preStop"]["exec"]["command"], check=True)  # noqa: S603
            self.note_peak()
        status = self.process.stop(grace_s - (time.monotonic() - began))
        took = time.monotonic() - began
        # uvicorn ends by the signal that it was given. As a container's first process it would not: there the status is 0.
        assert status in (0, -signal.SIGTERM), (
            f"{self.name} ended with status {status} after {took:.1f} s:\n{self.process.log_tail()}"
        )
        return took

    def check_runs(self) -> None:
        """Raises AssertionError, which says what the pod's log said last, when it has ended by itself."""
        status = self.process.poll()
        assert status is None, f"{self.name} ended by itself with status {status}:\n{self.process.log_tail(60)}"

    def note_peak(self) -> None:
        """The most memory that the process had until now."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        self.peak_bytes = max(self.peak_bytes, int(found[1]) * 1024)

    @property
    def limit_bytes(self) -> float:
        return amount(self.container["resources"]["limits"]["memory"])
