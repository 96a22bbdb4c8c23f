"""Importance resampling of datasets that functions of the user load, in one process for each core."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict

import joblib
import numpy as np
import numpy.typing as npt

from hir_transforms import __version__
from hir_transforms.common.errors import UserError
from hir_transforms.compat import parameters
from hir_transforms.compat.choice import choose, shares
from hir_transforms.compat.writing import prepare_folder, publish, write_chosen
from hir_transforms.files import storage

Example = Any
Weight = float | npt.NDArray[np.float64]


class VirtualShard(TypedDict):
    """Each `num_shards`-th example of a dataset, from number `shard_idx`."""

    path: str
    shard_idx: int
    num_shards: int
    overall_idx: int


def default_load_dataset_fn(path: str) -> Iterable[dict[str, Any]]:
    """The records of a file of JSON lines."""
    with open(path, encoding="utf-8") as file:
        yield from map(json.loads, file)


def default_parse_example_fn(ex: dict[str, Any]) -> str:
    """The text of a record, its field `text`."""
    text: str = ex["text"]
    return text


def examples_of(shard: VirtualShard, load: Callable[[str], Iterable[Example]]) -> Iterator[Example]:
    """The examples of a virtual shard."""
    return islice(load(shard["path"]), shard["shard_idx"], None, shard["num_shards"])


class DSIR:
    """Selection by importance weights of features, both of which a subclass defines.

    Args:
        raw_datasets: paths to select from.
        target_datasets: paths of the wanted kind.
        cache_dir: local folder for weights and metadata.
        raw_load_dataset_fn, target_load_dataset_fn: path -> its examples, in the same order each time.
        raw_parse_example_fn, target_parse_example_fn: example -> its text; None where examples are texts.
        num_proc: processes, and virtual shards where there are fewer datasets; by default one for each core.
        separate_targets: whether each target has weights and a share of its own.
        target_proportions: these shares; by default those of n-grams.
    """

    __version__ = __version__

    def __init__(
        self,
        raw_datasets: Sequence[str],
        target_datasets: Sequence[str],
        cache_dir: str | os.PathLike[str],
        raw_load_dataset_fn: Callable[[str], Iterable[Example]] = default_load_dataset_fn,
        raw_parse_example_fn: Callable[[Example], str] | None = default_parse_example_fn,
        target_load_dataset_fn: Callable[[str], Iterable[Example]] = default_load_dataset_fn,
        target_parse_example_fn: Callable[[Example], str] | None = default_parse_example_fn,
        num_proc: int | None = None,
        separate_targets: bool = False,
        target_proportions: Sequence[float] | None = None,
    ) -> None:
        self.raw_datasets = raw_datasets
        self.target_datasets = target_datasets
        self.raw_load_dataset_fn = raw_load_dataset_fn
        self.raw_parse_example_fn = raw_parse_example_fn
        self.target_load_dataset_fn = target_load_dataset_fn
        self.target_parse_example_fn = target_parse_example_fn
        self.num_proc = joblib.cpu_count() if num_proc is None else num_proc
        self.separate_targets = separate_targets
        self.target_proportions = None if target_proportions is None else shares(target_proportions)
        self.cache_dir = Path(cache_dir)
        self.log_importance_weights_dir = self.cache_dir / "log_importance_weights"
        self.log_importance_weights_dir.mkdir(parents=True, exist_ok=True)
        self.perexample_metadata_dir = self.cache_dir / "perexample_metadata"

    def featurizer(self, text: str) -> npt.NDArray[Any]:
        """Text -> its features."""
        raise NotImplementedError

    def importance_estimator(self, features: npt.NDArray[Any]) -> Weight:
        """Features -> log importance weight, or one for each target."""
        raise NotImplementedError

    def get_perexample_metadata(self, ex: Example, features: npt.NDArray[Any]) -> Any:
        """What `perexample_metadata_filter` is to know of an example; without this method, all may be chosen."""
        raise NotImplementedError

    def perexample_metadata_filter(self, concat_metadata: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Metadata of all examples -> which of them may be chosen."""
        raise NotImplementedError

    def fit_importance_estimator(self) -> None:
        """Fits what `importance_estimator` needs."""
        raise NotImplementedError

    def compute_importance_weights(self) -> None:
        """Writes the log weights of raw's virtual shards, `log_importance_weights_dir/{i}.npy`, and their metadata."""
        self._run(self._weigh_shard, self._get_virtually_sharded_datasets(self.raw_datasets))

    def resample(
        self,
        out_dir: str | os.PathLike[str],
        num_to_sample: int,
        cache_dir: str | os.PathLike[str] | None = None,
        top_k: bool = False,
        log_importance_weights_path: str | os.PathLike[str] | None = None,
    ) -> None:
        """Chooses examples of raw by their weights, and writes `{i}.jsonl` for each virtual shard.

        Beside them, `selected_indices.npy` has the places of the chosen examples among all weights, int64, ascending.

        Args:
            out_dir: local folder for the result.
            num_to_sample: examples to choose.
            cache_dir: where files are written before they are moved to `out_dir`; None writes them there.
            top_k: takes the largest weights instead of sampling by `numpy.random`'s global generator.
            log_importance_weights_path: log weights of all examples, [N], instead of those that are computed.

        Raises:
            UserError: if there are too few examples, no weights, or files of another resampling in the way.
        """
        shards = self._get_virtually_sharded_datasets(self.raw_datasets)
        weights = self._load(self.log_importance_weights_dir, shards)
        eligible = np.ones(sum(map(len, weights)), np.bool_)
        if self.perexample_metadata_dir.exists():
            eligible = self.perexample_metadata_filter(
                np.concatenate(self._load(self.perexample_metadata_dir, shards))
            )
        proportions = self.target_proportions if self.separate_targets else np.ones(1)
        assert proportions is not None
        all_weights = np.concatenate(weights).reshape(len(eligible), -1)
        if log_importance_weights_path is not None:
            all_weights = np.load(log_importance_weights_path, allow_pickle=False).reshape(-1, all_weights.shape[1])
            if len(all_weights) != len(eligible):
                given = os.fspath(log_importance_weights_path)
                raise UserError(f"{given}: {len(all_weights)} weights for {len(eligible)} examples")
        chosen = choose(all_weights, np.array(eligible), num_to_sample, proportions, top_k=top_k)
        names = [f"{shard['overall_idx']}.jsonl" for shard in shards]
        folder = prepare_folder(out_dir if cache_dir is None else cache_dir, names)
        prepare_folder(out_dir, names)
        masks = np.split(chosen, np.cumsum([len(one) for one in weights])[:-1])
        jobs = [(shard, mask, str(folder / name)) for shard, mask, name in zip(shards, masks, names, strict=True)]
        self._run(self._write_shard, jobs)
        publish(folder, Path(out_dir), names, np.flatnonzero(chosen))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes all attributes but functions, without pickle; raises `UserError` for one that it cannot hold."""
        parameters.save(path, vars(self), self.__version__)

    def load(self, path: str | os.PathLike[str], exclude_keys: Sequence[str] | None = None) -> None:
        """Sets the attributes that `save` has written, but for `exclude_keys`; functions stay as they are.

        Raises:
            UserError: for a file of something else, a pickle among them, or of another version.
        """
        for name, value in parameters.load(path, self.__version__).items():
            if name not in (exclude_keys or ()):
                setattr(self, name, value)

    def _get_virtually_sharded_datasets(self, datasets: Sequence[str]) -> list[VirtualShard]:
        """Cuts datasets into as many virtual shards as there are processes, and at least one each."""
        whole, rest = divmod(self.num_proc, len(datasets))
        shards: list[VirtualShard] = []
        for number, path in enumerate(datasets):
            num_shards = max(1, whole + (number < rest)) if whole else 1
            for index in range(num_shards):
                shards.append({"path": path, "shard_idx": index, "num_shards": num_shards, "overall_idx": len(shards)})
        return shards

    def _run(self, job: Callable[[Any], Any], arguments: Iterable[Any]) -> list[Any]:
        """Calls `job` with each argument, in processes."""
        return joblib.Parallel(n_jobs=self.num_proc)(joblib.delayed(job)(one) for one in arguments)

    def _weigh_shard(self, shard: VirtualShard) -> None:
        weights, metadata = self._weigh(examples_of(shard, self.raw_load_dataset_fn))
        self._save(self.log_importance_weights_dir, shard, weights)
        if metadata is not None:
            self._save(self.perexample_metadata_dir, shard, metadata)

    def _weigh(self, examples: Iterable[Example]) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
        """Weights and metadata of examples, one after the other; None for a class without metadata."""
        weights, metadata = [], []
        has_metadata = type(self).get_perexample_metadata is not DSIR.get_perexample_metadata
        for example in examples:
            features = self.featurizer(self._raw_text(example))
            weights.append(self.importance_estimator(features))
            if has_metadata:
                metadata.append(self.get_perexample_metadata(example, features))
        return np.asarray(weights), np.asarray(metadata) if has_metadata else None

    def _raw_text(self, example: Example) -> str:
        return self.raw_parse_example_fn(example) if self.raw_parse_example_fn else example

    def _write_shard(self, job: tuple[VirtualShard, npt.NDArray[np.bool_], str]) -> None:
        shard, mask, path = job
        if self.raw_load_dataset_fn is default_load_dataset_fn:
            with open(shard["path"], encoding="utf-8") as file:  # lines as they are
                lines = islice(file, shard["shard_idx"], None, shard["num_shards"])
                write_chosen(path, (line.strip() for line in lines), mask)
        else:
            write_chosen(path, map(json.dumps, examples_of(shard, self.raw_load_dataset_fn)), mask)

    @staticmethod
    def _save(folder: Path, shard: VirtualShard, array: npt.NDArray[Any]) -> None:
        with storage.atomic_write(str(folder / f"{shard['overall_idx']}.npy")) as file:
            np.save(file, array)

    @staticmethod
    def _load(folder: Path, shards: Sequence[VirtualShard]) -> list[npt.NDArray[Any]]:
        paths = [folder / f"{shard['overall_idx']}.npy" for shard in shards]
        if missing := [path for path in paths if not path.exists()]:
            raise UserError(
                f"no {missing[0]}: call compute_importance_weights() first, with the same num_proc and raw_datasets"
            )
        return [np.load(path, mmap_mode="r") for path in paths]
