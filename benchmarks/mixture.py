"""Time of one EM iteration of a diagonal Gaussian mixture: single-thread E-step workers against scikit-learn.

The rows lie on disk in float32 shards; each worker reads its shards, sums their statistics and returns one object, as
the pipeline does. scikit-learn holds the rows in memory and uses as many threads. Both start from the same mixture;
the time of an iteration is the difference between fits of different length, so that neither pays for its start. A
second table says how the time of an iteration grows with documents and with components.

    python -m benchmarks.mixture
    python -m benchmarks.mixture --data overlapping --components 1000
"""

import argparse
import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as SklearnMixture
from threadpoolctl import threadpool_limits

from hir_transforms.mixtures.em import GaussianMixture, RowBounds, SufficientStatistics, expectation, maximization
from hir_transforms.mixtures.kmeans_start import initial_mixture

SHARD_ROWS = 4096
INITIAL_ROWS = 10_000


def make_rows(kind: str, num_rows: int, num_features: int) -> NDArray[np.float32]:
    """Unit vectors with topics and a decaying spectrum, as sentence embeddings have; separate blobs; or pure noise."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((num_rows, num_features), dtype=np.float32)
    if kind == "overlapping":
        return noise
    if kind == "separate":
        centers = rng.standard_normal((100, num_features), dtype=np.float32)
        return centers[rng.integers(len(centers), size=num_rows)] + noise
    spectrum = (1 / np.sqrt(1 + np.arange(num_features) / 10)).astype(np.float32)
    topics = 0.7 * rng.standard_normal((300, num_features), dtype=np.float32)
    rotation = np.linalg.qr(rng.standard_normal((num_features, num_features)))[0].astype(np.float32)
    rows = (topics[rng.integers(len(topics), size=num_rows)] + noise) * spectrum @ rotation
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def sum_shards(shards: list[Path], mixture: GaussianMixture, bounds: RowBounds) -> SufficientStatistics:
    statistics = SufficientStatistics.zeros(mixture.num_components, mixture.num_features)
    for shard in shards:
        expectation(np.load(shard), mixture, bounds, statistics)
    return statistics


def fit_in_workers(
    executor: Executor, runs: list[list[Path]], start: GaussianMixture, bounds: RowBounds, iterations: int
) -> GaussianMixture:
    mixture = start
    for _ in range(iterations):
        first, *others = [executor.submit(sum_shards, run, mixture, bounds) for run in runs]
        statistics = first.result()
        for other in others:
            statistics.add(other.result())
        mixture = maximization(statistics, mixture, bounds, tol=0)
    return mixture


def fit_sklearn(rows: NDArray[np.floating], start: GaussianMixture, iterations: int) -> SklearnMixture:
    model = SklearnMixture(
        start.num_components,
        covariance_type="diag",
        weights_init=start.weights.astype(rows.dtype),
        means_init=start.means.astype(rows.dtype),
        precisions_init=(1 / start.covariances).astype(rows.dtype),
        max_iter=iterations,
        tol=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(rows)


def seconds_an_iteration(fit, iterations: int) -> float:  # type: ignore[no-untyped-def]
    """Difference between the best of three fits of `iterations` + 1 iterations and the best of three of one."""

    def seconds(number: int) -> float:
        begin = time.perf_counter()
        fit(number)
        return time.perf_counter() - begin

    return (min(seconds(iterations + 1) for _ in range(3)) - min(seconds(1) for _ in range(3))) / iterations


def prepare_workers(
    rows: NDArray[np.float32], start: GaussianMixture, workers: int, executor: Executor, folder: Path
) -> Callable[[int], GaussianMixture]:
    """Writes the shards and starts the workers; the returned function fits for a number of iterations."""
    bounds = RowBounds.from_rows(rows)
    shards = [folder / f"{begin}.npy" for begin in range(0, len(rows), SHARD_ROWS)]
    for index, shard in enumerate(shards):
        np.save(shard, rows[index * SHARD_ROWS : (index + 1) * SHARD_ROWS])
    runs = [shards[worker::workers] for worker in range(workers)]

    def fit(number: int) -> GaussianMixture:
        return fit_in_workers(executor, runs, start, bounds, number)

    fit(1)
    return fit


def grow(kind: str, arguments: argparse.Namespace, executor: Executor, folder: Path) -> None:
    """Time of an iteration for half the rows and components, and as either or both are doubled."""
    rows = make_rows(kind, arguments.rows, arguments.features)
    half_rows, half_components = arguments.rows // 2, arguments.components // 2
    base = 0.0
    for num_rows, num_components in (
        (half_rows, half_components),
        (arguments.rows, half_components),
        (half_rows, arguments.components),
        (arguments.rows, arguments.components),
    ):
        start = initial_mixture(rows[:INITIAL_ROWS], num_components, seed=0)
        fit = prepare_workers(rows[:num_rows], start, arguments.workers, executor, folder)
        seconds = seconds_an_iteration(fit, arguments.iterations)
        base = base or seconds
        print(f"{num_rows:9} {num_components:10} {seconds:8.3f} {seconds / base:6.1f}x", flush=True)


def compare(kind: str, arguments: argparse.Namespace, executor: Executor, folder: Path) -> None:
    rows = make_rows(kind, arguments.rows, arguments.features)
    start = initial_mixture(rows[:INITIAL_ROWS], arguments.components, seed=0)
    fit_ours = prepare_workers(rows, start, arguments.workers, executor, folder)
    ours = seconds_an_iteration(fit_ours, arguments.iterations)
    mixture = fit_ours(3)
    with threadpool_limits(arguments.workers):
        narrow = seconds_an_iteration(lambda number: fit_sklearn(rows, start, number), arguments.iterations)
        rows = rows.astype(np.float64)
        wide = seconds_an_iteration(lambda number: fit_sklearn(rows, start, number), arguments.iterations)
        model = fit_sklearn(rows, start, 3)
    if mixture.num_components == model.n_components:
        pairs = ((mixture.means, model.means_), (mixture.covariances, model.covariances_))
        difference = f"{max(np.abs(a - b).max() for a, b in pairs):.0e}"
    else:
        difference = f"{model.n_components - mixture.num_components} removed"
    print(
        f"{kind:12} {ours:8.3f} {wide:10.3f} {wide / ours:6.1f}x {narrow:10.3f} {narrow / ours:6.1f}x "
        f"{mixture.log_likelihood[-1]:12.4f} {model.lower_bound_:12.4f} {difference:>10}",
        flush=True,
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = ("embeddings", "separate", "overlapping")
    parser.add_argument("--data", choices=kinds, nargs="*", default=kinds)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=384)
    parser.add_argument("--components", type=int, default=200)
    parser.add_argument("--iterations", type=int, default=4, help="iterations that are timed")
    parser.add_argument("--workers", type=int, default=joblib.cpu_count())
    arguments = parser.parse_args(argv)
    print(
        f"{arguments.rows} x {arguments.features} rows, {arguments.components} components, "
        f"{arguments.workers} workers or threads; seconds an iteration, mean log likelihood of the third one"
    )
    print(
        f"{'data':12} {'ours':>8} {'sklearn64':>10} {'ratio':>7} {'sklearn32':>10} {'ratio':>7} "
        f"{'ll ours':>12} {'ll sklearn64':>12} {'max |diff|':>10}"
    )
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(arguments.workers, mp_context=context) as executor,
        tempfile.TemporaryDirectory() as folder,
    ):
        for kind in arguments.data:
            compare(kind, arguments, executor, Path(folder))
        if arguments.data:
            kind = arguments.data[0]
            print(f"\ngrowth, {kind}\n{'documents':>9} {'components':>10} {'ours':>8} {'growth':>7}")
            grow(kind, arguments, executor, Path(folder))


if __name__ == "__main__":
    main()
