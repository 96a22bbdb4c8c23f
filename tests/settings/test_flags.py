import argparse
from typing import Any

import pytest
from apache_beam.options.pipeline_options import StandardOptions

from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.settings.flags import SelectOptions, parse_options, select_config
from pipelines import select

NEEDED = {"raw": "/data/raw/*.jsonl", "target": "/data/target.jsonl", "output": "/out", "num_to_sample": "10"}


def flags(**values):
    return [f"--{name}={value}" for name, value in (NEEDED | values).items() if value is not None]


def options_of(*argv):
    return parse_options(argv, SelectOptions, "hir select")


def actions():
    """What the flags of `select` are declared as."""
    parser = argparse.ArgumentParser()
    SelectOptions._add_argparse_args(parser)
    return parser._actions


def config_of(*more, **values):
    return select_config(options_of(*flags(**values), *more).view_as(SelectOptions))


def error_of(*more, **values):
    with pytest.raises(UserError) as caught:
        config_of(*more, **values)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_defaults():
    config = config_of()
    assert config.raw.patterns == ("/data/raw/*.jsonl",)
    assert config.target.patterns == ("/data/target.jsonl",)
    assert (config.raw.role, config.target.role) == ("raw", "target")
    assert (config.raw.text_field, config.raw.max_document_bytes) == ("text", 64 << 20)
    rest = {name: value for name, value in vars(config).items() if name not in ("raw", "target")}
    assert rest == {
        "output": "/out",
        "work_dir": "/out.work",
        "num_to_sample": 10,
        "num_tokens_to_sample": None,
        "fit_seed": 0,
        "separate_targets": False,
        "id_field": None,
        "target_proportions": None,
        "skip_duplicates": False,
        "ngram_weights": None,
        "gmm_weights": None,
        "alpha": 0.5,
        "top_k": False,
        "seed": 0,
        "num_shards": 0,
        "compression": "none",
        "ngram_settings": NgramSettings(2, 10_000, "wordpunct", "sha256"),
        "num_tokens_to_fit": "auto",
        "min_example_length": 100,
        "target_laplace_smoothing": 0.0,
        "weight_scaling": "none",
        "embedding_model": "all-MiniLM-L6-v2",
        "embedding_revision": None,
        "embedding_prompt": "",
        "trust_remote_code": False,
        "embedding_dim": 0,
        "raw_embeddings": None,
        "target_embeddings": None,
        "raw_components": 1000,
        "target_components": 50,
        "gmm_max_iter": 100,
        "gmm_tol": 1e-3,
        "raw_max_samples": "auto",
        "target_max_samples": "auto",
        "raw_gmm": None,
        "target_gmm": (),
        "gmm_checkpoint_dir": None,
        "overwrite": False,
    }


def test_every_flag_reaches_its_setting():
    values = {
        "num_to_sample": 3,
        "alpha": 0.25,
        "seed": -7,
        "fit_seed": 9,
        "num_shards": 5,
        "compression": "zstd",
        "num_tokens_to_fit": "1000",
        "min_example_length": 4,
        "target_laplace_smoothing": 0.5,
        "weight_scaling": "standardize",
        "embedding_model": "other",
        "id_field": "url",
        "embedding_revision": "main",
        "embedding_prompt": "query: ",
        "embedding_dim": 5,
        "raw_components": 6,
        "target_components": 7,
        "gmm_max_iter": 8,
        "gmm_tol": 0.125,
        "raw_max_samples": "100",
        "target_max_samples": "50",
        "raw_gmm": "/raw.npz",
        "gmm_checkpoint_dir": "/checkpoints",
        "work_dir": "/work",
    }
    config = config_of("--top_k", "--overwrite", "--trust_remote_code", "--skip_duplicates", **values)
    assert {name: getattr(config, name) for name in values} == values
    assert config.top_k
    assert config.trust_remote_code
    assert config.overwrite
    assert config.skip_duplicates
    targets = {"target": "/a.jsonl,/b.jsonl", "target_proportions": "0.25,3", "target_gmm": "/a.npz,/b.npz"}
    config = config_of("--separate_targets", **targets)
    assert (config.target_proportions, config.target_gmm) == ((0.25, 3.0), ("/a.npz", "/b.npz"))
    assert (config.separate_targets, config.num_targets) == (True, 2)
    assert config_of(num_to_sample=None, num_tokens_to_sample=7).num_tokens_to_sample == 7
    ngrams: dict[str, Any] = {"ngrams": 3, "num_buckets": 17, "tokenizer": "word_tokenize", "hash": "fast"}
    assert config_of(**ngrams).ngram_settings == NgramSettings(**ngrams)
    embeddings = {"raw_embeddings": "/data/raw.npy,/data/more.npy", "target_embeddings": "/data/target.avro"}
    given = {"ngram_weights": "/data/n.npy", "gmm_weights": "/data/g.parquet"}
    config = config_of(**embeddings)
    assert config.raw_embeddings == Dataset("raw_embeddings", ("/data/raw.npy", "/data/more.npy"))
    assert config.target_embeddings == Dataset("target_embeddings", ("/data/target.avro",))
    config = config_of(**given)
    assert config.ngram_weights == Dataset("ngram_weights", ("/data/n.npy",))
    assert config.gmm_weights == Dataset("gmm_weights", ("/data/g.parquet",))
    lines = {"text_field": "body", "max_document_bytes": 7, "on_bad_record": "fail", "max_rejected_share": 0.5}
    for dataset in (config_of(**lines).raw, config_of(**lines).target):
        assert {name: getattr(dataset, name) for name in lines} == lines
    parser = argparse.ArgumentParser(add_help=False)
    SelectOptions._add_argparse_args(parser)
    switches = {"top_k", "overwrite", "trust_remote_code", "skip_duplicates", "separate_targets"}
    tested = {
        *NEEDED,
        *values,
        *targets,
        *ngrams,
        *embeddings,
        *given,
        *switches,
        *lines,
        "num_tokens_to_sample",
    }
    assert {action.dest for action in parser._actions} == tested


def test_paths_are_absolute_and_several_patterns_may_be_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/alice")
    config = config_of(raw="a/*.jsonl,mem://bucket/*.gz", target="~/t.jsonl", output="out/", work_dir="~/work/")
    assert config.raw.patterns == (str(tmp_path / "a/*.jsonl"), "mem://bucket/*.gz")
    assert config.target.patterns == ("/home/alice/t.jsonl",)
    assert config.output == str(tmp_path / "out")
    assert config.work_dir == "/home/alice/work"
    assert config_of(raw_gmm="raw.npz").raw_gmm == str(tmp_path / "raw.npz")
    assert config_of(target_gmm="mem://bucket/t.npz").target_gmm == ("mem://bucket/t.npz",)
    assert config_of(gmm_checkpoint_dir="kept/").gmm_checkpoint_dir == str(tmp_path / "kept")
    assert config_of(output="mem://bucket/out/").output == "mem://bucket/out"
    assert config_of(output="mem://bucket/out/").work_dir == "mem://bucket/out.work"


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_flag_is_named(name):
    assert error_of(**{name: None}).startswith(f"--{name} is required")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_to_sample", "ten"),
        ("num_to_sample", "1.5"),
        ("num_to_sample", "0"),
        ("alpha", "half"),
        ("alpha", "2.0"),
        ("seed", "x"),
        ("seed", str(2**63)),
        ("fit_seed", "x"),
        ("fit_seed", "-1"),
        ("fit_seed", str(2**32)),
        ("num_to_sample", str(2**63)),
        ("num_tokens_to_fit", str(2**63)),
        ("num_shards", "100000"),
        ("min_example_length", str(2**31)),
        ("raw_components", str(2**31)),
        ("embedding_dim", str(2**31)),
        ("raw_max_samples", str(2**63)),
        ("gmm_tol", "nan"),
        ("alpha", "nan"),
        ("target_laplace_smoothing", "inf"),
        ("target_proportions", "1e308,1e308"),
        ("direct_num_workers", "-1"),
        ("direct_num_workers", "1025"),
        ("num_tokens_to_sample", "many"),
        ("target_proportions", "1,half"),
        ("num_shards", "-3"),
        ("compression", "zip"),
        ("ngrams", "0"),
        ("ngrams", "11"),
        ("num_buckets", "0"),
        ("num_buckets", str(2**24 + 1)),
        ("tokenizer", "spaces"),
        ("hash", "md5"),
        ("num_tokens_to_fit", "most"),
        ("min_example_length", "-1"),
        ("target_laplace_smoothing", "-0.5"),
        ("raw_components", "0"),
        ("target_components", "-2"),
        ("gmm_max_iter", "0"),
        ("gmm_tol", "-1.0"),
        ("weight_scaling", "rank"),
        ("embedding_dim", "-1"),
        ("raw_max_samples", "0"),
        ("target_max_samples", "some"),
    ],
)
def test_a_bad_value_is_named_with_its_flag(name, value):
    message = error_of(**{name: value})
    assert f"--{name}" in message
    assert value in message or name == "target_proportions"


NUMERIC = [action.dest for action in actions() if action.type in (int, float) or "N" in str(action.metavar).split("|")]


@pytest.mark.parametrize("digits", [4_000, 5_000])
@pytest.mark.parametrize("name", [*NUMERIC, "target_proportions", "direct_num_workers"])
def test_a_number_of_thousands_of_digits_is_one_short_line(name, digits, capsys):
    assert select.run(flags(**{name: "9" * digits})) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hir select: error: ")
    assert f"--{name}" in line
    assert len(line) < 1100


def test_a_number_of_beams_own_that_cannot_be_read_is_named():
    assert error_of(job_port="9" * 5_000).startswith("argument --job_port: invalid int value: '99")


@pytest.mark.parametrize(
    ("flag", "suggestion"),
    [
        ("--num_to_smaple=3", "--num_to_sample"),
        ("--topk", "--top_k"),
        ("--num-shards=3", "--num_shards"),
        ("--runer=X", "--runner"),
        ("--num_to_sampl=3", "--num_to_sample"),
    ],
)
def test_an_unknown_flag_is_named_with_what_was_meant(flag, suggestion):
    assert error_of(flag) == f"unknown flag {flag}; did you mean {suggestion}?"


def test_a_stray_argument_may_be_a_pattern_that_the_shell_expanded():
    assert error_of("b.jsonl") == "unknown flag b.jsonl; put patterns in quotes, so that the shell leaves them alone"


@pytest.mark.parametrize("value", ["true", "yes"])
def test_a_switch_with_a_value_of_its_own_is_named(value):
    assert error_of("--top_k", value) == (
        f"--top_k is a switch and takes no value: leave out '{value}', or write --top_k=true or =false"
    )


@pytest.mark.parametrize(
    "argument", ["--quxquxqux", "-z", "--batch_size=3", "--threads=2", "--model=x", "--n", "--tokens"]
)
def test_an_unknown_flag_like_no_other(argument):
    assert error_of(argument) == f"unknown flag {argument}"


def test_a_flag_without_its_value_is_named():
    assert "--seed" in error_of("--seed")
    assert "--top_k" in error_of("--top_k=yes")


def test_beams_own_flags_are_known():
    options = options_of(*flags(), "--runner=FnApiRunner", "--direct_num_workers=2", "--temp_location", "/tmp/x")
    assert options.view_as(StandardOptions).runner == "FnApiRunner"


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_names_every_flag_and_exits_0(flag, capsys):
    with pytest.raises(SystemExit) as caught:
        select.run([*flags(), flag])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert all(f"--{name}" in text for name in vars(config_of()) if name != "ngram_settings")
    assert "hir select" in text


def test_a_bad_flag_ends_with_status_2_and_one_line(capsys):
    assert select.run(flags(alpha="2.0")) == 2
    assert capsys.readouterr().err == "hir select: error: --alpha: must be between 0 and 1, not 2.0\n"


def test_buckets_in_list_files_are_looked_at(tmp_path):
    (tmp_path / "list.txt").write_text(f"{tmp_path}/a.jsonl\nnowhere://bucket/b.jsonl\n")
    assert error_of(raw=f"@{tmp_path}/list.txt") == "--raw: Beam has no file system for nowhere:// here"
    assert error_of(raw="@nowhere://bucket/list") == "--raw: Beam has no file system for nowhere:// here"
    assert error_of(target=f"@{tmp_path}/none").startswith(f"cannot read {tmp_path}/none: ")
    (tmp_path / "list.txt").write_text("a.jsonl\n")
    assert config_of(raw=f"b.jsonl,@{tmp_path}/list.txt").raw.patterns[1] == f"@{tmp_path}/list.txt"


def test_a_folder_whose_name_is_no_text_is_refused():
    assert error_of(output="/data/\udcff") == r"'/data/\udcff' is not valid UTF-8; choose another name"
