import copy
import re
from dataclasses import replace

import pytest
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

from hir_transforms.common.errors import UserError
from hir_transforms.common.settings import ALL_OR_SOME, NUMBER, SIGNED_NUMBER, WHOLE_NUMBER
from hir_transforms.common.user_functions import UserFunction
from hir_transforms.settings.commands import COMMANDS
from hir_transforms.settings.config import SETTINGS, PipelineConfig
from hir_transforms.settings.flags import SettingOptions, config_of, parse_options
from pipelines import embed, evaluate, fit, plan, resample, score, select, tune

NEEDED = {"raw": "/data/raw/*.jsonl", "target": "/data/target.jsonl", "output": "/out", "num_to_sample": "10"}
MAINS = {
    "select": select,
    "fit": fit,
    "embed": embed,
    "score": score,
    "tune": tune,
    "resample": resample,
    "plan": plan,
    "evaluate": evaluate,
}
SWITCHES = [one.name for one in SETTINGS.values() if one.is_switch]


def flags(**values):
    return [f"--{name}={value}" for name, value in (NEEDED | values).items() if value is not None]


def options_of(*argv, command="select"):
    return parse_options(argv, command)


def config_from(*more, **values):
    return config_of(options_of(*flags(**values), *more), "select")


def error_of(*more, **values):
    with pytest.raises(UserError) as caught:
        config_from(*more, **values)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_main_has_its_settings():
    assert {*COMMANDS} == {*MAINS}
    assert all(
        command.required and {*command.required} <= {*command.settings}
        for command in COMMANDS.values()
        if command.name != "embed"
    )
    assert {name for command in COMMANDS.values() for name in command.settings} == {*SETTINGS}
    assert {*COMMANDS["select"].settings} == {*SETTINGS} - EVALUATION


def test_without_flags_settings_have_their_defaults():
    assert config_from() == PipelineConfig.of(**NEEDED)


# Another value for each setting that is no switch.
VALUES = {
    "raw": "/a.jsonl,/b.jsonl",
    "target": "/c.jsonl,/d.jsonl",
    "output": "/elsewhere",
    "num_to_sample": 3,
    "alpha": 0.25,
    "seed": -7,
    "fit_seed": 9,
    "num_shards": 5,
    "compression": "zstd",
    "output_format": "jsonl",
    "ngram_estimator": "classifier",
    "num_documents_to_fit": 70,
    "num_tokens_to_fit": "1000",
    "min_example_length": 4,
    "target_laplace_smoothing": 0.5,
    "target_proportions": "0.25,3",
    "embedding_estimator": "classifier",
    "weight_scaling": "standardize",
    "ngrams": 3,
    "num_buckets": 17,
    "tokenizer": "word_tokenize",
    "hash": "fast",
    "embedding_model": "other",
    "embedding_revision": "main",
    "embedding_prompt": "query: ",
    "embedding_batch_size": 7,
    "embedding_dim": 5,
    "raw_components": "6",
    "target_components": "7",
    "gmm_max_iter": 8,
    "num_documents_to_try": 9,
    "gmm_tol": 0.125,
    "raw_max_samples": "100",
    "target_max_samples": "50",
    "raw_gmm": "/raw.npz",
    "target_gmm": "/a.npz,/b.npz",
    "gmm_checkpoint_dir": "/checkpoints",
    "raw_embeddings": "/data/raw.npy,/data/more.npy",
    "target_embeddings": "/data/target.avro",
    "ngram_weights": "/data/n.npy",
    "gmm_weights": "/data/g.parquet",
    "id_field": "url",
    "text_field": "title,doc.body",
    "target_text_field": "body",
    "raw_load_dataset_fn": "json:load",
    "raw_parse_example_fn": "json:dumps",
    "target_load_dataset_fn": "csv:DictReader",
    "target_parse_example_fn": "csv:reader",
    "max_document_bytes": 7,
    "on_bad_record": "fail",
    "max_rejected_share": 0.5,
    "work_dir": "/work",
    "selected": "/data/a.jsonl,/data/b.jsonl",
    "heldout": "/data/h.jsonl",
    "label_field": "source",
    "wanted": "law",
    "json": "/measures.json",
}
# What `evaluate` alone reads.
EVALUATION = {"selected", "heldout", "json"}
LABELS = {"label_field", "wanted"}


def test_every_flag_reaches_its_setting():
    given = VALUES | dict.fromkeys(SWITCHES, True)
    assert {*given} == {*SETTINGS} - {"num_tokens_to_sample"}
    of_select = {name: value for name, value in VALUES.items() if name not in EVALUATION}
    config = config_from(*(f"--{name}" for name in SWITCHES), **of_select)
    argv = [f"--{name}={VALUES[name]}" for name in EVALUATION | LABELS]
    config = replace(
        config, evaluation=config_of(parse_options([*argv, "--target=/t"], "evaluate"), "evaluate").evaluation
    )
    assert config == PipelineConfig.of(**given)
    groups = [group for name, group in vars(config).items() if name != "auto"]
    found = {name: value for group in groups for name, value in vars(group).items() if name in SETTINGS}
    for name, value in given.items():
        shown = str(found[name]) if isinstance(found[name], UserFunction) else found[name]
        if isinstance(shown, tuple):
            shown = ",".join(f"{one:g}" if isinstance(one, float) else one for one in shown)
        assert shown == value
        assert shown != SETTINGS[name].default
    config = config_from(num_to_sample=None, num_tokens_to_sample=7)
    assert config.selection.num_tokens_to_sample == 7


def test_a_repeatable_flag_keeps_all_of_its_values():
    options = parse_options(["--selected=/a", "--target=/t", "--selected", "/b,/c", "--target=/u"], "evaluate")
    config = config_of(options, "evaluate")
    assert config.evaluation.selected == ("/a", "/b", "/c")
    assert config.inputs.target == ("/u",)


def test_beam_shows_the_settings_with_a_job():
    options = options_of(*flags(alpha=0.25), "--top_k")
    assert options.view_as(SettingOptions).given() == NEEDED | {"alpha": "0.25", "top_k": True}
    assert {"alpha": "0.25", "top_k": True}.items() <= options.display_data().items()


@pytest.mark.parametrize("command", MAINS)
def test_a_flag_that_a_command_does_not_read_is_named(command, capsys):
    for name in SETTINGS:
        given = f"--{name}" if name in SWITCHES else f"--{name}={VALUES.get(name, 7)}"
        for flag in [given, f"--{name}=false"] if name in SWITCHES else [given]:
            if name in COMMANDS[command].settings:
                assert isinstance(parse_options([flag], command), SettingOptions)
            else:
                assert MAINS[command].run([flag]) == 2
                assert capsys.readouterr().err == (
                    f"hir {command}: error: --{name}: hir {command} does not read it "
                    f"('hir help {command}' lists those that it reads)\n"
                )


def test_what_commands_do_not_read():
    others = {name: command for name, command in COMMANDS.items() if name != "evaluate"}
    unread = {name: {*SETTINGS} - EVALUATION - {*command.settings} for name, command in others.items()}
    sampling = {"num_to_sample", "num_tokens_to_sample", "top_k", "seed", "skip_duplicates", "target_proportions"}
    writing = {"num_shards", "compression", "output_format", "overwrite", "no_report"}
    assert unread["select"] == unread["plan"] == set()
    assert unread["resample"] == {"gmm_checkpoint_dir"}
    assert unread["score"] == sampling | writing | LABELS
    assert unread["fit"] == unread["score"] | {"id_field", "weight_scaling", "weight_per_token", "min_example_length"}
    text = {"raw", "target", "text_field", "target_text_field", "max_document_bytes", "on_bad_record"}
    text |= {"max_rejected_share", "raw_load_dataset_fn", "raw_parse_example_fn"}
    text |= {"target_load_dataset_fn", "target_parse_example_fn"}
    model = {"embedding_model", "embedding_revision", "embedding_prompt", "embedding_batch_size", "trust_remote_code"}
    assert {*COMMANDS["evaluate"].settings} - EVALUATION - LABELS == {
        *(*text, *model, "work_dir", "no_progress"),
        *("ngrams", "num_buckets", "tokenizer", "hash", "separate_targets"),
    }
    assert {*COMMANDS["tune"].settings} == {
        *text,
        *("ngrams", "num_buckets", "tokenizer", "hash", "separate_targets", "target_laplace_smoothing", "fit_seed"),
        *("num_to_sample", "num_tokens_to_sample", "min_example_length", "output", "work_dir", "no_progress"),
        *("alpha", "ngram_estimator", "embedding_estimator", "embedding_dim", "num_documents_to_try"),
        *("weight_scaling", "weight_per_token", "raw_components", "target_components", "gmm_max_iter", "gmm_tol"),
        *("raw_max_samples", "target_max_samples", *model, "raw_embeddings", "target_embeddings"),
    }
    assert {*COMMANDS["embed"].settings} == {
        *text,
        *(*model, "raw_embeddings", "target_embeddings", "output", "work_dir", "no_progress"),
    }


@pytest.mark.parametrize("name", sorted({*SETTINGS} - EVALUATION - {*NEEDED, "work_dir", "wanted"}))
def test_without_raw_what_decides_the_scores_is_refused_by_resample(name):
    given = [f"--{name}" if name in SWITCHES else f"--{name}={VALUES.get(name, 7)}"]
    given += [] if name == "num_tokens_to_sample" else ["--num_to_sample=10"]
    kept = {"num_tokens_to_sample", "top_k", "seed", "min_example_length", "skip_duplicates", "target_proportions"}
    kept |= {"num_shards", "compression", "output_format", "overwrite", "no_progress", "no_report", "label_field"}
    if name == "gmm_checkpoint_dir":
        return
    options = parse_options(["--work_dir=/work", "--output=/out", *given], "resample")
    if SETTINGS[name].default not in (None, (), "", False):
        as_default = [f"--{name}={SETTINGS[name].default}", "--num_to_sample=10"]
        config_of(parse_options(["--work_dir=/work", "--output=/out", *as_default], "resample"), "resample")
    if name in kept:
        assert config_of(options, "resample").work_dir == "/work"
    else:
        with pytest.raises(UserError, match=f"^--{name}: without --raw the scores are taken as they are; add --raw"):
            config_of(options, "resample")


def test_paths_are_absolute_and_several_patterns_may_be_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/alice")
    config = config_from(raw="a/*.jsonl,mem://bucket/*.gz", target="~/t.jsonl", output="out/", work_dir="~/work/")
    assert config.raw.patterns == (str(tmp_path / "a/*.jsonl"), "mem://bucket/*.gz")
    assert config.target.patterns == ("/home/alice/t.jsonl",)
    assert config.output.output == str(tmp_path / "out")
    assert config.work_dir == "/home/alice/work"
    assert config_from(raw_gmm="raw.npz").mixtures.raw_gmm == str(tmp_path / "raw.npz")
    assert config_from(target_gmm="mem://bucket/t.npz").mixtures.target_gmm == ("mem://bucket/t.npz",)
    assert config_from(gmm_checkpoint_dir="kept/").mixtures.gmm_checkpoint_dir == str(tmp_path / "kept")
    assert config_from(output="mem://bucket/out/").output.output == "mem://bucket/out"
    assert config_from(output="mem://bucket/out/").work_dir == "mem://bucket/out.work"


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


NUMERIC = [
    one.name for one in SETTINGS.values() if one.declaration.kind in (WHOLE_NUMBER, SIGNED_NUMBER, NUMBER, ALL_OR_SOME)
]


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
@pytest.mark.parametrize("command", MAINS)
def test_help_names_the_flags_that_the_command_reads_and_exits_0(command, flag, capsys):
    with pytest.raises(SystemExit) as caught:
        MAINS[command].run([*flags(), flag])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: hir {command} ")
    assert set(re.findall(r"^  --(\w+)", text, re.MULTILINE)) == {*COMMANDS[command].settings}
    assert "[0.1]" in text  # a default


def test_a_bad_flag_ends_with_status_2_and_one_line(capsys):
    assert select.run(flags(alpha="2.0")) == 2
    assert capsys.readouterr().err == "hir select: error: --alpha: must be between 0 and 1, not 2.0\n"


def test_buckets_in_list_files_are_looked_at(tmp_path):
    (tmp_path / "list.txt").write_text(f"{tmp_path}/a.jsonl\nnowhere://bucket/b.jsonl\n")
    assert error_of(raw=f"@{tmp_path}/list.txt") == "--raw: Beam has no file system for nowhere:// here"
    assert error_of(raw="@nowhere://bucket/list") == "--raw: Beam has no file system for nowhere:// here"
    assert error_of(target=f"@{tmp_path}/none").startswith(f"cannot read {tmp_path}/none: ")
    (tmp_path / "list.txt").write_text("a.jsonl\n")
    assert config_from(raw=f"b.jsonl,@{tmp_path}/list.txt").raw.patterns[1] == f"@{tmp_path}/list.txt"


def test_a_folder_whose_name_is_no_text_is_refused():
    assert error_of(output="/data/\udcff") == r"'/data/\udcff' is not valid UTF-8; choose another name"


def test_a_view_is_made_once_and_shares_its_values_with_all_others():
    options = options_of(*flags(), "--direct_num_workers=3")
    view = options.view_as(DirectOptions)
    assert options.view_as(DirectOptions) is view
    of_job = copy.deepcopy(options)
    of_job.view_as(DirectOptions).direct_num_workers = 2
    assert of_job.get_all_options()["direct_num_workers"] == of_job.view_as(DirectOptions).direct_num_workers == 2
    assert view.direct_num_workers == options.get_all_options()["direct_num_workers"] == 3
