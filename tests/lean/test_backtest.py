"""`lean backtest .` on this project: what the real CLI finds, and what it asks Docker for."""

import json
import re

import pytest

from settings import Settings
from tests.conftest import ROOT
from tests.lean.conftest import run_python


def gpu_commands():
    """Every --extra-docker-config that the documents show."""
    for name in ("README.md", "docs/gpu.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for found in re.findall(r"--extra-docker-config '(\{.*?\})'", text, flags=re.DOTALL):
            yield name, found


@pytest.fixture
def backtest(lean, project, daemon):
    """Run `lean backtest . ARGUMENTS`, and give the container that the CLI had created."""

    def run(*arguments):
        done = lean("backtest", ".", *arguments, cwd=project)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Successfully ran '.' in the 'backtesting' environment" in done.stdout
        (container,) = daemon.containers
        return container

    return run


def config(container):
    return json.loads(container.files["/Lean/Launcher/bin/Debug/config.json"])


def test_the_container_is_leans_image_with_the_project_its_data_its_store_and_its_results(backtest, project):
    container = backtest()
    assert container.request["Image"] == "quantconnect/lean:latest"
    mounts = container.mounts
    (results,) = (project / "backtests").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", results.name)
    assert {target: mounts[target] for target in ("/LeanCLI", "/Lean/Data", "/Storage", "/Results")} == {
        "/LeanCLI": str(project),
        "/Lean/Data": str(project / "data"),
        "/Storage": str(project / "storage"),
        "/Results": str(results),
    }
    assert set(mounts) - {"/LeanCLI", "/Lean/Data", "/Storage", "/Results"} == {
        "/lean-cli-start.sh",
        "/Lean/Launcher/bin/Debug/config.json",
    }


def test_the_engine_gets_the_algorithm_its_language_and_every_parameter(backtest, project):
    found = config(backtest())
    assert found["algorithm-location"] == "/LeanCLI/main.py"
    assert found["algorithm-language"] == "Python"
    assert found["algorithm-type-name"] == "main"
    assert found["environment"] == "backtesting"
    assert found["parameters"] == json.loads((project / "config.json").read_text())["parameters"]
    assert Settings.from_parameters(found["parameters"]).as_parameters() == found["parameters"]


def test_the_engine_gets_lean_jsons_limits(backtest, project):
    written = json.loads((project / "lean.json").read_text())
    limits = {key: value for key, value in written.items() if isinstance(value, int)}
    assert set(limits) >= {
        "algorithm-manager-time-loop-maximum",
        "scheduled-event-leaky-bucket-capacity",
        "initialization-timeout",
        "algorithm-creation-timeout",
    }
    found = config(backtest())
    assert {key: found[key] for key in limits} == limits


def test_parameters_on_the_command_line_replace_those_of_config_json_and_the_defaults_fill_in(backtest):
    found = config(backtest("--parameter", "entropy", "as_printed", "--parameter", "eta", "0.02"))["parameters"]
    assert found == {"entropy": "as_printed", "eta": "0.02"}
    settings = Settings.from_parameters(found)
    assert (settings.learning.eta, settings.run) == (0.02, Settings().run)


def test_nothing_is_installed_in_the_container(backtest):
    """A requirements.txt in the root would be installed at every run; the image has every package already."""
    container = backtest()
    script = container.files["/lean-cli-start.sh"]
    assert "pip install" not in script
    assert "/requirements.txt" not in container.mounts
    assert script.rstrip().endswith("exec dotnet QuantConnect.Lean.Launcher.dll")
    assert '"/LeanCLI/main.py"' in script


def test_the_environment_is_empty_unless_asked_for(backtest):
    assert backtest().environment == {}


@pytest.mark.parametrize(("document", "text"), list(gpu_commands()))
def test_the_documented_gpu_command_requests_every_gpu(backtest, document, text):
    container = backtest("--extra-docker-config", text)
    (request,) = container.request["HostConfig"]["DeviceRequests"]
    assert (request["Count"], request["Capabilities"]) == (-1, [["compute"]])
    asked = json.loads(text)
    assert container.environment == asked.get("environment", {})
    for folder, mount in asked.get("volumes", {}).items():
        assert container.mounts[mount["bind"]] == folder


def test_the_gpu_document_mounts_the_checkpoints_where_its_hf_home_points():
    (text,) = [text for name, text in gpu_commands() if name == "docs/gpu.md"]
    asked = json.loads(text)
    assert asked["environment"]["HF_HOME"] in {mount["bind"] for mount in asked["volumes"].values()}


def test_without_a_daemon_the_cli_says_so_in_a_sentence(lean_package, project, tmp_path):
    done = run_python(
        lean_package,
        tmp_path / "home",
        *("-m", "lean", "backtest", "."),
        cwd=project,
        docker_host=f"unix://{tmp_path}/none",
    )
    assert done.returncode == 1
    assert "Error: Please make sure Docker is installed and running" in done.stdout
