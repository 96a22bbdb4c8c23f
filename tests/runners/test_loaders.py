"""Functions of a program on a runner whose workers cannot import them."""

from pipelines.selector import Selector
from tests.helpers.loaders import write_records


def test_a_local_function_runs_on_workers_of_a_portable_runner(prism, worker_pool, tmp_path):
    for name, kinds in (("raw", ["law", "food"] * 20), ("target", ["law"] * 5)):
        write_records(tmp_path / name, kinds)

    def load(path):
        with open(path, encoding="utf-8") as file:
            return [{"body": record.split("\n")[1]} for record in file.read().split("\n----\n")]

    functions = {f"{role}_load_dataset_fn": load for role in ("raw", "target")}
    settings = {"text_field": "body", "alpha": 1, "top_k": True, "min_example_length": 3, "num_to_sample": 20}
    options = ["--runner=PrismRunner", *worker_pool.flags]
    selector = Selector(raw=tmp_path / "raw", target=tmp_path / "target", **functions, **settings, options=options)
    documents = [*selector.select(output=tmp_path / "out").documents()]
    assert [document["body"].split()[:3] for document in documents] == [["the", "court", "rejects"]] * 20
