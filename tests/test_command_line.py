"""The commands, by ``main`` in this process and, where signals and pipes matter, as processes."""

import contextlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

import fastsgd
from fastsgd.__main__ import COMMANDS, main, parser

pa = pytest.importorskip("pyarrow")
pytest.importorskip("safetensors")
pytest.importorskip("xxhash")
csv = pytest.importorskip("pyarrow.csv")
pq = pytest.importorskip("pyarrow.parquet")

ROOT = Path(__file__).parents[1]
COLUMNS = ["--features", "a,b,c,town"]
SOLD = ["--target", "sold", *COLUMNS, "--hash-bits", "6"]
PRICE = ["--target", "price", "--features", "a,b,c"]


def rows(n, seed):
    random = np.random.default_rng(seed)
    X, town = random.normal(size=(n, 3)), random.choice(["Ulm", "Bonn", "Kiel"], n)
    score = X @ [1.0, -2.0, 0.5] + (town == "Ulm") + random.normal(size=n)
    names = dict(zip("abc", X.T, strict=True))
    ids = [f"{seed}{i:05d}" for i in range(n)]
    sold = np.where(score > 0, "yes", "no")
    return pa.table({"id": ids, **names, "town": town, "sold": sold, "price": score})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files that the commands read, and two models."""
    folder = tmp_path_factory.mktemp("files")
    for name, n, seed in (("train", 600, 1), ("test", 200, 2), ("new", 150, 3)):
        table = rows(n, seed)
        csv.write_csv(table, folder / f"{name}.csv")
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=64)
    pq.write_table(rows(20_000, 4), folder / "many.parquet")
    (folder / "run.toml").write_text(
        'data = ["train.csv"]\ntarget = "sold"\npasses = 3\ntol = "none"\nstandardize = false\n'
        'features = ["a", "b", "c"]\nclass-weight = { yes = 2.0, no = 1.0 }\n'
    )
    train = str(folder / "train.parquet")
    with contextlib.redirect_stdout(io.StringIO()):
        output = ["-o", str(folder / "sold.safetensors")]
        assert main(["train", train, *SOLD, "--seed", "0", *output]) == 0
        output = ["-o", str(folder / "price.safetensors")]
        assert main(["train", train, *PRICE, "--seed", "0", *output]) == 0
    return folder


@pytest.fixture(autouse=True)
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)


@pytest.fixture
def run(capsys):
    """Status, output and errors of a command in this process."""

    def run(*arguments):
        try:
            status = main([str(one) for one in arguments])
        except SystemExit as stopped:
            status = stopped.code
        found = capsys.readouterr()
        return status, found.out, found.err

    return run


def process(*arguments, **options):
    """The same as a process, which is not waited for."""
    command = [sys.executable, "-m", "fastsgd", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    pipes["preexec_fn"] = takes_interrupts
    return subprocess.Popen(command, **(pipes | options))


def takes_interrupts():
    """Ctrl-C is ignored where a shell has put all of the tests into the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def same(a, b):
    """Whether two model files predict with the same bits."""
    a, b = fastsgd.load(a), fastsgd.load(b)
    return np.array_equal(a.coef_, b.coef_) and np.array_equal(a.intercept_, b.intercept_)


# train


@pytest.mark.parametrize(
    ("arguments", "model", "why"),
    [
        (SOLD, "SGDClassifier with loss log_loss", "text or truth values"),
        (PRICE, "SGDRegressor with loss squared_error", "fractions"),
        ([*SOLD, "--loss", "hinge"], "SGDClassifier with loss hinge", "the loss hinge says"),
        ([*PRICE, "--loss", "huber"], "SGDRegressor with loss huber", "the loss huber says"),
        ([*SOLD, "--model", "network", "--passes", "2"], "MLPClassifier", "text"),
        ([*PRICE, "--model", "network", "--passes", "2"], "MLPRegressor", "fractions"),
        (
            [*SOLD, "--loss", "squared_error", "--task", "classification"],
            "SGDClassifier with loss squared_error",
            "--task",
        ),
    ],
)
def test_the_estimator_follows_from_loss_and_target(run, arguments, model, why):
    status, out, _ = run("train", "train.csv", *arguments, "--seed", 1)
    assert status == 0
    first = out.splitlines()[0]
    assert first.startswith(model)
    assert why in first


@pytest.mark.parametrize(
    ("target", "task"),
    [
        (np.arange(100) % 20, "classification"),
        (np.arange(100) % 21, "regression"),
        (np.arange(100) % 2 == 0, "classification"),
        ((np.arange(100) % 3) / 2.0, "regression"),
        ((np.arange(100) % 3) * 2.0, "classification"),
    ],
)
def test_numbers_of_many_values_and_fractions_are_regression(run, tmp_path, target, task):
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": np.arange(100) / 100.0, "y": target}), file)
    status, out, _ = run("train", file, "-t", "y", "--passes", 2, "--tol", "none", "--json")
    assert status == 0
    assert task in json.loads(out)["chosen"]


def test_options_reach_the_estimator(run, tmp_path):
    model = tmp_path / "model"
    options = ["--batch-size=32", "--learning-rate=constant", "--eta0=0.01", "--momentum=0.9"]
    options += ["--penalty=l1", "--no-fit-intercept", "--average=0.5", "--tol=none"]
    options += ["--class-weight", '{"yes": 3, "no": 1}', "--passes=4", "--seed=7"]
    status, _, _ = run("train", "train.parquet", *SOLD, *options, "-o", model)
    assert status == 0
    found = fastsgd.load(model).get_params()
    wanted = {
        "batch_size": 32,
        "learning_rate": "constant",
        "eta0": 0.01,
        "momentum": 0.9,
        "penalty": "l1",
    }
    wanted |= {
        "fit_intercept": False,
        "average": 0.5,
        "tol": None,
        "max_iter": 4,
        "random_state": 7,
    }
    wanted |= {"class_weight": {"yes": 3, "no": 1}, "loss": "log_loss"}
    assert {name: found[name] for name in wanted} == wanted


def test_a_model_is_that_of_python(run, folder):
    model = fastsgd.SGDClassifier(loss="log_loss", random_state=0)
    model.fit(
        "train.parquet", target="sold", features=["a", "b", "c", "town"], hash_bits=6, keep_names=9
    )
    loaded = fastsgd.load("sold.safetensors")
    assert np.array_equal(model.coef_, loaded.coef_)
    assert loaded.columns_.numeric == ("a", "b", "c")
    assert sorted(loaded.hashed_names_.values()) == ["town=Bonn", "town=Kiel", "town=Ulm"]


def test_the_losses_of_the_first_pass_are_printed_and_in_json(run):
    status, out, _ = run("train", "train.csv", *SOLD, "--passes", 3, "--tol", "none", "--seed", 0)
    assert status == 0
    lines = [line.split() for line in out.splitlines() if re.match(r" +\d", line)]
    assert [line[0] for line in lines if line[0] != "1"] == ["2", "3"]
    printed = [int(line[1].replace(",", "")) for line in lines if line[0] == "1"]
    status, out, _ = run(
        "train", "train.csv", *SOLD, "--passes=3", "--tol=none", "--seed=0", "--json"
    )
    found = json.loads(out)
    assert found["rows"] == 600
    first = [line for line in found["progress"] if line["pass"] == 1]
    for counts in (printed, [line["rows"] for line in first]):  # how often depends on the speed
        assert counts == sorted(set(counts))
        assert len(counts) > 2
        assert counts[-1] == 600
    before = 0.0, 0  # each line says what the one before it and its own rows do
    for line in first:
        total = before[0] + line["loss_since"] * (line["rows"] - before[1])
        assert total / line["rows"] == pytest.approx(line["loss"])
        before = total, line["rows"]


def test_lines_change_no_bit(run, tmp_path):
    """Those of a fit without them, which trains several passes in a call of the core."""
    options = {"target": "price", "features": ["a", "b", "c"]}
    model = fastsgd.SGDRegressor(random_state=0, loss="squared_error")
    model.fit("train.parquet", **options)
    assert np.array_equal(model.coef_, fastsgd.load("price.safetensors").coef_)


def test_scores_of_a_test_set_are_scikit_learns(run):
    status, out, _ = run("train", "train.csv", *SOLD, "--seed", 0, "--test", "test.csv", "--json")
    assert status == 0
    scores = json.loads(out)["scores"]
    model, table = fastsgd.load("sold.safetensors"), pq.read_table("test.parquet")
    y, proba = table["sold"].to_numpy(), model.predict_proba("test.parquet")
    label = model.predict("test.parquet")
    assert scores["rows"] == 200
    assert scores["accuracy"] == metrics.accuracy_score(y, label)
    assert scores["log_loss"] == pytest.approx(metrics.log_loss(y, proba), rel=1e-6)
    assert scores["auc"] == pytest.approx(metrics.roc_auc_score(y == "yes", proba[:, 1]))
    assert scores["precision"] == metrics.precision_score(y, label, pos_label="yes")
    assert scores["recall"] == metrics.recall_score(y, label, pos_label="yes")


@pytest.mark.parametrize("model", ["linear", "network"])
def test_a_validation_set_keeps_the_best_weights(run, model):
    options = ["--validation", "test.csv", "--passes", 5, "--seed", 0, "--model", model]
    status, out, _ = run("train", "train.csv", *SOLD, *options, "--json")
    assert status == 0
    assert json.loads(out)["validation_score"] > 0.5


@pytest.mark.parametrize("memory", [[], ["--no-cache"]])
def test_rows_beyond_the_pool_are_a_stream(run, tmp_path, memory):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = ["train", "many.parquet", *PRICE, "--passes", 5, "--seed", 0]
    assert run(*options, "-o", whole)[0] == 0
    assert run(*options, *memory, "--pool", "200 kB", "-o", parts)[0] == 0
    assert not same(whole, parts)
    assert np.allclose(fastsgd.load(whole).coef_, fastsgd.load(parts).coef_, atol=0.05)


def test_a_cache_is_made_ahead_and_used(run, tmp_path):
    cache = tmp_path / "cache"
    status, out, _ = run("convert", "train.csv", cache, *SOLD)
    assert (status, out.split()[1:4]) == (0, ["600", "rows", "of"])
    before = sorted((file.name, file.stat().st_mtime_ns) for file in cache.iterdir())
    status, out, _ = run("convert", "train.csv", cache, *SOLD, "--json")
    assert json.loads(out)["was_there"]
    assert json.loads(out)["bytes"] == sum(
        file.stat().st_size - 128 for file in cache.glob("*[0-9].npy")
    )
    status, _, _ = run("train", "train.csv", *SOLD, "--cache", cache, "--seed", 0)
    assert status == 0
    assert before == sorted((file.name, file.stat().st_mtime_ns) for file in cache.iterdir())
    status, _, err = run("train", "test.csv", *SOLD, "--cache", cache)
    assert status == 1
    assert "made of something else" in err


# --config


def test_a_file_of_arguments_and_what_wins(run, tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    assert run("train", "--config", "run.toml", "--seed", 3, "-o", a)[0] == 0
    assert run("train", "--config=run.toml", "--passes=5", "--standardize", "-o", b)[0] == 0
    first, second = fastsgd.load(a), fastsgd.load(b)
    assert (first.max_iter, first.tol, first.standardize) == (3, None, False)
    assert first.class_weight == {"yes": 2.0, "no": 1.0}
    assert first.columns_.numeric == ("a", "b", "c")
    assert (second.max_iter, second.standardize) == (5, True)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("batchsize = 3", "unknown name 'batchsize'"),
        ("help = true", "unknown name 'help'"),
        ("batch-size = 'x'", "--batch-size: must be"),
        ("resume = 3", "resume must be true or false"),
        ("a = [", "run.toml"),
        ("[train]\nalpha = 1.0", "unknown name 'train'"),
    ],
)
def test_mistakes_in_the_file_are_usage_errors(run, tmp_path, text, part):
    file = tmp_path / "run.toml"
    file.write_text(text)
    status, _, err = run("train", "train.csv", "--target", "sold", "--config", file)
    assert status == 2
    assert part in err


# Stop and go on.


IN_POOLS = ["--pool", "200 kB"]


@pytest.mark.parametrize(
    ("stop", "memory"),
    [
        pytest.param(signal.SIGINT, IN_POOLS, id="int-pools"),
        pytest.param(signal.SIGKILL, [], id="kill-memory"),
        pytest.param(signal.SIGINT, [], id="int-memory", marks=pytest.mark.exhaustive),
        pytest.param(signal.SIGKILL, IN_POOLS, id="kill-pools", marks=pytest.mark.exhaustive),
    ],
)
def test_a_run_that_is_stopped_goes_on_with_the_same_bits(run, tmp_path, stop, memory):
    whole, parts, saved = tmp_path / "whole", tmp_path / "parts", tmp_path / "run"
    options = ["train", "many.parquet", *PRICE, *memory, "--seed=4", "--tol=none", "--passes=40"]
    assert run(*options, "-o", whole)[0] == 0
    how = ["--checkpoint", saved, "--every", "0 s", "--resume", "-o", parts]
    child = process(*options, *how)
    while not (saved.is_dir() and len(list(saved.glob("epoch-*"))) > 1):
        assert child.poll() is None, child.communicate()
        time.sleep(0.002)
    child.send_signal(stop)
    _, err = child.communicate(timeout=60)
    assert not parts.exists()
    if stop == signal.SIGINT:
        assert child.returncode == 130
        assert re.search(r"stopped: kept \S+epoch-\S+\.safetensors; go on with --resume", err)
        assert "Traceback" not in err
    else:
        assert child.returncode == -signal.SIGKILL
    status, out, _ = run(*options, *how)
    assert status == 0
    assert "going on from" in out
    assert same(whole, parts)


def test_without_a_checkpoint_the_model_as_it_stands_is_kept(tmp_path):
    model = tmp_path / "model"
    options = ["--passes=100000000", "--tol=none", "-o", model]
    child = process("train", "train.parquet", *PRICE, *options)
    for line in child.stdout:
        if line.split()[0] == "2":
            break
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert f"and a part, is in {model}" in err
    assert fastsgd.load(model).n_iter_ >= 2


# predict


@pytest.mark.parametrize("end", ["parquet", "arrow", "csv", "tsv"])
@pytest.mark.parametrize("data", ["new.csv", "new.parquet"])
def test_predictions_in_order_beside_what_is_kept(run, tmp_path, data, end):
    output = tmp_path / f"out.{end}"
    what = ["--what", "label,probability,score", "--keep", "id,town"]
    status, out, err = run("predict", "sold.safetensors", data, "-o", output, *what)
    assert (status, out) == (0, "")
    assert "150 rows" in err
    if end in ("csv", "tsv"):
        parse = csv.ParseOptions(delimiter="\t" if end == "tsv" else ",")
        types = csv.ConvertOptions(column_types={"id": pa.string()})
        found = csv.read_csv(output, parse_options=parse, convert_options=types)
    elif end == "arrow":
        found = pa.ipc.open_file(output).read_all()
    else:
        found = pq.read_table(output)
    new, model = pq.read_table("new.parquet"), fastsgd.load("sold.safetensors")
    names = ["id", "town", "prediction", "probability_no", "probability_yes", "score"]
    assert found.column_names == names
    assert [str(one).zfill(6) for one in found["id"].to_pylist()] == new["id"].to_pylist()
    assert found["town"].to_pylist() == new["town"].to_pylist()
    assert found["prediction"].to_pylist() == model.predict("new.parquet").tolist()
    assert np.allclose(found["score"], model.decision_function("new.parquet"), rtol=1e-12)
    proba = np.stack([found["probability_no"], found["probability_yes"]], axis=1)
    assert np.allclose(proba, model.predict_proba("new.parquet"), rtol=1e-12)
    assert sorted(tmp_path.iterdir()) == [output]


def test_the_target_may_be_blank_or_missing(run, tmp_path):
    table = pq.read_table("new.parquet")
    blank = table.set_column(table.schema.get_field_index("sold"), "sold", pa.nulls(150, "string"))
    outputs = []
    for name, one in (("blank", blank), ("none", table.drop(["sold", "price"]))):
        csv.write_csv(one, tmp_path / f"{name}.csv")
        output = tmp_path / f"{name}.parquet"
        assert run("predict", "sold.safetensors", tmp_path / f"{name}.csv", "-o", output)[0] == 0
        outputs.append(pq.read_table(output))
    assert outputs[0].equals(outputs[1])
    assert outputs[0].num_rows == 150


def test_standard_input_to_standard_output():
    wanted = fastsgd.load("sold.safetensors").predict("new.csv").tolist()
    with open("new.csv") as file:
        child = process("predict", "sold.safetensors", "--keep", "id", stdin=file)
        out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, "")
    head, *lines = out.splitlines()
    assert head == '"id","prediction"'
    found = [line.replace('"', "").split(",") for line in lines]
    assert [one[0] for one in found] == [f"3{i:05d}" for i in range(150)]
    assert [one[1] for one in found] == wanted


def test_output_is_written_before_input_ends(tmp_path):
    """So memory need not hold all of either."""
    head, text = Path("new.csv").read_text().split("\n", 1)
    times, seen = 40_000_000 // len(text), threading.Event()
    child = process("predict", "sold.safetensors", stdin=subprocess.PIPE)

    def write():
        with child.stdin as pipe:
            pipe.write(head + "\n")
            for _ in range(times):
                pipe.write(text)
            seen.wait(timeout=30)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    assert child.stdout.readline() == '"prediction"\n'
    assert child.stdout.readline() in ('"yes"\n', '"no"\n')
    assert writer.is_alive()
    count = 1
    for count, _ in enumerate(child.stdout, start=2):
        if count == 1000:
            seen.set()
    writer.join()
    with child:
        assert child.stderr.read() == ""
    assert child.returncode == 0
    assert count == times * 150


def test_a_reader_that_has_gone_is_no_traceback():
    line = f"{sys.executable} -m fastsgd predict sold.safetensors new.csv | head -1"
    found = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60)
    assert found.stdout == '"prediction"\n'
    assert "Traceback" not in found.stderr


def test_files_without_names_of_columns(run, tmp_path):
    X, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    lines = [f"{t} 1:{a} 2:{b} 3:{c}" for t, (a, b, c) in zip(y, X, strict=True)]
    (tmp_path / "rows.svm").write_text("\n".join(lines) + "\n")
    found = []
    for data, target in (("X.npy", ["--target", tmp_path / "y.npy"]), ("rows.svm", [])):
        model, output = tmp_path / f"{data}.safetensors", tmp_path / f"{data}.csv"
        status, out, err = run("train", tmp_path / data, *target, "--seed", 0, "-o", model)
        assert (status, err) == (0, ""), out
        what = ["-o", output, "--what", "score"]
        assert run("predict", model, tmp_path / data, *what)[0] == 0
        status, out, _ = run("evaluate", model, tmp_path / data, *target, "--json")
        found.append((np.loadtxt(output, skiprows=1), json.loads(out)["accuracy"]))
    assert np.allclose(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


# evaluate, inspect, search


def test_scores_of_a_regression(run):
    status, out, _ = run("evaluate", "price.safetensors", "test.csv", "--json")
    assert status == 0
    found = json.loads(out)
    y = pq.read_table("test.parquet")["price"].to_numpy()
    predicted = fastsgd.load("price.safetensors").predict("test.csv")
    assert found["r2"] == pytest.approx(metrics.r2_score(y, predicted))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, predicted))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(y, predicted))
    status, out, _ = run("evaluate", "price.safetensors", "test.csv")
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["R^2", "RMSE", "MAE"]


def test_scores_that_are_not_defined_are_null(run, tmp_path):
    table = pq.read_table("test.parquet")
    one = table.filter(pa.compute.equal(table["sold"], "yes"))
    pq.write_table(one, tmp_path / "one.parquet")
    status, out, err = run("evaluate", "sold.safetensors", tmp_path / "one.parquet", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["auc"] is None
    assert json.loads(out)["precision"] == 1.0


def test_inspect_names_settings_weights_and_passes(run, tmp_path):
    picture = tmp_path / "course.png"
    status, out, _ = run("inspect", "sold.safetensors", "--top", 4, "--plot", picture)
    assert status == 0
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert picture.stat().st_size > 10_000
    assert "predicts sold from:" in out
    assert "loss='log_loss', random_state=0" in out
    status, out, _ = run("inspect", "sold.safetensors", "--top", 4, "--json")
    found = json.loads(out)
    model = fastsgd.load("sold.safetensors")
    order = np.argsort(-np.abs(model.coef_[0]))[:4]
    assert [line["weight"] for line in found["top"]] == model.coef_[0][order].tolist()
    assert [line["feature"] for line in found["top"]][:3] == ["b", "a", "town=Ulm"]
    assert found["training"][-1]["epoch"] == model.n_iter_
    assert found["bytes"] == os.path.getsize("sold.safetensors")


def test_inspect_a_network_and_several_classes(run, tmp_path):
    model = tmp_path / "network"
    options = ["--model", "network", "--passes", 3, "--seed", 0, "-o", model]
    assert run("train", "train.csv", *SOLD, *options)[0] == 0
    status, out, _ = run("inspect", model, "--top", 3)
    assert status == 0
    assert "norm of its weights" in out
    model = tmp_path / "towns"
    assert (
        run("train", "train.csv", "-t", "town", "--features=a,b", "--seed=0", "-o", model)[0] == 0
    )
    status, out, _ = run("inspect", model)
    assert "3 classes: Bonn, Kiel, Ulm" in out
    assert "class or output" in out


def test_search_is_that_of_python(run, tmp_path):
    best = tmp_path / "best"
    grid = ["--alphas", "1e-4,1e-2,1", "--l1-ratios", "0,0.5", "--cv", 3]
    options = [*PRICE, "--seed", 0, "--passes", 5, "--tol", "none"]
    status, out, _ = run("search", "train.parquet", *options, *grid, "-o", best, "--json")
    assert status == 0
    found = json.loads(out)
    table = pq.read_table("train.parquet")
    X, y = np.stack([table[name] for name in "abc"], axis=1), table["price"].to_numpy()
    model = fastsgd.SGDRegressor(penalty="elasticnet", random_state=0, max_iter=5, tol=None)
    names = {"alpha": [1e-4, 1e-2, 1.0], "l1_ratio": [0.0, 0.5]}
    search = fastsgd.GridSearchCV(model, names, cv=3).fit(X, y)
    assert found["best"] == search.best_params_
    scores = sorted(search.cv_results_["mean_test_score"], reverse=True)
    assert np.allclose([one["score"] for one in found["candidates"]], scores)
    assert np.allclose(fastsgd.load(best).coef_, search.best_estimator_.coef_)
    status, out, _ = run("search", "train.parquet", *options, *grid)
    assert out.splitlines()[1].split() == ["alpha", "l1_ratio", "score", "deviation"]
    assert len(out.splitlines()) == 9


def test_a_search_over_rows_beyond_the_pool(run, tmp_path):
    best = tmp_path / "best"
    options = [*PRICE, "--seed", 0, "--passes", 3, "--tol", "none", "--alphas", "1e-4,1"]
    found = []
    for memory in ([], ["--pool", "200 kB", "-o", best]):
        status, out, _ = run("search", "many.parquet", *options, *memory, "--json")
        assert status == 0
        found.append([(one["alpha"], one["score"]) for one in json.loads(out)["candidates"]])
    assert np.allclose(found[0], found[1], atol=0.01)
    assert fastsgd.load(best).columns_.target == "price"


# Errors.


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["train", "nope.csv", "-t", "y"], "there is no file nope.csv"),
        (["train", "train.csv", "-t", "nope"], "has no column 'nope'"),
        (["train", "train.csv", "-t", "sold", "-o", "no/such"], "there is no folder no"),
        (["train", "hole.csv", "-t", "y"], "hole.csv, row 2: column 'x' has no value"),
        (["train", "broken.csv", "-t", "y"], "broken.csv"),
        (["train", "empty.csv", "-t", "y"], "empty.csv"),
        (["train", "train.csv", *PRICE, "--model=network", "--pool=1 kB"], "rows in memory"),
        (["search", "train.csv", *PRICE, "--alphas=-1"], "alpha"),
        (["predict", "nope", "new.csv"], "nope"),
        (["predict", "train.csv", "new.csv"], "train.csv"),
        (["predict", "sold.safetensors", "hole.csv"], "has no column 'a'"),
        (["predict", "sold.safetensors", "new.csv", "--keep", "nope"], "no column 'nope'"),
        (["evaluate", "sold.safetensors", "unlabelled.csv"], "no target 'sold'"),
        (["inspect", "new.csv"], "new.csv"),
        (["convert", "nope.csv", "folder", "-t", "y"], "there is no file"),
    ],
)
def test_errors_of_data_are_one_sentence_and_status_1(run, folder, arguments, part):
    (folder / "hole.csv").write_text("x,y\n1,0\n2,1\n,0\n")
    (folder / "broken.csv").write_text("x,y\n1,0\n2,1,3\n")
    (folder / "empty.csv").write_text("")
    csv.write_csv(pq.read_table("new.parquet").drop(["sold"]), "unlabelled.csv")
    status, out, err = run(*arguments)
    assert status == 1
    assert part in err
    assert len(err.splitlines()) == 1
    assert err.startswith(f"fastsgd {arguments[0]}: ")
    assert "Traceback" not in err + out
    with pytest.raises((ValueError, OSError)):
        main([*arguments, "--debug"])


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["train"], "name the files"),
        (["train", "train.csv"], "--target"),
        (["train", "train.csv", "-t", "sold", "--bogus", "1"], "--bogus"),
        (["train", "train.csv", "-t", "sold", "--batch", "1"], "--batch"),
        (["train", "train.csv", "-t", "sold", "--loss", "nope"], "log_loss"),
        (["train", "train.csv", "-t", "sold", "--passes", "x"], "whole number"),
        (["train", "train.csv", *SOLD, "--passes", "0"], "max_iter"),
        (["train", "train.csv", *SOLD, "--resume"], "--checkpoint"),
        (["train", "train.csv", *SOLD, "--checkpoint=x", "--every=soon"], "every"),
        (["train", "train.csv", *SOLD, "--pool", "many"], "size"),
        (["train", "train.csv", *SOLD, "--seed", "-1"], "from 0"),
        (["train", "train.csv", *SOLD, "--hidden-layer-sizes", "3"], "no parameter of SGDClass"),
        (["train", "train.csv", *PRICE, "--quantile", "0.5", "--loss", "hinge"], "no parameter"),
        (["train", "train.csv", *SOLD, "--model=network", "--eta0=1"], "no parameter of MLP"),
        (["predict", "sold.safetensors", "new.csv", "-o", "out.xls"], "must end in"),
        (["predict", "sold.safetensors", "new.csv", "--what", "all"], "label, probability"),
        (["predict", "price.safetensors", "new.csv", "--what", "score"], "has none"),
        (["search", "train.csv", *PRICE], "--alphas"),
        (["search", "train.csv", *PRICE, "--alphas", "x"], "numbers"),
        (["search", "train.csv", *PRICE, "--alphas", "1", "--cv", "1"], "from 2"),
        (["convert", "train.csv", "-t", "sold"], "folder"),
        (["inspect", "sold.safetensors", "--top", "-1"], "--top"),
        (["evaluate", "sold.safetensors"], "DATA"),
        (["nope"], "invalid choice"),
    ],
)
def test_mistakes_of_usage_are_status_2(run, arguments, part):
    status, _, err = run(*arguments)
    assert status == 2
    assert part in err
    assert "Traceback" not in err


def test_a_failed_prediction_leaves_the_old_file(run, tmp_path):
    output = tmp_path / "out.csv"
    output.write_text("old")
    rows = pq.read_table("new.parquet").to_pylist()
    lines = ["a,b,c,town", *(f"{r['a']},{r['b']},{r['c']},Ulm" for r in rows), "1,,3,Ulm"]
    (tmp_path / "bad.csv").write_text("\n".join(lines) + "\n")
    status, _, err = run("predict", "sold.safetensors", tmp_path / "bad.csv", "-o", output)
    assert status == 1
    assert "row 150: column 'b' has no value" in err
    assert output.read_text() == "old"
    assert {file.name for file in tmp_path.iterdir()} == {"out.csv", "bad.csv"}


# Help and documentation.


def shell(line, folder):
    """Run a line as a shell would; lines of one command run in this process."""
    if re.search(r"[|<>$]", line) or not line.startswith("fastsgd "):
        programs = folder / "bin"
        programs.mkdir(exist_ok=True)
        (programs / "fastsgd").write_text(f'#!/bin/sh\nexec {sys.executable} -m fastsgd "$@"\n')
        (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        for file in programs.iterdir():
            file.chmod(0o755)
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        found = subprocess.run(
            ["bash", "-c", line],
            capture_output=True,
            text=True,
            timeout=100,
            cwd=folder,
            env=os.environ | {"PATH": path},
        )
        return found.returncode, found.stderr
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        return main(shlex.split(line)[1:]), errors.getvalue()


def commands():
    """The parsers of the commands by name."""
    return parser()._subparsers._group_actions[0].choices


@pytest.mark.parametrize("name", sorted(commands()))
def test_help_explains_itself_and_its_examples_run(run, name, tmp_path, monkeypatch):
    status, out, _ = run(name, "--help")
    assert status == 0
    examples = [line.strip() for line in out.split("examples:\n")[1].splitlines() if line.strip()]
    assert examples
    monkeypatch.chdir(tmp_path)
    for i, file in enumerate(("train.csv", "test.csv", "new.csv", "part-0.parquet")):
        table = rows(200, i)
        sold = pa.array(np.array(table["sold"]) == "yes").cast(pa.int8())
        table = table.drop(["town", "sold"]).append_column("sold", sold)
        table = table.set_column(0, "id", table["id"].cast(pa.int64()))
        (csv.write_csv if file.endswith("csv") else pq.write_table)(table, file)
    Path("run.toml").write_text('data = "train.csv"\ntarget = "sold"\npasses = 3\n')
    assert run("train", "train.csv", "--target=sold", "--seed=0", "-o", "model.safetensors")[0] == 0
    for line in examples:
        slow = name in ("bench", "explore")
        if slow and not os.environ.get("FASTSGD_EXHAUSTIVE"):
            assert parser().parse_args(shlex.split(line)[1:]).run
            continue
        status, err = shell(line, tmp_path)
        assert status == 0, (line, err)


def test_every_parameter_has_an_option_and_every_option_a_text():
    train = commands()["train"]
    train.fill(train)
    options = {action.dest: action for action in train._actions}
    for kind in (fastsgd.SGDClassifier, fastsgd.SGDRegressor, fastsgd.MLPRegressor):
        names = set(kind().get_params()) - {"verbose", "warm_start"}
        assert names <= set(options)
    for action in train._actions:
        assert action.help and len(action.help) > 10, action.dest
        assert "``" not in action.help


def test_the_help_of_all_imports_nothing_heavy():
    code = (
        "import sys\nfrom fastsgd.__main__ import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'sklearn', 'pyarrow', 'scipy', 'tqdm'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr
    for name, (line, *_) in COMMANDS.items():
        assert name in found.stdout
        assert line in found.stdout


def test_the_guide_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "command-line.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    lines = []
    for block in blocks:
        if re.search(r"[<>$]", block):
            lines.append(f"set -e\n{block}")
        else:
            lines += block.replace("\\\n", " ").splitlines()
    assert len(lines) > 3
    for line in lines:
        status, err = shell(line, tmp_path)
        assert status == 0, (line, err)
    assert fastsgd.load("cancer.safetensors").score("test.csv") > 0.9
