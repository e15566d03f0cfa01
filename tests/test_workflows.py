"""What GitHub runs: each check in a job of its own, nothing twice, and nothing published that is not green."""

import re

import pytest
import yaml
from environments import ROOT

WORKFLOWS = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
             for path in (ROOT / ".github" / "workflows").glob("*.yml")}
TESTS = "./.github/workflows/test.yml"
JOBS = [(name, job) for name, workflow in sorted(WORKFLOWS.items()) for job in workflow["jobs"]]


def events(name: str) -> dict:
    """Return what starts a workflow; YAML 1.1 reads the key ``on`` as true."""
    return WORKFLOWS[name][True]


def jobs(name: str) -> dict[str, dict]:
    return WORKFLOWS[name]["jobs"]


def steps(name: str, job: str) -> list[dict]:
    return jobs(name)[job].get("steps", [])


def before(name: str, job: str) -> set[str]:
    """Return the jobs that must have been green before ``job`` starts."""
    needs = jobs(name)[job].get("needs", [])
    needs = {needs} if isinstance(needs, str) else set(needs)
    return needs.union(*(before(name, need) for need in needs))


def commands(name: str, job: str) -> str:
    return "\n".join(step.get("run", "") for step in steps(name, job))


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_a_workflow_is_named_bounded_and_one_of_a_kind(name):
    """Rights are those of reading; whoever needs more asks for it in the job. Newer runs don't queue up behind old."""
    workflow = WORKFLOWS[name]
    assert workflow["name"] == name
    assert workflow["permissions"] == {"contents": "read"}
    assert set(workflow["concurrency"]) == {"group", "cancel-in-progress"}
    assert workflow["concurrency"]["cancel-in-progress"] is (name != "release"), "a release is never cut off"


@pytest.mark.parametrize("name, job", JOBS)
def test_a_job_ends_and_says_what_it_runs(name, job):
    """Each has a time limit; files and tools that it names are there; no text of a stranger gets into a command."""
    if jobs(name)[job].get("uses"):
        assert jobs(name)[job]["uses"] == TESTS
        return
    assert jobs(name)[job]["timeout-minutes"] <= 40
    assert steps(name, job)
    text = commands(name, job)
    for file in re.findall(r"(?<![\w.-])(?:tools|tests)/\w+\.py", text):
        assert (ROOT / file).is_file(), file
    assert set(re.findall(r"\$\{\{ *(.*?) *\}\}", text)) <= {"matrix.command", "matrix.tier"}


def test_nothing_runs_twice():
    """A branch of a pull request is tested for that alone; main and tags are tested by what they publish."""
    assert set(events("test")) == {"pull_request", "workflow_call", "workflow_dispatch", "schedule"}
    assert events("publish")["push"] == {"branches": ["main"]}
    assert events("release") == {"push": {"tags": ["v*"]}}
    assert not [name for name in WORKFLOWS if name not in ("publish", "release") and "push" in events(name)]
    group = WORKFLOWS["test"]["concurrency"]["group"]
    assert "github.workflow" in group and "github.ref" in group, "a caller would wait for itself"


@pytest.mark.parametrize("name, job", [(name, job) for name, job in JOBS if name in ("publish", "release")])
def test_nothing_red_is_published(name, job):
    """What writes anywhere needs the tests, all of them, and no condition lets it go on without."""
    allowed = jobs(name)[job].get("permissions", {})
    if "write" in allowed.values() or job not in ("test", "check"):
        assert "test" in before(name, job)
        assert jobs(name)["test"]["uses"] == TESTS
        texts = [jobs(name)[job].get("if", ""), *(str(step.get("if", "")) for step in steps(name, job))]
        assert not re.search(r"always|cancelled|failure", " ".join(texts))
        assert not any(step.get("continue-on-error") for step in steps(name, job))


def test_a_release_is_checked_first_and_by_a_script_that_has_tests():
    """The tag before the tests, the wheel before PyPI, PyPI before GitHub's page."""
    check = steps("release", "check")
    assert check[0]["with"]["fetch-depth"] == 0, "without the history nobody knows whether the commit is on main"
    assert 'tools/release.py check "$GITHUB_REF_NAME"' in check[-1]["run"] and "if" not in check[-1]
    assert before("release", "test") == {"check"} and before("release", "pypi") == {"check", "test", "build"}
    assert before("release", "github") == {"check", "test", "build", "pypi"}
    build = commands("release", "build")
    order = ["python -m build", "twine check --strict", "venv", "tools/smoke.py", "tools/release.py notes"]
    places = [build.index(part) for part in order]
    assert places == sorted(places)
    environment = next(step["env"] for step in steps("release", "build") if "python -m build" in step.get("run", ""))
    assert set(environment) == {"CONVTWIST_REPOSITORY", "CONVTWIST_BOOK"}


def test_rights_to_publish_are_where_no_code_of_the_project_runs():
    """Only these jobs may write; those of the release check nothing out and run nothing but what they are for."""
    writing = {(name, job): {right for right, what in jobs(name)[job].get("permissions", {}).items() if what == "write"}
               for name, job in JOBS}
    assert writing["release", "pypi"] == {"id-token"} and writing["release", "github"] == {"contents"}
    assert not [place for place, rights in writing.items() if rights and place[0] not in ("publish", "release")]
    assert jobs("release")["pypi"]["environment"]["name"] == "pypi"
    for job in ("pypi", "github"):
        assert not [step for step in steps("release", job) if "actions/checkout" in step.get("uses", "")]
    assert "run" not in " ".join(key for step in steps("release", "pypi") for key in step)
    assert "password" not in (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8").replace(
        "no password is kept", "")


def test_every_tier_has_a_job_of_its_own():
    """As CONTRIBUTING.md names them; a report and pictures are kept if one fails, the pages always."""
    tiers = jobs("test")["tests"]["strategy"]["matrix"]["include"]
    assert {tier["tier"]: tier["command"] for tier in tiers} == {
        "units": "pytest", "notebooks": "pytest --nbval book/", "browser": "pytest -m browser",
        "slow": 'pytest -m "slow or stranger"'}
    assert jobs("test")["tests"]["strategy"]["fail-fast"] is False
    assert {"style", "tests", "book", "distributions", "package", "systems", "lowest", "audit"} <= set(jobs("test"))
    report = steps("test", "tests")[-1]
    assert report["if"] == "failure()" and "_build/screenshots" in report["with"]["path"]
    folder = re.search(r"--junitxml=(\S+)/", commands("test", "tests")).group(1)
    assert folder in report["with"]["path"]
    preview = steps("test", "book")[-1]
    assert preview["with"]["path"] == "_build/html" and "cancelled" in preview["if"]


def test_oldest_promised_releases_are_installed_by_their_promise():
    """From pyproject.toml, on the oldest Python of it: no second list of versions can fall behind."""
    python = next(step["with"]["python-version"] for step in steps("test", "lowest") if "python-version" in
                  step.get("with", {}))
    promised = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'requires-python = ">={python}"' in promised
    assert "--resolution lowest-direct" in commands("test", "lowest") and "torch==" not in commands("test", "lowest")


def test_wheel_is_tried_on_every_system():
    assert jobs("test")["systems"]["strategy"]["matrix"]["system"] == ["macos-latest", "windows-latest"]
    for job in ("package", "systems", "lowest"):
        assert "python -m convtwist" in commands("test", job) and "tools/smoke.py" in commands("test", job)


def test_links_are_looked_up_every_week():
    assert events("links")["schedule"] and "--builder linkcheck" in commands("links", "links")
