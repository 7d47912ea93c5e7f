"""What the report carries of others: known versions, known bytes, with their licences, nothing that the page's policy would stop."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

from pipelines.report_page import ASSETS, SCRIPTS, script

ROOT = Path(__file__).parent.parent


def test_the_bundle_is_the_one_whose_versions_are_told():
    told = json.loads((ASSETS / "versions.json").read_text())
    assert told["sha256"] == hashlib.sha256((ASSETS / told["file"]).read_bytes()).hexdigest()
    locked = json.loads((ASSETS / "package-lock.json").read_text())["packages"]
    known = {(place.rpartition("node_modules/")[2], entry.get("version"), entry.get("integrity")) for place, entry in locked.items()}
    assert {"vega-lite", "vega-view", "vega-interpreter"} <= {package["name"] for package in told["packages"]}
    for package in told["packages"]:
        assert (package["name"], package["version"], package["integrity"]) in known
        assert package["licence"] in ("BSD-3-Clause", "ISC")


def test_every_package_in_the_bundle_comes_with_its_licence():
    text = (ASSETS / "LICENSES.txt").read_text()
    for package in json.loads((ASSETS / "versions.json").read_text())["packages"]:
        assert f"{package['name']} {package['version']}\n" in text


def test_scripts_need_no_eval_and_end_no_element():
    for name in SCRIPTS:
        text = script(name).text
        assert "</script" not in text.lower()
        assert "<!--" not in text
        assert "new Function" not in text
        assert "documents-->" not in text


def test_the_scripts_are_in_a_wheel(tmp_path):
    """Whoever installs the package has the report's scripts, too."""
    made = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT, capture_output=True, text=True
    )
    if "No module named" in made.stderr:
        import pytest

        pytest.skip("hatchling is not installed here: pip fetches it where it builds")
    assert made.returncode == 0, made.stderr
    names = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    assert {f"pipelines/report_assets/{name}" for name in (*SCRIPTS, "LICENSES.txt", "versions.json")} <= names
