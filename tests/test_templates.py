"""The templates, as far as they can be checked without a cloud."""

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from google.cloud.dataflow_v1beta3.types import TemplateMetadata
from google.protobuf import json_format

from hir_transforms.settings.flags import config_of, parse_options
from hir_transforms.settings.template_metadata import TEMPLATES, metadata, write_metadata

ROOT = Path(__file__).parents[1]
TEMPLATE_FOLDER = ROOT / "templates"
DOCKERFILE = (TEMPLATE_FOLDER / "Dockerfile").read_text()
RERUNS = sorted((TEMPLATE_FOLDER / "reruns").glob("*.yaml"))


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_metadata_is_in_step_with_the_flags(name, tmp_path):
    written = write_metadata(tmp_path)[name].read_bytes()
    assert (TEMPLATE_FOLDER / f"{name}_metadata.json").read_bytes() == written, "run 'make template'"


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_metadata_is_what_dataflows_api_takes(name):
    content = json.loads((TEMPLATE_FOLDER / f"{name}_metadata.json").read_text())
    parsed = json_format.ParseDict(content, TemplateMetadata.pb(TemplateMetadata()))  # unknown fields are errors
    assert len(parsed.parameters) == len(content["parameters"])
    for parameter in content["parameters"]:
        assert {"name", "label", "helpText", "regexes"} <= parameter.keys()
        assert parameter["helpText"]


GOOD = {
    "raw": ["gs://b/a/*.jsonl", "gs://b/a.jsonl.gz,s3://c/d", "@gs://b/list,gs://b/a[,]b"],
    "output": ["gs://b/out"],
    "num_to_sample": ["1", "100000"],
    "seed": ["0", "-7"],
    "alpha": ["0.5", "1", ".25", "1e-3"],
    "top_k": ["true", "false"],
    "num_tokens_to_fit": ["all", "auto", "1000"],
    "raw_max_samples": ["all", "auto", "5"],
    "compression": ["none", "gzip", "zstd"],
    "raw_gmm": ["gs://b/raw.npz"],
    "embedding_model": ["all-MiniLM-L6-v2", "org/name"],
}
BAD = {
    "raw": ["/data/raw.jsonl", "gs://b", "gs://b/a,,gs://b/c", "@gs://b", "@@gs://b/a"],
    "output": ["gs://b", "gs://b/out*", "out"],
    "num_to_sample": ["ten", "-1", "1.5", ""],
    "seed": ["x"],
    "alpha": ["half", "-0.5", ""],
    "top_k": ["yes", ""],
    "num_tokens_to_fit": ["most", "0"],
    "raw_max_samples": ["most", "-5"],
    "compression": ["zip"],
    "raw_gmm": ["raw.npz"],
    "embedding_model": [""],
}


@pytest.mark.parametrize(("values", "good"), [(GOOD, True), (BAD, False)], ids=["good", "bad"])
def test_the_patterns_tell_good_values_from_bad_ones(values, good):
    patterns = {parameter["name"]: parameter["regexes"] for parameter in metadata("select")["parameters"]}
    for name, examples in values.items():
        for value in examples:
            assert all(re.search(pattern, value) for pattern in patterns[name]) == good, (name, value)


@pytest.mark.parametrize("name", TEMPLATES)
def test_defaults_match_their_patterns(name):
    for parameter in metadata(name)["parameters"]:
        if "defaultValue" in parameter:
            assert all(re.search(pattern, parameter["defaultValue"]) for pattern in parameter["regexes"])


@pytest.mark.parametrize("path", RERUNS, ids=lambda path: path.stem)
def test_the_rerun_files_hold_known_parameters_with_valid_values(path, tmp_path):
    (parameters,) = yaml.safe_load(path.read_text()).values()
    known = {parameter["name"]: parameter for parameter in metadata("select")["parameters"]}
    for name, value in parameters.items():
        assert isinstance(value, str)
        assert all(re.search(pattern, value) for pattern in known[name]["regexes"]), (name, value)
    assert {name for name, parameter in known.items() if not parameter["isOptional"]} <= parameters.keys()
    local = [f"--{name}={value.replace('gs://my-bucket', str(tmp_path))}" for name, value in parameters.items()]
    config = config_of(parse_options(local, "select"), "select")
    assert config.selection.num_to_sample == int(parameters["num_to_sample"])


def test_switches_may_be_given_as_a_template_gives_them():
    needed = ["--raw=/a", "--target=/b", "--output=/c", "--num_to_sample=1"]

    def top_k(*more):
        return config_of(parse_options([*needed, *more], "select"), "select").selection.top_k

    assert top_k("--top_k=true", "--overwrite=True")
    assert not top_k("--top_k=false")


def test_the_image_has_what_it_copies_and_the_version_of_beam_that_is_tested():
    assert f"ARG BEAM_VERSION={version('apache-beam')}\n" in DOCKERFILE
    (launcher,) = re.findall(r"/python(\d+)-template", DOCKERFILE)
    (worker,) = re.findall(r"/beam_python([\d.]+)_sdk", DOCKERFILE)
    assert launcher == worker.replace(".", "")
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert "constraints.txt" in copied
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_the_image_passes_hadolint():
    hadolint = Path(sys.executable).with_name("hadolint")
    result = subprocess.run([hadolint, TEMPLATE_FOLDER / "Dockerfile"], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "")
