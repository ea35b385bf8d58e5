"""Bundles made to do harm, and what says no to each. Hashes and version fit unless they are the very thing tested."""

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import models.bundle.archive
import models.bundle.verification
from models.bundle.store import BundleError, load_bundle
from models.bundle.verification import check_files
from tests.models.bundle.forged_bundle import (
    add_layer,
    change_architecture,
    change_weights,
    members,
    seal,
    write_members,
)
from tests.tiny_bundle import build_tiny_bundle


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = build_tiny_bundle(tmp_path_factory.mktemp("saved"))
    (path / "report").mkdir()
    (path / "report" / "curve.svg").write_text("<svg/>")
    seal(path, lambda card: card["files"].update({"report/curve.svg": "0" * 64}))
    seal(path)
    return path


@pytest.fixture
def bundle(saved: Path, tmp_path: Path) -> Path:
    """A bundle to spoil."""
    return shutil.copytree(saved, tmp_path / "default")


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that foreign code would make."""
    return tmp_path / "canary"


def refused(bundle: Path, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        load_bundle(bundle)


def node(module: Any, name: Any, registered: Any = None, **config: Any) -> dict[str, Any]:
    values = {"name": "added", "trainable": True, "dtype": "float32", **config}
    return {
        "module": module,
        "class_name": name,
        "config": values,
        "registered_name": registered,
        "name": "added",
        "inbound_nodes": [],
    }


def test_forging_alone_is_not_what_is_refused(bundle: Path) -> None:
    write_members(bundle, members(bundle), zipfile.ZIP_DEFLATED)
    change_weights(bundle, lambda weights: weights.attrs.create("note", "hello"))
    change_architecture(bundle, lambda architecture: architecture["config"].update(name="renamed"))
    assert load_bundle(bundle).model.name == "renamed"


@pytest.mark.parametrize("name", ["model.keras", "tokenizer.json", "report/curve.svg"])
def test_a_changed_byte_is_refused(bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    refused(bundle, rf"{name}: expected SHA-256 [0-9a-f]{{64}}\. Received [0-9a-f]{{64}}: the file was changed")


@pytest.mark.parametrize("name", ["model.keras", "tokenizer.json", "report/curve.svg"])
def test_a_missing_file_is_refused(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    refused(bundle, rf"{name}: expected a file, as the card lists it\. Found none")


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "report/../../secret", "..", "", ".", "a\\..\\b", "a\0b"]
)
def test_a_path_that_climbs_out_is_refused(bundle: Path, name: str) -> None:
    (bundle.parent / "secret").write_text("secret")
    seal(bundle, lambda card: card["files"].update({name: "0" * 64}))
    refused(bundle, r"expected file names inside the bundle.*climbs out|expected a file, as the card lists it")


@pytest.mark.parametrize("name", ["n" * 300, "\udcff", "model.keras/inner"])
def test_a_name_no_file_can_have_is_refused(bundle: Path, name: str) -> None:
    seal(bundle, lambda card: card["files"].update({name: "0" * 64}))
    refused(bundle, r"expected a (readable )?file|files")


def test_a_link_out_of_the_bundle_is_refused(bundle: Path) -> None:
    for link, target in (("model.keras", "elsewhere.keras"), ("report", "elsewhere")):
        (bundle / link).rename(bundle.parent / target)
        (bundle / link).symlink_to(bundle.parent / target)
        refused(bundle, rf"{link}.*: expected a file inside the bundle\. It is a link to .*{target}")
        (bundle / link).unlink()
        (bundle.parent / target).rename(bundle / link)


def test_a_link_to_itself_is_refused(bundle: Path) -> None:
    (bundle / "tokenizer.json").unlink()
    (bundle / "tokenizer.json").symlink_to("tokenizer.json")
    refused(bundle, r"tokenizer\.json: expected a (readable )?file")


def test_a_pipe_is_refused_and_not_waited_for(bundle: Path) -> None:
    (bundle / "tokenizer.json").unlink()
    os.mkfifo(bundle / "tokenizer.json")
    refused(bundle, r"tokenizer\.json: expected a file, as the card lists it")


def test_a_link_within_the_bundle_is_served(bundle: Path) -> None:
    """As a Kubernetes volume lays out its files."""
    (bundle / "..data").mkdir()
    (bundle / "model.keras").rename(bundle / "..data" / "model.keras")
    (bundle / "model.keras").symlink_to("..data/model.keras")
    load_bundle(bundle)


def test_files_past_the_caps_are_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (bundle / "model.keras").stat().st_size
    monkeypatch.setattr(models.bundle.verification, "MAX_FILE_BYTES", size - 1)
    refused(bundle, rf"model\.keras: expected at most {size - 1} bytes\. Received {size}")
    monkeypatch.setattr(models.bundle.verification, "MAX_FILES", 2)
    refused(bundle, r"expected at most 2 files\. The card lists 3")


def test_members_past_the_caps_are_refused_unread(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = members(bundle)
    write_members(bundle, contents | {"config.json": b" " * 1_000_000 + contents["config.json"]}, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(models.bundle.archive, "MAX_ARCHITECTURE_BYTES", 999_999)
    refused(bundle, r"expected config\.json of at most 999999 bytes unpacked\. Received 10\d{5}")
    write_members(bundle, contents | {"model.weights.h5": bytes(5_000_000)}, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(models.bundle.archive, "MAX_FILE_BYTES", 4_000_000)
    refused(bundle, r"expected model\.weights\.h5 of at most 4000000 bytes unpacked\. Received 5000000")


@pytest.mark.parametrize("name", ["../escape", "/escape", "assets/vocabulary.txt", "model.weights.npz", "config.json/"])
def test_members_of_other_names_are_refused(bundle: Path, name: str) -> None:
    write_members(bundle, members(bundle) | {name: b"escaped"})
    refused(bundle, rf"model\.keras: expected only \[.*\] in the archive\. Received '{name}'")
    assert not (bundle.parent / "escape").exists()


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_a_missing_member_is_refused(bundle: Path, name: str) -> None:
    contents = members(bundle)
    del contents[name]
    write_members(bundle, contents)
    refused(bundle, r"model\.keras: expected a whole \.keras archive")


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def encrypted(content: bytes) -> bytes:
    """Every member flagged as encrypted, in its own header and in the directory."""
    changed = bytearray(content)
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = changed.find(signature)
        while start >= 0:
            changed[start + flags] |= 1
            start = changed.find(signature, start + 1)
    return bytes(changed)


def of_unknown_compression(content: bytes) -> bytes:
    changed = bytearray(content)
    for signature, method in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        start = changed.find(signature)
        while start >= 0:
            changed[start + method] = 77
            start = changed.find(signature, start + 1)
    return bytes(changed)


@pytest.mark.parametrize(
    "damage",
    [truncated, encrypted, of_unknown_compression, lambda content: b"", lambda content: b"PK\x05\x06" + bytes(18)],
    ids=["truncated", "encrypted", "compression", "empty", "no-members"],
)
def test_a_damaged_archive_is_refused(bundle: Path, damage: Callable[[bytes], bytes]) -> None:
    file = bundle / "model.keras"
    file.write_bytes(damage(file.read_bytes()))
    seal(bundle)
    refused(bundle, r"model\.keras: expected a whole \.keras archive")


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_does_not_unpack_is_refused(bundle: Path, compression: int) -> None:
    write_members(bundle, members(bundle), compression)
    file = bundle / "model.keras"
    with zipfile.ZipFile(file) as archive:
        member = archive.getinfo("config.json")
    content = bytearray(file.read_bytes())
    start = member.header_offset + 30 + len(member.filename) + 20
    content[start : start + 40] = b"\xff" * 40
    file.write_bytes(content)
    seal(bundle)
    refused(bundle, r"model\.keras: expected a whole \.keras archive")


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"weights"], ids=["empty", "signature", "text"])
def test_weights_that_are_no_hdf5_are_refused(bundle: Path, content: bytes) -> None:
    write_members(bundle, members(bundle) | {"model.weights.h5": content})
    refused(bundle, r"model\.keras: expected a whole \.keras archive")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[" * 100_000, b'{"config":' * 100_000, b"\xff\x00\xfe"],
    ids=["empty", "half", "deep-list", "deep-dict", "binary"],
)
def test_an_architecture_that_is_no_sane_json_is_refused(bundle: Path, content: bytes) -> None:
    write_members(bundle, members(bundle) | {"config.json": content})
    refused(bundle, r"model\.keras: expected config\.json to be JSON of a sane depth")


@pytest.mark.parametrize("content", [b"[]", b"1", b"null", b"{}", b'{"class_name": "__keras_tensor__"}'])
def test_an_architecture_of_no_model_is_refused(bundle: Path, content: bytes) -> None:
    write_members(bundle, members(bundle) | {"config.json": content})
    refused(bundle, r"model\.keras: (cannot be loaded|expected a model)")


def test_an_architecture_that_is_a_layer_is_refused(bundle: Path) -> None:
    dense = keras.saving.serialize_keras_object(keras.layers.Dropout(0.1))
    change_architecture(bundle, lambda architecture: (architecture.clear(), architecture.update(dense)))
    refused(bundle, r"model\.keras: (cannot be loaded|expected a model\. Received a Dropout)")


def add_dataset(weights: h5py.File, **options: Any) -> None:
    weights.create_dataset("added", shape=(4,), dtype="f4", **options)


def add_virtual(weights: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "data", shape=(4,))
    weights.create_virtual_dataset("added", layout)


def add_cycle(weights: h5py.File) -> None:
    weights["layers/again"] = weights["layers"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.update(added=h5py.ExternalLink("/etc/hostname", "/")), "added is a ExternalLink"),
        (lambda weights: weights["layers"].update(added=h5py.SoftLink("/")), "layers/added is a SoftLink"),
        (lambda weights: add_dataset(weights, external=[("/etc/hostname", 0, 16)]), "/added reads another file"),
        (add_virtual, "/added reads another file"),
        (add_cycle, "RecursionError"),
    ],
    ids=["external-link", "soft-link", "external-data", "virtual", "cycle"],
)
def test_weights_that_point_elsewhere_are_refused(
    bundle: Path, change: Callable[[h5py.File], object], message: str
) -> None:
    change_weights(bundle, change)
    refused(bundle, rf"model\.keras: expected .*{message}")


def test_a_python_lambda_is_refused(bundle: Path, canary: Path) -> None:
    layer = keras.layers.Lambda(lambda x, place=str(canary): (open(place, "w").close(), x)[1])
    function = keras.saving.serialize_keras_object(layer)
    add_layer(bundle, function | {"name": "added", "inbound_nodes": []})
    refused(bundle, r"refused class keras\.layers\.Lambda .*: expected a class of Keras' own that runs no foreign code")
    assert not canary.exists()


def test_a_python_lambda_as_an_activation_is_refused(bundle: Path, canary: Path) -> None:
    layer = keras.layers.Lambda(lambda x, place=str(canary): (open(place, "w").close(), x)[1])
    code = keras.saving.serialize_keras_object(layer)["config"]["function"]
    assert code["class_name"] == "__lambda__"
    add_layer(bundle, node("keras.layers", "Activation", activation=code))
    refused(bundle, r"refused class .*__lambda__")
    assert not canary.exists()


@pytest.mark.parametrize(
    ("module", "name", "registered"),
    [
        ("os", "system", None),
        ("subprocess", "Popen", None),
        ("subprocess", "Popen", "subprocess>Popen"),
        ("builtins", "exec", None),
        ("builtins", "function", "function"),
        ("keras.utils", "get_file", None),
        ("keras.src.utils.python_utils", "func_load", None),
        ("keras.layers", "TFSMLayer", None),
        ("keras.layers", "TorchModuleWrapper", None),
        ("keras.layers", "JaxLayer", None),
        ("keras.layers", "FlaxLayer", None),
        ("keras.layers", "StringLookup", None),
        ("keras.layers", "IntegerLookup", None),
        ("keras.layers", "TextVectorization", None),
        ("keras.layers", "deserialize", None),
        ("keras.layers", "__builtins__", None),
        ("keras.layers", "NoSuchLayer", None),
        ("keras.layers", "Dense", "heed>Other"),
        ("keras.layers.core", "Dense", None),
        ("keras", "Model", None),
        ("models.layers.linear_head", "LinearHead", "heed>SeqSelfAttention"),
        ("models.layers.linear_head", "LinearHead", None),
        (None, "Lambda", None),
        (None, None, None),
        (["keras.layers"], "Dense", None),
        ("keras.layers", ["Dense"], None),
        ("keras.layers", "Dense", {"heed>LinearHead": 1}),
    ],
)
def test_a_class_of_another_origin_is_refused(
    bundle: Path, canary: Path, module: Any, name: Any, registered: Any
) -> None:
    add_layer(bundle, node(module, name, registered, args=["touch", str(canary)]))
    refused(bundle, r"model\.keras: refused class ")
    assert not canary.exists()


@pytest.mark.parametrize("where", ["layer", "head", "initializer", "dtype", "build_config", "nested list"])
def test_a_foreign_class_is_found_wherever_it_stands(bundle: Path, canary: Path, where: str) -> None:
    foreign = node("subprocess", "Popen", args=["touch", str(canary)])
    places: dict[str, dict[str, Any]] = {
        "layer": node("keras.layers", "Bidirectional", layer=foreign),
        "head": node("models.layers.multi_head", "MultiHead", "heed>MultiHead", layer=foreign),
        "initializer": node("keras.layers", "Dense", units=1, kernel_initializer=foreign),
        "dtype": node("keras.layers", "Dropout", rate=0.1) | {"config": {"rate": 0.1, "dtype": foreign}},
        "build_config": node("keras.layers", "Dropout", rate=0.1) | {"build_config": {"input_shape": foreign}},
        "nested list": node("keras.layers", "Dropout", rate=[[[foreign]]]),
    }
    add_layer(bundle, places[where])
    refused(bundle, r"refused class subprocess\.Popen .* or one of \['heed>AdditiveAttentionPooling'")
    assert not canary.exists()


def test_a_class_registered_by_someone_else_is_refused(bundle: Path) -> None:
    made = []

    class Foreign(keras.layers.Layer):
        def __init__(self, **config: Any) -> None:
            super().__init__(**config)
            made.append(self)

    keras.saving.register_keras_serializable("elsewhere")(Foreign)
    try:
        foreign = node("elsewhere", "Foreign", "elsewhere>Foreign")
        keras.saving.deserialize_keras_object(foreign)
        assert made, "Keras alone would have made it"
        made.clear()
        add_layer(bundle, foreign)
        refused(bundle, r"refused class elsewhere\.Foreign \(registered as 'elsewhere>Foreign'\)")
        assert not made
    finally:
        del keras.saving.get_custom_objects()["elsewhere>Foreign"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config["output_layers"].pop("attention"), r"expected outputs 'logits' and 'attention'"),
        (lambda config: config.update(output_layers=config["output_layers"]["logits"]), r"outputs .*Received \[\]"),
    ],
)
def test_a_model_of_other_outputs_is_refused(
    bundle: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    change_architecture(bundle, lambda architecture: change(architecture["config"]))
    refused(bundle, message)


@pytest.mark.parametrize("name", ["embedding", "head"])
def test_a_model_without_the_layers_we_look_up_is_refused(bundle: Path, name: str) -> None:
    def rename(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: rename(item) for key, item in value.items()}
        if isinstance(value, list):
            return [rename(item) for item in value]
        return "renamed" if value == name else value

    def change(architecture: dict[str, Any]) -> None:
        architecture["config"] = rename(architecture["config"])

    change_architecture(bundle, change)
    refused(bundle, rf"expected a layer '{name}', a \w+\. Received no layer of that name")


def replace_kernel(weights: h5py.File) -> None:
    delete_kernel(weights)
    weights["layers/linear_head/vars/0"] = np.zeros((3, 3), "f4")


def delete_kernel(weights: h5py.File) -> None:
    del weights["layers/linear_head/vars/0"]


def delete_layer(weights: h5py.File) -> None:
    del weights["layers/linear_head"]


@pytest.mark.filterwarnings("ignore:Skipping nested container")  # Keras looks for the head elsewhere before it gives up
@pytest.mark.parametrize("change", [replace_kernel, delete_kernel, delete_layer])
def test_weights_of_another_model_are_refused(bundle: Path, change: Callable[[h5py.File], None]) -> None:
    change_weights(bundle, change)
    refused(bundle, r"model\.keras: cannot be loaded: ValueError: .*\n*.*LinearHead name=head")


def test_digests_are_compared_whole(bundle: Path) -> None:
    with pytest.raises(BundleError, match="expected SHA-256 "):
        check_files(bundle, {"tokenizer.json": ""})
