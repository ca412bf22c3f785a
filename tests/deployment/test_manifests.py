"""Proves that the Kubernetes manifests and skaffold.yaml hold together, without a cluster.

Every reference is followed, and what a pod must have is looked for. Schemas are checked by `make manifests-check`, and rendering by
kubectl where it is there. Skaffold itself isn't run anywhere here: its file is only compared with what it names.
"""

import copy
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from schemas.settings_loader import load_settings
from tests.support.manifests import StrictLoader, documents, gathered, images, pods, problems

ROOT = Path(__file__).parents[2]
OVERLAYS = sorted(path.parent for path in (ROOT / "k8s" / "overlays").glob("*/kustomization.yaml"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


@pytest.fixture(params=OVERLAYS, ids=lambda path: path.name)
def overlay(request):
    return gathered(request.param)


def test_nothing_is_wrong_with_an_overlay(overlay):
    assert len(overlay.resources) > 4
    assert problems(overlay) == []


def test_every_manifest_takes_part():
    files = {file for folder in OVERLAYS for file in gathered(folder).files}
    assert {path for path in (ROOT / "k8s").rglob("*") if path.is_file()} == files


def broken_by(overlay, change):
    broken = copy.deepcopy(overlay)
    change(broken)
    return problems(broken)


def container(overlay, name):
    return next(one for _, _, pod in pods(overlay) for one in pod["containers"] if one["name"] == name)


def resource(overlay, kind):
    return next(one for one in overlay.resources if one["kind"] == kind)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda it: container(it, "model-server")["resources"].pop("limits"), "has no limits of cpu and memory"),
        (lambda it: container(it, "model-server").pop("readinessProbe"), "has no readinessProbe"),
        (lambda it: container(it, "model-server").update(image="tensorflow/serving"), "has no fixed tag"),
        (lambda it: container(it, "check-inputs")["securityContext"].pop("capabilities"), "may gain rights"),
        (lambda it: container(it, "check-inputs")["volumeMounts"].pop(), "is only mounted or only declared"),
        (lambda it: container(it, "model-server")["ports"].pop(), "which isn't there"),
        (lambda it: resource(it, "Service")["spec"]["selector"].update(app="x"), "selects no pod"),
        (lambda it: resource(it, "PersistentVolumeClaim")["metadata"].update(name="x"), "claim aisle isn't there"),
        (lambda it: it.config_maps.clear(), "config map model-server isn't there"),
        (lambda it: it.resources.append(it.resources[0]), "is there twice"),
        (lambda it: next(pods(it))[2]["securityContext"].pop("runAsNonRoot"), "may run as root"),
        (lambda it: it.kustomizations[0][1]["patches"][0]["target"].update(name="x"), "which isn't there"),
        (lambda it: it.kustomizations[0][1].update(vars=[]), "isn't checked here"),
    ],
)
def test_what_is_broken_is_found(overlay, change, said):
    assert any(said in problem for problem in broken_by(overlay, change))


def test_a_key_that_is_there_twice_is_found(tmp_path):
    (tmp_path / "x.yaml").write_text("a: {b: 1}\nspec: 1\nspec: 2\n")
    with pytest.raises(yaml.YAMLError, match="'spec' is there twice"):
        documents(tmp_path / "x.yaml")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl to render with")
def test_kubectl_renders_an_overlay_with_the_same_objects(overlay):
    said = subprocess.run(["kubectl", "kustomize", str(overlay.folder)], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    rendered = [one for one in yaml.load_all(said.stdout, Loader=StrictLoader) if one]
    assert len(rendered) == len(overlay.resources) + len(overlay.config_maps)
    assert {one["metadata"].get("namespace") for one in rendered if one["kind"] != "Namespace"} == {
        overlay.kustomizations[0][1]["namespace"]
    }
    containers = {
        one["image"]
        for row in rendered
        if row["kind"] in ("Deployment", "CronJob")
        for one in (row["spec"].get("jobTemplate", {}).get("spec") or row["spec"])["template"]["spec"]["containers"]
    }
    assert containers == set(images(overlay))


# What manifests, settings, images and locks say about each other.


def test_volume_and_served_folder_are_those_of_the_configuration(overlay, tmp_path):
    settings = load_settings(ROOT / "configs" / "kubeflow.yaml", prefix=str(tmp_path))
    assert resource(overlay, "PersistentVolumeClaim")["metadata"]["name"] == settings.kubeflow.volume_claim
    for _, _, pod in pods(overlay):
        mounts = {mount["name"]: mount["mountPath"] for one in pod["containers"] for mount in one["volumeMounts"]}
        assert mounts["aisle"] == settings.kubeflow.mount_path
    config = (ROOT / "k8s" / "base" / "models.config").read_text(encoding="utf-8")
    assert re.findall(r'name: "(.*)"', config) == [settings.run.name]
    assert re.findall(r'base_path: "(.*)"', config) == [f"{settings.push.folder}/models/{settings.run.name}"]
    assert container(overlay, "model-server")["readinessProbe"]["httpGet"]["path"] == f"/v1/models/{settings.run.name}"


def test_the_model_server_is_of_the_version_that_models_are_made_for(overlay):
    lock = (ROOT / "locks" / "pipeline.txt").read_text(encoding="utf-8")
    (version,) = re.findall(r"^tensorflow-serving-api==(.*)$", lock, re.MULTILINE)
    assert f"tensorflow/serving:{version}" in images(overlay)


def test_our_images_are_targets_of_the_dockerfile_and_run_as_its_user(overlay):
    targets = re.findall(r"^FROM .* AS (\S+)$", DOCKERFILE, re.MULTILINE)
    ours = {name for name in images(overlay).values() if name.startswith("aisle/")}
    assert ours
    assert {name.partition("/")[2] for name in ours} <= set(targets)
    (user,) = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    for _, _, pod in pods(overlay):
        if any(one["image"].startswith("aisle/") for one in pod["containers"]):
            security = pod["securityContext"]
            assert (str(security["runAsUser"]), str(security["runAsGroup"]), str(security["fsGroup"])) == (*user, user[1])


def test_skaffold_builds_and_deploys_what_is_there():
    (config,) = documents(ROOT / "skaffold.yaml")
    assert (config["apiVersion"], config["kind"]) == ("skaffold/v4beta11", "Config")
    assert set(config) <= {"apiVersion", "kind", "metadata", "build", "manifests", "deploy", "profiles"}
    used = {name for folder in OVERLAYS for name in images(gathered(folder)).values()}
    for artifact in config["build"]["artifacts"]:
        assert artifact["image"] in used
        assert (ROOT / artifact["context"] / artifact["docker"]["dockerfile"]).is_file()
        assert re.search(rf"^FROM .* AS {artifact['docker']['target']}$", DOCKERFILE, re.MULTILINE)
        assert artifact["image"].endswith(f"/{artifact['docker']['target']}")
    assert {artifact["image"] for artifact in config["build"]["artifacts"]} == {name for name in used if name.startswith("aisle/")}
    paths = [
        *config["manifests"]["kustomize"]["paths"],
        *(path for row in config["profiles"] for path in row["manifests"]["kustomize"]["paths"]),
    ]
    assert {(ROOT / path).resolve() for path in paths} == {folder.resolve() for folder in OVERLAYS}
