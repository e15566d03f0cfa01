"""Ask a database of security advisories about every package in requirements.lock.

    python tools/audit.py               fails on a known advisory; where nobody can be asked, says so and goes on
    python tools/audit.py --required    fails in that case, too: for machines with a network

pip-audit does the asking. Its own verdict is not enough: behind a mirror that serves packages but no advisories
it reports "no known vulnerabilities" for packages it never learnt anything about.
"""

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements.lock"
ACCEPTED: dict[str, str] = {}  # advisory: why it does not concern this project; each is printed at every run


def ask(lock: Path) -> tuple[str, str]:
    """Return what pip-audit prints about ``lock`` as JSON, and what it complains of."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--require-hashes", "--disable-pip",
               "--format", "json", "--progress-spinner", "off"]
    result = subprocess.run(command, capture_output=True, text=True)
    return result.stdout, result.stderr


def judge(answer: str, complaint: str) -> tuple[list[str], list[str]]:
    """Return the advisories that pip-audit reported, and what could not be looked up, one line each."""
    try:
        packages = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return [], [f"every package: {(complaint.strip().splitlines() or ['pip-audit gave no answer'])[-1][:300]}"]
    found, unknown = [], []
    for package in packages:
        if "vulns" not in package:
            unknown.append(f"{package['name']}: {package.get('skip_reason', 'no reason given')}")
        for advisory in package.get("vulns", ()):
            mended = ", ".join(advisory["fix_versions"]) or "no release yet"
            found.append(f"{advisory['id']}: {package['name']} {package['version']}, mended in {mended}")
    return found, unknown if packages else ["every package: pip-audit's answer names none"]


def report(answer: str, complaint: str, required: bool) -> int:
    """Print the result; return 1 for a known advisory, 2 if there was no answer but ``required``, otherwise 0."""
    found, unknown = judge(answer, complaint)
    accepted = [line for line in found if line.split(":")[0] in ACCEPTED]
    for line in accepted:
        print(f"audit: accepted {line} ({ACCEPTED[line.split(':')[0]]})")
    found = [line for line in found if line not in accepted]
    for line in found:
        print(f"audit: KNOWN ADVISORY {line}")
    if unknown:
        print(f"audit: NOT LOOKED UP for {len(unknown)}: this run says nothing about them. The first: {unknown[0]}")
    elif not found:
        print("audit: every package was looked up; no advisory stands against any of them")
    return 1 if found else 2 if unknown and required else 0


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--required"]):
        sys.exit(__doc__)
    sys.exit(report(*ask(LOCK), required="--required" in sys.argv))
