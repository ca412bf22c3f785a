"""Reads Kubernetes manifests as kustomize puts them together, and finds what is wrong with them without a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Row = dict[str, Any]

# The parts of kustomize that these manifests use; another one needs a check here first.
KUSTOMIZATION_KEYS = {"apiVersion", "kind", "labels", "resources", "configMapGenerator", "namespace", "patches", "images"}


class StrictLoader(yaml.SafeLoader):
    """Refuses a key that is there twice, which YAML libraries let pass in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Row:
        """Returns the mapping."""
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def documents(path: Path) -> list[Row]:
    """Returns the documents of a YAML file.

    Raises:
        yaml.YAMLError: it isn't strict YAML.
    """
    return [document for document in yaml.load_all(path.read_text(encoding="utf-8"), Loader=StrictLoader) if document]


@dataclass
class Overlay:
    """What kustomize would gather from a folder.

    Attributes:
        folder: of the kustomization.
        resources: every object, before patches.
        config_maps: names of generated ones.
        kustomizations: each one that took part, with its folder.
        files: every file that was read.
    """

    folder: Path
    resources: list[Row] = field(default_factory=list)
    config_maps: set[str] = field(default_factory=set)
    kustomizations: list[tuple[Path, Row]] = field(default_factory=list)
    files: set[Path] = field(default_factory=set)


def gathered(folder: Path) -> Overlay:
    """Follows a kustomization to all of its parts.

    Raises:
        FileNotFoundError: a part isn't there.
    """
    overlay = Overlay(folder)
    _gather(folder.resolve(), overlay)
    return overlay


def _gather(folder: Path, overlay: Overlay) -> None:
    path = folder / "kustomization.yaml"
    (kustomization,) = documents(path)
    overlay.kustomizations.append((folder, kustomization))
    overlay.files.add(path)
    for name in kustomization.get("resources", []):
        part = (folder / name).resolve()
        if part.is_dir():
            _gather(part, overlay)
        else:
            overlay.files.add(part)
            overlay.resources += documents(part)
    for generator in kustomization.get("configMapGenerator", []):
        overlay.config_maps.add(generator["name"])
        for name in generator["files"]:
            part = folder / name.rpartition("=")[2]
            part.read_bytes()
            overlay.files.add(part)


def problems(overlay: Overlay) -> list[str]:
    """Returns what is wrong with the objects of an overlay, one line each."""
    return [*_kustomize_problems(overlay), *_pod_problems(overlay), *_selector_problems(overlay)]


def pods(overlay: Overlay) -> Iterator[tuple[str, Row, Row]]:
    """Yields kind and name, labels, and the specification of every pod."""
    for resource in overlay.resources:
        template = resource.get("spec", {})
        if resource["kind"] == "CronJob":
            template = template["jobTemplate"]["spec"]
        if "template" in template:
            labels = template["template"].get("metadata", {}).get("labels", {})
            yield f"{resource['kind']}/{resource['metadata']['name']}", labels, template["template"]["spec"]


def images(overlay: Overlay) -> dict[str, str]:
    """Returns each container's image, tag included, to the name it has in the manifest."""
    changed = {row["name"]: row for _, kustomization in overlay.kustomizations for row in kustomization.get("images", [])}
    found = {}
    for _, _, pod in pods(overlay):
        for container in pod["containers"]:
            name, _, tag = container["image"].partition(":")
            row = changed.get(name, {})
            found[f"{row.get('newName', name)}:{row.get('newTag', tag)}"] = name
    return found


def _kustomize_problems(overlay: Overlay) -> Iterator[str]:
    objects = [(resource["kind"], resource["metadata"]["name"]) for resource in overlay.resources]
    for kind, name in {one for one in objects if objects.count(one) > 1}:
        yield f"{kind}/{name} is there twice"
    used = set(images(overlay).values())
    for folder, kustomization in overlay.kustomizations:
        for key in set(kustomization) - KUSTOMIZATION_KEYS:
            yield f"{folder.name}: kustomization key {key!r} isn't checked here"
        for row in kustomization.get("images", []):
            if row["name"] not in used:
                yield f"{folder.name}: image {row['name']} is in no manifest"
        for patch in kustomization.get("patches", []):
            yield from _patch_problems(overlay, folder, patch)
    for image in images(overlay):
        if image.rpartition(":")[2] in ("", "latest"):
            yield f"image {image} has no fixed tag"


def _patch_problems(overlay: Overlay, folder: Path, patch: Row) -> Iterator[str]:
    target = patch["target"]
    found = [one for one in overlay.resources if one["kind"] == target["kind"] and one["metadata"]["name"] == target["name"]]
    if not found:
        yield f"{folder.name}: patch of {target['kind']}/{target['name']}, which isn't there"
        return
    for step in yaml.load(patch["patch"], Loader=StrictLoader):
        *way, last = step["path"].strip("/").split("/")
        place: Any = found[0]
        for part in way:
            place = place[int(part)] if isinstance(place, list) else place.get(part, {})
        if step["op"] == "replace" and not (isinstance(place, dict) and last in place):
            yield f"{folder.name}: patch replaces {step['path']} of {target['name']}, which isn't there"


def _pod_problems(overlay: Overlay) -> Iterator[str]:
    names = {kind: {one["metadata"]["name"] for one in overlay.resources if one["kind"] == kind} for kind in _NAMED}
    for where, _, pod in pods(overlay):
        security = pod.get("securityContext", {})
        if not security.get("runAsNonRoot") or not security.get("runAsUser"):
            yield f"{where} may run as root"
        if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{where} has no seccomp profile"
        if pod.get("serviceAccountName") not in names["ServiceAccount"]:
            yield f"{where}: service account {pod.get('serviceAccountName')} isn't there"
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        for volume in volumes.values():
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            if claim and claim not in names["PersistentVolumeClaim"]:
                yield f"{where}: claim {claim} isn't there"
            config = volume.get("configMap", {}).get("name")
            if config and config not in names["ConfigMap"] | overlay.config_maps:
                yield f"{where}: config map {config} isn't there"
            if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
                yield f"{where}: scratch volume {volume['name']} has no limit"
        mounted = {mount["name"] for container in pod["containers"] for mount in container.get("volumeMounts", [])}
        for name in mounted ^ set(volumes):
            yield f"{where}: volume {name} is only mounted or only declared"
        for container in pod["containers"]:
            yield from _container_problems(f"{where}/{container['name']}", container, where.startswith("Deployment/"))


_NAMED = ("ServiceAccount", "PersistentVolumeClaim", "ConfigMap")


def _container_problems(where: str, container: Row, lasts: bool) -> Iterator[str]:
    resources = container.get("resources", {})
    for bound in ("requests", "limits"):
        if set(resources.get(bound, {})) != {"cpu", "memory"}:
            yield f"{where} has no {bound} of cpu and memory"
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False or security.get("capabilities", {}).get("drop") != ["ALL"]:
        yield f"{where} may gain rights"
    if not security.get("readOnlyRootFilesystem"):
        yield f"{where} may write to its image"
    ports = {port["name"] for port in container.get("ports", [])}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if lasts and probe not in container:
            yield f"{where} has no {probe}"
        for way in container.get(probe, {}).values():
            if isinstance(way, dict) and way.get("port") not in ports:
                yield f"{where}: {probe} asks at port {way.get('port')}, which isn't there"


def _selector_problems(overlay: Overlay) -> Iterator[str]:
    every = [(labels, pod) for _, labels, pod in pods(overlay)]
    for resource in overlay.resources:
        kind, spec = resource["kind"], resource.get("spec", {})
        if kind not in ("Service", "PodDisruptionBudget", "Deployment"):
            continue
        where = f"{kind}/{resource['metadata']['name']}"
        selector = spec["selector"] if kind == "Service" else spec["selector"]["matchLabels"]
        chosen = [pod for labels, pod in every if selector.items() <= labels.items()]
        if not chosen:
            yield f"{where} selects no pod"
        ports = {port["name"] for pod in chosen for container in pod["containers"] for port in container.get("ports", [])}
        for port in spec.get("ports", []):
            if port["targetPort"] not in ports:
                yield f"{where}: port {port['targetPort']} isn't there"
