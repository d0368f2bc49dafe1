"""Faults of a Dask cluster: workers that die or come, rows that are lost, Ctrl-C."""

import threading

import clusters
import pytest
import test_dask
from test_dask import OPTIONS, PARTS, ROWS, D, array, local_fit, on_dask, rows, same

dask, distributed = map(pytest.importorskip, ("dask", "distributed"))
engines = pytest.importorskip("fastsgd.dask.engine")

pytestmark = test_dask.pytestmark
bounded, cluster = test_dask.bounded, test_dask.cluster
client, workers = test_dask.client, test_dask.workers


@pytest.fixture
def fresh():
    """A client of three workers that a test may kill."""
    with (
        clusters.local_cluster() as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


PHASES = {"loading": 0, "summaries": 1, "first round": 2, "later round": 4}


@pytest.fixture
def at_phase(monkeypatch):
    """Call something shortly after a phase of a fit has begun."""

    def install(phase, call, *arguments, seconds=0.005):
        gathered, count = engines.DaskEngine._gathered, [0]

        def counted(self, *given):
            if count[0] == PHASES[phase]:
                clusters.later(seconds, call, *arguments)
            count[0] += 1
            return gathered(self, *given)

        monkeypatch.setattr(engines.DaskEngine, "_gathered", counted)

    return install


def slow_parts():
    return [dask.delayed(clusters.slow_blocks)(0.02, 0, i, ROWS + 50 * i, D) for i in range(PARTS)]


def test_a_worker_comes(client, cluster, workers, at_phase):
    at_phase("first round", cluster.scale, 4)
    model = on_dask.SGDClassifier(**OPTIONS, local_epochs=0.1).fit(slow_parts())
    assert same(model, local_fit(*rows(), **OPTIONS, local_epochs=0.1))
    cluster.scale(3)


@pytest.mark.parametrize("phase", PHASES)
def test_a_worker_is_killed(client, workers, at_phase, phase):
    at_phase(phase, clusters.kill, clusters.pids_of(client)[:1])
    model = on_dask.SGDClassifier(**OPTIONS).fit(slow_parts())
    assert same(model, local_fit(*rows(), **OPTIONS))


@pytest.mark.parametrize(("killed", "inlined"), [(2, 0), (2, 1 << 20), (3, 0)])
def test_most_workers_or_all_are_killed(fresh, at_phase, monkeypatch, killed, inlined):
    monkeypatch.setattr(engines, "INLINED", inlined)
    at_phase("later round", clusters.kill, clusters.pids_of(fresh)[:killed])
    model = on_dask.SGDClassifier(**OPTIONS, client=fresh).fit(slow_parts())
    assert same(model, local_fit(*rows(), **OPTIONS))


def test_rows_that_are_lost_for_good(fresh, at_phase):
    """Blocks that were scattered cannot be made anew."""
    blocks = fresh.scatter([clusters.blocks(0, i, ROWS, D) for i in range(PARTS)])
    at_phase("later round", clusters.kill, clusters.pids_of(fresh))
    model = on_dask.SGDClassifier(**OPTIONS | {"max_iter": 50}, client=fresh)
    with pytest.raises(engines._signs_of_loss()):
        model.fit(blocks)
    assert not hasattr(model, "coef_")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupt_keeps_the_last_model(client, at_phase):
    parts, targets = rows()
    options = OPTIONS | {"learning_rate": "constant", "eta0": 0.01}
    over = threading.Event()
    at_phase("later round", clusters.interrupt_until, over, seconds=0.0)
    model = on_dask.SGDClassifier(**options | {"max_iter": 10_000})
    with pytest.raises(KeyboardInterrupt):
        model.fit(array(parts), array(targets))
    over.set()
    epochs = len(model.history_["epoch"])
    assert epochs >= 2
    options["max_iter"] = epochs
    assert same(model, local_fit(parts, targets, **options))


def test_a_client_that_is_no_default(client, monkeypatch):
    """A fit has its own client alone, and is told of no other."""
    monkeypatch.setattr(distributed.client, "_get_global_client", lambda: None)
    with pytest.raises(ValueError, match="No clients found"):
        distributed.default_client()
    parts, targets = rows()
    blocks = [dask.delayed(each) for each in zip(parts, targets, strict=True)]
    model = on_dask.SGDClassifier(**OPTIONS, client=client).fit(blocks)
    assert same(model, local_fit(parts, targets, **OPTIONS))
