"""What the image is made of: `make sbom` lists its packages, `make audit` looks for known vulnerabilities in them."""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import services

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / "requirements" / "production.txt"
FOUND, NOT_AUDITED = 1, 2


def program(name: str) -> str:
    """One that the requirements install beside Python."""
    return str(Path(sys.executable).with_name(name))


def write_sbom(target: Path, packages: Path = PACKAGES, check: str = "--validate") -> int:
    """A CycloneDX list of the pinned packages with their hashes: of equal packages an equal file. How many there are.
    `check`: whether the tool compares it with the schema of CycloneDX, which takes seconds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    words = [
        check,
        "--pyproject",
        str(ROOT / "pyproject.toml"),
        "--output-reproducible",
        "--short-PURLs",
        "--of",
        "JSON",
    ]
    subprocess.run(  # noqa: S603 a program of the requirements
        [program("cyclonedx-py"), "requirements", *words, "--output-file", str(target), str(packages)],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    content = json.loads(target.read_text())
    # pyproject.toml takes the version from the code, where the tool does not look for it.
    content["metadata"]["component"]["version"] = services.__version__
    target.write_text(json.dumps(content, indent=2) + "\n")
    return len(content["components"])


def audit(packages: Path = PACKAGES, pip_audit: Sequence[str] = ()) -> int:
    """0 when each package was looked up and nothing is known against it. pip-audit alone also says so where it reached
    no database and passed packages over."""
    words = ["--requirement", str(packages), "--require-hashes", "--disable-pip", "--format", "json"]
    done = subprocess.run(  # noqa: S603 a program of the requirements
        [*(pip_audit or [program("pip-audit")]), *words, "--progress-spinner", "off"],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        looked_at: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"NOT AUDITED: no database of vulnerabilities answers.\n{done.stderr.strip()[-2000:]}")
        return NOT_AUDITED
    return _say(looked_at)


def _say(looked_at: Sequence[dict[str, Any]]) -> int:
    passed_over = [one["name"] for one in looked_at if "skip_reason" in one]
    found = [(one, known) for one in looked_at for known in one.get("vulns", [])]
    for one, known in found:
        fixed = ", ".join(known.get("fix_versions", [])) or "none yet"
        print(f"{one['name']} {one['version']}: {known['id']}; fixed in {fixed}")
    if passed_over:
        print(f"NOT AUDITED: {len(passed_over)} of {len(looked_at)} packages are in no database that answers.")
        print("They are: " + ", ".join(passed_over))
    else:
        print(f"{len(looked_at)} packages looked up, {len(found)} known vulnerabilities.")
    return FOUND if found else NOT_AUDITED if passed_over or not looked_at else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["sbom", "audit"])
    parser.add_argument("--output", type=Path, default=ROOT / "dist" / "headrace.cdx.json")
    given = parser.parse_args()
    if given.what == "audit":
        return audit()
    print(f"{given.output}: {write_sbom(given.output)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
