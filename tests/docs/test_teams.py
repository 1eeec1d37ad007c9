"""docs/teams.md: each command does what the page says, on a pipeline of SimSiam only, at smoke sizes."""

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from checkouts import check_out
from commands import blocks, run
from preloaded import programs
from shell import end_left_behind

PAGE = blocks("teams.md")
KEPT = ("prepare", "ssl", "ssl_baselines", "evaluate_ssl")
QUEUE_SECONDS = 300

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Iterator[Path]:
    """Train and measure SimSiam on the smoke profile, commit the results, yield the repository."""
    folder = tmp_path_factory.mktemp("team") / "checkout"
    check_out(folder)
    with programs(folder.parent / "bin", "python", "triptych"):
        yield trained(folder)


def trained(folder: Path) -> Path:
    run("triptych profile use smoke", folder)
    graph = yaml.safe_load((folder / "dvc.yaml").read_text(encoding="utf-8"))
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    graph["stages"] = {name: graph["stages"][name] for name in KEPT}
    params["ssl"]["variants"] = {"simsiam": params["ssl"]["variants"]["simsiam"]}
    for name, tree in (("dvc.yaml", graph), ("params.yaml", params)):
        (folder / name).write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    run("dvc repro -q && git add -A && git commit -q -m 'a run'", folder)
    return folder


def test_a_colleague_pulls_from_a_folder_and_has_nothing_to_run(checkout):
    run(PAGE[""], checkout)
    assert (checkout.parent / "triptych-store").is_dir()
    run(PAGE["clone"], checkout)
    colleague = checkout.parent / "colleague"
    weights = "models/ssl/simsiam/model.safetensors"
    assert (colleague / weights).read_bytes() == (checkout / weights).read_bytes()
    assert "Running stage" not in run("dvc repro", colleague)


def test_stages_run_at_once_and_through_a_launcher(checkout):
    """A script stands in for srun: it notes the stages that it starts."""
    run("git clone -q . ../jobs", checkout)
    folder = checkout.parent / "jobs"
    run(PAGE["jobs"], folder)
    assert (folder / "models/ssl/simsiam/model.safetensors").read_bytes() == (
        checkout / "models/ssl/simsiam/model.safetensors"
    ).read_bytes()
    launcher = folder / "srun"
    launcher.write_text('#!/bin/sh\nshift 2\necho "$@" >> launched\nexec "$@"\n')
    launcher.chmod(0o755)
    change = folder / "params.yaml"
    change.write_text(change.read_text().replace("probe_penalty: 0.001", "probe_penalty: 0.01"))
    run(PAGE["slurm"].replace("'srun", "'./srun"), folder)
    assert (folder / "launched").read_text().count("--single-item") == 2


@pytest.fixture
def bucket() -> Iterator[str]:
    """Yield the address of an S3-compatible server with an empty bucket `triptych`."""
    pytest.importorskip("dvc_s3")
    boto3, server = pytest.importorskip("boto3"), pytest.importorskip("moto.server")
    running = server.ThreadedMotoServer(port=0)
    running.start()
    host, port = running.get_host_and_port()
    address = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=address, **keys).create_bucket(Bucket="triptych")
    yield address
    running.stop()


def test_a_bucket_does_the_same(checkout, bucket):
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    run(PAGE["s3"].replace("http://localhost:9000", bucket), checkout, **keys)
    run("git clone -q . ../from_bucket && cd ../from_bucket && dvc pull -q", checkout, **keys)
    assert "Running stage" not in run("dvc repro", checkout.parent / "from_bucket")


@pytest.fixture
def no_worker_stays(checkout) -> Iterator[None]:
    """End the workers: of two that start at the same moment, one may stay after the queue is empty."""
    yield
    end_left_behind(checkout)


@pytest.mark.usefixtures("no_worker_stays")
def test_two_workers_take_what_is_queued_and_a_result_is_taken_over(checkout):
    run(PAGE["queue"], checkout)
    until = time.monotonic() + QUEUE_SECONDS
    while (status := run("dvc queue status", checkout)).count("Success") < 2:
        assert "Failed" not in status and time.monotonic() < until, status
        time.sleep(1)
    shown = run(PAGE["queued"], checkout)
    assert "penalty_small" in shown and "penalty_large" in shown
    assert "probe_penalty: 0.0001" in (checkout / "params.yaml").read_text()
    numbers = (checkout / "metrics/ssl/simsiam.json").read_bytes()
    committed = json.loads(run("git show HEAD:metrics/ssl/simsiam.json", checkout))
    assert json.loads(numbers)["knn_accuracy"] == committed["knn_accuracy"]
    # The numbers are those that the stage made of the other penalty, whether or not it moved an image to another class.
    measured = yaml.safe_load((checkout / "dvc.lock").read_text())["stages"]["evaluate_ssl@simsiam"]
    assert measured["params"]["params.yaml"]["evaluation.ssl"]["probe_penalty"] == 0.0001
    [out] = [out for out in measured["outs"] if out["path"] == "metrics/ssl/simsiam.json"]
    assert out["md5"] == hashlib.md5(numbers).hexdigest()
    run("git checkout -q . && dvc checkout -q", checkout)


def test_two_processes_train_one_model(checkout):
    before = json.loads((checkout / "metrics/ssl/simsiam.json").read_text())
    timing = checkout / "metrics/timing/ssl/simsiam.json"
    assert json.loads(timing.read_text())["processes"] == 1
    run(PAGE["launch"], checkout)
    assert json.loads(timing.read_text())["processes"] == 2
    after = json.loads((checkout / "metrics/ssl/simsiam.json").read_text())
    assert after["knn_accuracy"] == pytest.approx(before["knn_accuracy"], abs=0.05)
