"""The rules of the house that no other test would see broken: who imports whom, what is locked, what is shipped."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from models.native.build import LIBRARY, SOURCES

ROOT = Path(__file__).parents[1]
ROOMS = ("models", "training", "service")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Which other rooms a room may import; a module is in the room with the longest prefix here.
MAY_IMPORT = {
    "models.native": set(),
    "models.tables": set(),
    "models.layers": {"models"},
    "models.bundle": {"models", "models.layers"},
    "models": {"models.layers", "models.native"},
    "training.data": {"training", "models", "models.tables"},
    "training.measuring": {"training", "training.data", "models", "models.bundle"},
    "training.robustness": {"training", "training.measuring", "models", "models.bundle"},
    "training": {
        "training.data",
        "training.measuring",
        "training.robustness",
        "models",
        "models.bundle",
        "models.layers",
        "models.tables",
    },
    "service.client": set(),
    "service.inference": {"service", "models", "models.bundle", "models.native"},
    "service.scoring": {"service", "service.inference", "models", "models.bundle", "models.tables"},
    "service.http": {"service", "service.inference", "models", "models.bundle"},
    "service": {
        "service.http",
        "service.scoring",
        "service.inference",
        "models",
        "models.bundle",
        "models.native",
        "models.tables",
    },
}
# The modules of `service`, `training` and `models` themselves that a room inside them may import: those below it.
GROUND_FLOOR = {
    "service.inference": {"service", "service.settings"},
    "service.scoring": {"service", "service.predictions", "service.settings"},
    "service.http": {"service", "service.predictions", "service.settings"},
    "training.data": {"training"},
    "training.measuring": {"training", "training.batches", "training.speedups"},
    "training.robustness": {"training", "training.batches"},
    "models.layers": {"models.masking", "models.windows"},
    "models.bundle": {
        *("models.attending", "models.classifier", "models.config", "models.mechanisms", "models.tokenizer"),
    },
}
MOST_FILES = 14
BUNDLES = ("default", "small", "transformer")
LOCKS = sorted(path.stem for path in (ROOT / "requirements").glob("*.txt"))
LOCK_LINE = re.compile(r"[a-z0-9.-]+(\[[a-z0-9,-]+\])?==\S+( ; [^\\]+?)?( +--hash=sha256:[0-9a-f]{64})+ *")
PLACES_TO_NAME_AN_INDEX = ("pyproject.toml", "Makefile", "Dockerfile", "docker-compose.yml", "README.md", ".ci/run")


def imported_modules(source: str) -> set[str]:
    """Absolute names of the modules that `source` imports, at the top or inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: import by absolute name, so that the rooms stay visible"
            assert node.module is not None
            names.add(node.module)
    return names


def modules_of(room: str) -> Iterator[Path]:
    return (path for path in (ROOT / room).rglob("*.py") if "saved" not in path.parts)


def locked(name: str) -> dict[str, list[Requirement]]:
    """The requirements in a lock by canonical name; more than one where versions differ by marker."""
    requirements: dict[str, list[Requirement]] = {}
    text = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", "")
    for line in text.splitlines():
        requirement = Requirement(line.split(" --hash=")[0])
        requirements.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return requirements


def test_imported_modules_sees_every_form_of_import() -> None:
    source = "import a.b, c\nfrom d.e import f\ndef g():\n    import h\n    from i import j as k\n"
    assert imported_modules(source) == {"a.b", "c", "d.e", "h", "i"}


def room_of(module: str) -> str | None:
    """Return the room that a module is in; None for a foreign one."""
    rooms = [room for room in MAY_IMPORT if module == room or module.startswith(f"{room}.")]
    return max(rooms, key=len, default=None)


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_rooms_import_one_way() -> None:
    found = []
    for path in (path for room in ROOMS for path in modules_of(room)):
        room = room_of(module_of(path))
        assert room is not None
        for module in imported_modules(path.read_text()):
            other = room_of(module)
            if module.split(".")[0] in ("tests", "benchmarks"):
                found.append(f"{path.relative_to(ROOT)} imports {module}")
            if other is None or other == room:
                continue
            climbs = other == room.split(".")[0] and module not in GROUND_FLOOR.get(room, ())
            if other not in MAY_IMPORT[room] or climbs:
                found.append(f"{path.relative_to(ROOT)} imports {module}")
    assert not found


def test_no_folder_is_crowded() -> None:
    """A room that a reader can survey; a mechanism a file is the one exception."""
    for folder in {path.parent for room in ROOMS for path in modules_of(room)} - {ROOT / "models" / "layers"}:
        files = [path for path in folder.iterdir() if path.suffix in (".py", ".c", ".h") and path.name[0] != "_"]
        assert len(files) <= MOST_FILES, f"{folder.relative_to(ROOT)} holds {len(files)} source files"


def test_the_diagram_in_the_readme_is_the_tree() -> None:
    """Every folder of the three rooms stands in the README's diagram, and nothing else does."""
    diagram = (ROOT / "README.md").read_text().split("## How it is built")[1].split("```")[1]
    shown, parents = set(), []
    for line in diagram.splitlines():
        if match := re.match(r"( *)([a-z_]+)/ ", line):
            parents = [*parents[: len(match[1]) // 2], match[2]]
            shown.add("/".join(parents))
    there = {str(path.parent.relative_to(ROOT)) for room in ROOMS for path in modules_of(room)} | {"service/page"}
    assert shown - {"tests", "benchmarks", "docs"} == there - {"models/bundle/onnx"}


def test_layers_masks_and_windows_import_keras_alone() -> None:
    allowed = {"keras", "models"} | set(sys.stdlib_module_names)
    layers = [
        *(ROOT / "models" / "layers").glob("*.py"),
        ROOT / "models" / "masking.py",
        ROOT / "models" / "windows.py",
    ]
    assert len(layers) > 2
    for path in layers:
        modules = imported_modules(path.read_text())
        own = {module for module in modules if module.split(".")[0] == "models"}
        assert {module.split(".")[0] for module in modules} <= allowed, path
        assert all(module.startswith(("models.layers", "models.masking", "models.windows")) for module in own), path


def test_there_is_a_lock_for_every_way_to_run() -> None:
    assert LOCKS == ["gpu", "onnx", "serve", "test", "torch", "train"]


@pytest.mark.parametrize("name", LOCKS)
def test_locks_pin_and_hash_everything_and_name_no_index(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    for line in text.replace("\\\n", "").splitlines():
        assert LOCK_LINE.fullmatch(line), line
    assert "//" not in text


@pytest.mark.parametrize(
    ("name", "extras"),
    [
        ("serve", {"cpu", "parquet"}),
        ("onnx", {"onnx"}),
        ("train", {"cpu", "train"}),
        ("gpu", {"gpu", "train"}),
        ("test", {"cpu", "train", "test"}),
    ],
)
def test_locks_satisfy_what_the_project_declares(name: str, extras: set[str]) -> None:
    lock = locked(name)
    declared = PROJECT["dependencies"] + [each for extra in extras for each in PROJECT["optional-dependencies"][extra]]
    for requirement in map(Requirement, declared):
        if requirement.name == PROJECT["name"] or (requirement.marker and not requirement.marker.evaluate()):
            continue
        entries = lock[canonicalize_name(requirement.name)]
        pinned = [each for each in entries if not each.marker or each.marker.evaluate()]
        assert len(pinned) == 1, f"{requirement}: run `make lock`"
        version = str(pinned[0].specifier).removeprefix("==")
        assert requirement.specifier.contains(version), f"{requirement}, locked {version}: run `make lock`"


def test_locks_agree_on_every_version() -> None:
    versions: dict[str, set[str]] = {}
    for name in LOCKS:
        for package, requirements in locked(name).items():
            versions.setdefault(package, set()).add(" ".join(sorted(str(each.specifier) for each in requirements)))
    assert not {package: found for package, found in versions.items() if len(found) > 1}


def test_the_service_is_locked_without_what_slows_its_start() -> None:
    """Keras and TensorFlow import these where they find them, which takes seconds, and a service needs none of them."""
    assert not locked("serve").keys() & {"jax", "scipy", "scikit-learn", "matplotlib", "gensim", "pytest"}


def test_onnx_runtime_is_locked_without_keras() -> None:
    assert not locked("onnx").keys() & {"keras", "tensorflow", "tensorflow-cpu", "jax", "h5py", "onnx", "tf2onnx"}


def test_pytorch_is_locked_apart_and_for_the_cpu() -> None:
    """It comes on top of the test environment, adds nothing that is there already, and brings no library of a GPU."""
    lock = locked("torch")
    assert not [name for name in LOCKS if name != "torch" and lock.keys() & locked(name).keys()]
    assert not {package for package in lock if package.startswith(("nvidia", "cuda", "triton"))}
    linux = {"sys_platform": "linux", "platform_machine": "x86_64"}
    versions = [each.specifier for each in lock["torch"] if not each.marker or each.marker.evaluate(linux)]
    assert [str(version).partition("+")[2] for version in versions] == ["cpu"]


def test_each_lock_of_an_environment_holds_one_backend() -> None:
    for name in set(LOCKS) - {"torch", "onnx"}:
        lock = locked(name)
        cuda = {package for package in lock if package.startswith("nvidia-")}
        assert bool(cuda) is (name == "gpu")
        on_this_machine = [
            each.name
            for package in ("tensorflow", "tensorflow-cpu")
            for each in lock.get(package, [])
            if not each.marker or each.marker.evaluate({"sys_platform": "linux", "platform_machine": "x86_64"})
        ]
        assert on_this_machine == (["tensorflow"] if name == "gpu" else ["tensorflow-cpu"])


def test_nothing_names_a_package_index() -> None:
    files = [ROOT / name for name in PLACES_TO_NAME_AN_INDEX]
    files += [*(ROOT / "docker").iterdir(), *(ROOT / "docs").glob("*.md"), *(ROOT / "requirements").iterdir()]
    index = re.compile(r"pypi\.|pythonhosted|/simple\b|(extra-)?index-url|find-links|trusted-host", re.IGNORECASE)
    assert not [f"{path.relative_to(ROOT)}: {match[0]}" for path in files if (match := index.search(path.read_text()))]


def test_the_changelog_gates_the_version() -> None:
    entries = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    versions = [entry for entry in entries if entry != "Unreleased"]
    assert versions[0] == PROJECT["version"]
    assert f'image.version="{versions[0]}"' in (ROOT / "Dockerfile").read_text()


def test_the_wheel_holds_the_three_rooms_and_what_they_read(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for room in (*ROOMS, "tests"):
        copytree(ROOT / room, source / room, ignore=ignore_patterns("__pycache__", "*.so"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        (source / name).write_text((ROOT / name).read_text())
    (source / "models" / "saved" / "trained_here").mkdir(parents=True)
    (source / "models" / "saved" / "trained_here" / "bundle.json").write_text("{}")
    build = "from setuptools.build_meta import build_wheel; build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True, timeout=120)

    (wheel,) = tmp_path.glob("heed-*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in names} == set(ROOMS)
    assert not {name for name in names if "trained_here" in name}
    expected = {str(path.relative_to(ROOT)) for room in ROOMS for path in modules_of(room)}
    expected |= {str(path.relative_to(ROOT)) for path in (ROOT / "training" / "configs").glob("*.t*")}
    expected |= {str(path.relative_to(ROOT)) for path in (ROOT / "training").rglob("*.css")}
    expected |= {f"models/native/{name}" for name in SOURCES}
    assert (f"models/native/{LIBRARY.name}" in names) is (shutil.which("cc") is not None)
    for folder in (ROOT / "service" / "page", *(ROOT / "models" / "saved" / name for name in BUNDLES)):
        assert folder.parent.name != "saved" or (folder / "bundle.json").is_file()
        expected |= {str(path.relative_to(ROOT)) for path in folder.rglob("*") if path.is_file()}
    assert expected - names == set()
