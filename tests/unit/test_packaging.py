"""The wheel: a notebook needs no more than `pip install`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ["components", "fedstream", "pipelines", "LICENSE", "README.md", "pyproject.toml"]
UNSHIPPED = {".md", ".yaml"}
"""Pages and metadata of components and pipelines are for readers of the repository."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy: setuptools would leave its scratch files in the checkout."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    return wheel_of(source)


def wheel_of(source):
    """Build a wheel in the source's own folder, and return its path."""
    out = source / "dist"
    command = [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder that holds the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    ZipFile(wheel).extractall(folder)
    return folder


def in_wheel(folder, code):
    """Run code that sees the wheel's packages, and of the checkout's environment only what the wheel depends on."""
    hide = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if '__editable__' not in getattr(f, '__module__', '')]"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "FEDSTREAM"))}
    done = subprocess.run(
        [sys.executable, "-c", f"{hide}\n{code}"],
        env=env | {"PYTHONPATH": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_every_file_of_the_packages_is_in_the_wheel(wheel):
    shipped = set(ZipFile(wheel).namelist())
    for folder, inside in (
        ("fedstream", "fedstream"),
        ("components", "fedstream/components"),
        ("pipelines", "fedstream/pipelines"),
    ):
        for path in (ROOT / folder).rglob("*"):
            if (
                path.is_file()
                and "__pycache__" not in path.parts
                and not (folder != "fedstream" and path.suffix in UNSHIPPED)
            ):
                assert f"{inside}/{path.relative_to(ROOT / folder)}" in shipped
    assert "fedstream/pipelines/federated_training/pipeline.yaml" in shipped
    assert not [name for name in shipped if name.startswith(("tests", "benchmarks", "components", "pipelines"))]


def test_components_and_pipelines_are_imported_from_the_wheel(installed):
    code = """
import fedstream
from fedstream.components import local_train
from fedstream.pipelines import FEDERATED_TRAINING_YAML, federated_training
print(fedstream.__file__, local_train.name, federated_training.name, FEDERATED_TRAINING_YAML)
"""
    where, component, pipeline, compiled = in_wheel(installed, code)
    assert Path(where) == installed / "fedstream" / "__init__.py"
    assert (component, pipeline) == ("local-train", "federated-training")
    assert Path(compiled).read_text() == (ROOT / "pipelines/federated_training/pipeline.yaml").read_text()
    assert installed in Path(compiled).parents


def test_the_wheel_s_pipeline_is_the_one_that_is_compiled(installed):
    in_wheel(installed, "import sys\nfrom fedstream.pipelines.compile import main\nsys.exit(main(['--check']))")


def test_reports_and_the_embedded_kafka_find_their_files(installed):
    code = "from fedstream.report.html import templates\nprint(len(templates().list_templates()))"
    assert int(in_wheel(installed, code)[0]) == len(list((ROOT / "fedstream/report/templates").iterdir()))
    assert (installed / "fedstream/local/kafka_files/jars.sha256").is_file()


def test_the_command_of_the_wheel_starts(wheel, installed):
    (entry,) = [name for name in ZipFile(wheel).namelist() if name.endswith("entry_points.txt")]
    assert "fedstream = fedstream.cli.app:main" in ZipFile(wheel).read(entry).decode()
    assert in_wheel(
        installed, "import sys\nfrom fedstream.cli.app import main\nsys.argv = ['fedstream', '--version']\nmain()"
    )


def test_the_package_of_kafka_ml_s_scripts_is_a_distribution_of_its_own(wheel, installed, tmp_path):
    """fedstream's wheel has no package of so general a name; who wants it installs it."""
    assert not [name for name in ZipFile(wheel).namelist() if name.startswith("datasources")]
    shutil.copytree(ROOT / "compat/kafka-ml", tmp_path / "source")
    built = wheel_of(tmp_path / "source")
    ZipFile(built).extractall(tmp_path / "site")
    (metadata,) = (tmp_path / "site").glob("*.dist-info/METADATA")
    assert "Requires-Dist: fedstream" in metadata.read_text()
    code = f"""
sys.path.insert(0, {str(tmp_path / "site")!r})
from datasources.federated_raw_sink import FederatedRawSink
from datasources.federated_online_raw_sink import OnlineFederatedRawSink
print(FederatedRawSink.__module__, OnlineFederatedRawSink.__module__)
"""
    assert in_wheel(installed, code) == ["fedstream.stream.raw_sinks"] * 2
