"""What must never happen with inputs, keys and files, whoever made them."""

import ast
import contextlib
import json
import os
import subprocess
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from minilean.calendar import MarketCalendar
from minilean.errors import HostError
from minilean.formats import read_bars, read_constituents, read_factor_file, read_map_file
from minilean.objectstore import ObjectStore
from minilean.project import Project
from minilean.system import ArgumentException, KeyNotFoundException
from tests.conftest import ROOT

MUCH = 1 << 30
TEN_MEBIBYTES = 10 << 20


def sources() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.py"], cwd=ROOT, capture_output=True)
    names = listed.stdout.decode().split() or [str(path) for path in ROOT.rglob("*.py") if ".venv" not in path.parts]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def test_nothing_that_runs_code_out_of_data_is_in_the_tree():
    """pickle and its kin, torch.load, numpy's pickles, eval and exec. Tests may make pickles, to have them refused, and
    evaluate what stands in them, but load nothing."""
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    found = []
    for path in sources():
        is_test = "tests" in path.relative_to(ROOT).parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                if not is_test and any(name.split(".")[0] in forbidden for name in names):
                    found.append(f"{path}:{node.lineno} imports {names}")
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                options = {option.arg: ast.unparse(option.value) for option in node.keywords}
                loads = called in ("torch.load", "pickle.load", "pickle.loads", "pd.read_pickle", "pandas.read_pickle")
                if loads or (called in ("eval", "exec") and not is_test):
                    found.append(f"{path}:{node.lineno} calls {called}")
                if options.get("allow_pickle") == "True" or options.get("weights_only") == "False":
                    found.append(f"{path}:{node.lineno} {options}")
                if options.get("shell") == "True" or options.get("trust_remote_code") == "True":
                    found.append(f"{path}:{node.lineno} {options}")
    assert found == []


def test_the_search_for_them_finds_them(tmp_path, monkeypatch):
    lines = ["import pickle", "from joblib import load", "torch.load(x)", "eval(x)", "np.load(x, allow_pickle=True)"]
    for line in lines:
        (tmp_path / "bad.py").write_text(line)
        monkeypatch.setattr("tests.test_security.sources", lambda: [tmp_path / "bad.py"])
        monkeypatch.setattr("tests.test_security.ROOT", tmp_path)
        with pytest.raises(AssertionError):
            test_nothing_that_runs_code_out_of_data_is_in_the_tree()


# --- paths


@pytest.mark.parametrize(
    "key",
    ["../secret", "a/../../secret", "..\\secret", "../../etc/passwd", "a/..", "link", "folder/secret", "..//secret"],
)
def test_no_key_of_the_object_store_leads_outside_its_folder(key, tmp_path):
    root = tmp_path / "storage"
    root.mkdir()
    (tmp_path / "secret").write_text("1")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    store = ObjectStore(root)
    seen = []
    for use in (
        store.contains_key,
        store.read_bytes,
        store.delete,
        store.get_file_path,
        lambda key: store.save_bytes(key, b"2"),
    ):
        with contextlib.suppress(ArgumentException, KeyNotFoundException):  # or the dots at its beginning are dropped
            seen.append(use(key))
    assert b"1" not in seen
    assert (tmp_path / "secret").read_text() == "1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret", "storage"]


def test_an_absolute_key_stays_inside_the_folder(tmp_path):
    store = ObjectStore(tmp_path / "storage")
    assert store.save_bytes(f"{tmp_path}/outside", b"1")
    assert not (tmp_path / "outside").exists()
    assert [path.name for path in (tmp_path / "storage").rglob("*") if path.is_file()] == ["outside"]


@pytest.mark.parametrize("ticker", ["../../secret", "/etc/passwd", "..\\secret", "a/b"])
def test_no_ticker_of_a_data_file_leads_outside_the_data_folder(ticker, tmp_path):
    (tmp_path / "x.csv").write_text(f"20120103,{ticker},N\n20501231,{ticker},N\n")
    with pytest.raises(HostError, match=r"x\.csv, line 1"):
        read_map_file(tmp_path / "x.csv")


def test_a_name_inside_a_zip_file_is_never_a_path_to_write_to(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("../../escaped.csv", "20120103 00:00,1,1,1,1,1\n")
    before = set(tmp_path.parent.rglob("escaped.csv"))
    bars = read_bars(tmp_path / "x.zip")
    assert bars is not None
    assert bars.shape == (1, 6)
    assert set(tmp_path.parent.rglob("escaped.csv")) == before == set()


# --- bombs


def test_a_zip_bomb_ends_in_an_error_and_not_in_a_full_memory(tmp_path):
    bomb = zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with bomb as archive, archive.open("x.csv", "w") as inside:
        for _ in range(200):
            inside.write(b"0" * (1 << 20))
    assert (tmp_path / "x.zip").stat().st_size < TEN_MEBIBYTES
    tracemalloc.start()
    with pytest.raises(HostError, match=r"x\.zip is not a readable zip file \(it is larger than 67,108,864 bytes\)"):
        read_bars(tmp_path / "x.zip")
    assert tracemalloc.get_traced_memory()[1] < 4 << 26
    tracemalloc.stop()


@pytest.mark.parametrize("read", [read_map_file, read_factor_file, read_constituents])
def test_a_csv_file_without_end_is_refused(read, tmp_path):
    (tmp_path / "x.csv").touch()
    os.truncate(tmp_path / "x.csv", MUCH)  # takes no room on the disk
    with pytest.raises(HostError, match=r"x\.csv cannot be read \(it is larger than"):
        read(tmp_path / "x.csv")


@pytest.mark.parametrize("content", ["[" * 10**6, '{"a":' * 10**6, "9" * 10**6, "[]"])
def test_a_json_bomb_in_a_project_or_a_data_folder_ends_in_a_sentence(content, tmp_path):
    (tmp_path / "main.py").touch()
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(HostError, match=r"config\.json"):
        Project(tmp_path, {})
    (tmp_path / "market-hours").mkdir()
    (tmp_path / "market-hours" / "market-hours-database.json").write_text(content)
    with pytest.raises(HostError, match=r"market-hours-database\.json"):
        MarketCalendar.read(tmp_path)


def test_a_json_file_without_end_is_refused(tmp_path):
    (tmp_path / "main.py").touch()
    (tmp_path / "config.json").touch()
    os.truncate(tmp_path / "config.json", MUCH)
    with pytest.raises(HostError, match="it is larger than"):
        Project(tmp_path, {})


# --- secrets


def test_no_key_or_token_of_the_environment_is_in_logs_or_results(run_strategy, demo_market, tmp_path, monkeypatch):
    secret = "s3cr3t-t0k3n-4711"
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "QC_API_TOKEN", "AWS_SECRET_ACCESS_KEY", "PASSWORD"):
        monkeypatch.setenv(name, secret)
    run = run_strategy(demo_market, start="2011-01-03", end="2011-01-31")
    assert run.failure is None
    ended = {"status": "Completed", "runtime_error": "", "stack_trace": ""}
    run.engine.results().write(tmp_path / "out", "x", run.engine.brokerage.orders, **ended)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 3  # results, and the states in the store
    assert not any(secret.encode() in path.read_bytes() for path in written)
    assert secret not in "\n".join(run.lines)


def test_no_parameter_of_the_project_is_a_credential():
    names = json.loads((ROOT / "config.json").read_text())["parameters"]
    assert not [name for name in names if any(word in name for word in ("token", "key", "secret", "password"))]
