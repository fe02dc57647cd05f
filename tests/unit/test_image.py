"""The serving image and the compose file, checked without a container engine."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import venv
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from service.settings import PREFIX, Settings, read_settings

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
BUILD, SERVING = re.split(r"(?m)^FROM ", DOCKERFILE)[1:]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys, service
names = [found.name for found in pkgutil.walk_packages(service.__path__, "service.")]
for name in names:
    # The log's files are of an extra of their own, which the image leaves out.
    if not name.endswith(("__main__", ".parquet_files")):
        importlib.import_module(name)
print(sorted({name.split(".")[0] for name in sys.modules}))
"""


def _lines(stage: str, word: str) -> list[str]:
    return re.findall(rf"(?m)^{word} (.*)$", stage)


def _copy_context(folder: Path) -> None:
    for line in _lines(BUILD, "COPY"):
        *names, target = line.split()
        for name in names:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, folder / target, ignore=ignored)
            else:
                shutil.copy(ROOT / name, folder / target)


def _loaded_by_the_service(python: Path, folder: Path) -> str:
    # -P: what counts is what is installed, not what lies in the working folder.
    command = [str(python), "-P", "-c", IMPORT_EVERYTHING]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_service_loads_no_torch(tmp_path: Path) -> None:
    """A serving process never pays for the training library."""
    loaded = _loaded_by_the_service(Path(sys.executable), tmp_path)
    assert "'service'" in loaded
    assert "'torch'" not in loaded


def test_image_runs_as_nobody_special() -> None:
    """Whoever breaks into the container is not root there."""
    assert _lines(SERVING, "USER") == ["choirrec"]


def test_image_announces_its_ports_and_health() -> None:
    """An operator finds both ports and a health check without reading the code."""
    assert _lines(SERVING, "EXPOSE") == ["8080 9100"]
    assert "/health/live" in _lines(SERVING, "HEALTHCHECK")[0]


def test_image_copies_only_what_the_context_lets_through() -> None:
    """The build does not fail on a file that the context leaves out."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    copied = {name for line in _lines(BUILD, "COPY") for name in line.split()[:-1]}
    assert copied == allowed


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_image_installs_into_a_clean_environment(tmp_path: Path) -> None:
    """The image's own install line gives a service that starts, without torch or pipeline."""
    _copy_context(tmp_path)
    venv.create(tmp_path / "env", with_pip=True)
    (install,) = (line for line in _lines(BUILD, "RUN") if "pip install" in line)
    program, *arguments = shlex.split(install.replace("--no-cache-dir ", ""))
    assert program == "/opt/choirrec/bin/pip"
    subprocess.run([tmp_path / "env/bin/pip", *arguments], cwd=tmp_path, check=True)
    installed = {path.name for path in (tmp_path / "env/lib").glob("*/site-packages/*")}
    assert installed >= {"service", "model", "choirrec"}
    assert not installed & {"torch", "offline"}
    assert "'torch'" not in _loaded_by_the_service(tmp_path / "env/bin/python", Path("/"))


def test_compose_file_obeys_its_schema() -> None:
    """`docker compose up` does not stumble over the file's grammar."""
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(COMPOSE, json.loads(schema.read_text()))


def test_compose_schema_catches_a_misspelt_word() -> None:
    """The check above would notice a mistake."""
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    with pytest.raises(jsonschema.ValidationError, match="enviroment"):
        jsonschema.validate(
            {"services": {"service": {"enviroment": {}}}}, json.loads(schema.read_text())
        )


def test_compose_brings_the_four_parts() -> None:
    """One command brings the service with its records, figures and pictures."""
    assert set(COMPOSE["services"]) == {"redis", "service", "prometheus", "grafana"}


def test_compose_settings_are_the_services_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable the compose file sets is one that the service reads and accepts."""
    environment = COMPOSE["services"]["service"]["environment"]
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert set(environment) <= known
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert read_settings().repository == "/repository"


def test_compose_mounts_only_what_exists() -> None:
    """No container starts on an empty folder made by a mistyped path."""
    mounts = [text for part in COMPOSE["services"].values() for text in part.get("volumes", [])]
    local = [text.split(":")[0] for text in mounts if text.startswith("./")]
    named = [text.split(":")[0] for text in mounts if not text.startswith((".", "$"))]
    assert [path for path in local if not (ROOT / path).exists()] == []
    assert set(named) == set(COMPOSE["volumes"])
