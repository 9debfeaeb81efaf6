"""`make setup EXTRAS=...`: each extra has a lock, which moves nothing that requirements.txt locks."""

import importlib.metadata
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tests.project import TINY, copy_project, environment

EXTRAS = ("ray", "s3")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked(file: str) -> dict[str, str]:
    """Name -> version. Every line is one, or a comment."""
    lines = [line for line in (ROOT / file).read_text().splitlines() if line and not line.startswith("#")]
    pairs = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines]
    assert all(pairs), lines
    versions = {canonicalize_name(pair[1]): pair[2] for pair in pairs}
    assert list(versions) == sorted(versions)
    return versions


def test_each_lock_is_an_extra():
    assert {path.name for path in ROOT.glob("requirements-*.txt")} == {f"requirements-{name}.txt" for name in EXTRAS}
    assert set(EXTRAS) < set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_lock_has_what_is_wanted_and_moves_nothing(extra):
    own = locked(f"requirements-{extra}.txt")
    assert not own.keys() & locked("requirements.txt").keys()
    for text in PROJECT["optional-dependencies"][extra]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(own[canonicalize_name(wanted.name)]), text


def test_two_extras_lock_a_package_that_both_need_alike():
    locks = [locked(f"requirements-{extra}.txt").items() for extra in EXTRAS]
    both = set().union(*locks)
    assert len({name for name, _ in both}) == len(both)


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_lock_has_all_that_its_packages_need_and_nothing_else(extra):
    """What they need is known where they are installed."""
    own, base = locked(f"requirements-{extra}.txt"), locked("requirements.txt")
    found, left = set(), [(Requirement(text), {""}) for text in PROJECT["optional-dependencies"][extra]]
    while left:
        wanted, extras = left.pop()
        name = canonicalize_name(wanted.name)
        assert wanted.specifier.contains((own | base)[name], prereleases=True), wanted
        if name in base or name in found:
            continue
        found.add(name)
        try:
            needs = map(Requirement, importlib.metadata.requires(name) or [])
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{name} is not installed: make setup EXTRAS={extra}")
        extras = {"", *wanted.extras}
        left += [
            (each, extras)
            for each in needs
            if not each.marker or any(each.marker.evaluate({"extra": name}) for name in extras)
        ]
    assert found == own.keys()


def write_wheel(folder: Path, name: str, version: str, needs: str = "") -> None:
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", f"version = {version}\n")
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        wheel.writestr(
            f"{name}-{version}.dist-info/METADATA", metadata + (f"Requires-Dist: {needs}\n" if needs else "")
        )
        about = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{name}-{version}.dist-info/WHEEL", about)
        wheel.writestr(f"{name}-{version}.dist-info/RECORD", "")


def test_an_extra_is_installed_beside_the_rest_and_follows_its_lock(tmp_path):
    folder = copy_project(tmp_path / "fresh", TINY)
    for name, version, needs in (("base", 1, ""), ("base", 2, ""), ("more", 1, "base==2"), ("more", 2, "")):
        write_wheel(tmp_path, name, str(version), needs)
    (folder / "requirements.txt").write_text("base==1\n")
    (folder / "requirements-s3.txt").write_text("more==1\n")
    # (The setuptools that requirements.txt would bring is lent to it.)
    lent = {"PYTHONPATH": str(Path(pytest.__file__).parents[1]), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}

    def shell(command: str) -> subprocess.CompletedProcess[str]:
        options = {"cwd": folder, "env": {**environment(), **lent}, "capture_output": True, "text": True}
        return subprocess.run(command, shell=True, check=False, **options)

    python = shlex.quote(str(Path(sys.executable).resolve()))
    versions = ".venv/bin/python -c 'import base, more; print(base.version, more.version)'"

    unknown = shell("make setup EXTRAS='s3 s4'")
    assert unknown.returncode == 2
    assert "EXTRAS=s4 is not an extra; choose among: ray s3." in unknown.stderr
    assert not (folder / ".venv").exists()

    assert shell(f"make setup PYTHON={python}").returncode == 0
    assert "No module named 'more'" in shell(versions).stderr
    made = shell("make setup EXTRAS=s3")
    assert made.returncode == 0, made.stderr
    assert shell(versions).stdout == "1 1\n"
    assert "installing" not in shell("make setup").stdout

    (folder / "requirements-s3.txt").write_text("more==2\n")
    assert "installing requirements-s3.txt" in shell("make setup").stdout
    assert shell(versions).stdout == "1 2\n"
