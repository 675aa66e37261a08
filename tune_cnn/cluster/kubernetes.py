"""Rules for a KubeRay RayJob: what the cluster runs, what it may cost, and who may reach it."""

import re
from collections.abc import Iterator, Mapping

from tune_cnn.cluster.entrypoint import Commands, check_entrypoint
from tune_cnn.cluster.report import Report, words
from tune_cnn.config_faults import shown
from tune_cnn.config_shape import Location
from tune_cnn.masking import names_a_secret

_API = "ray.io/v1"
_LONGEST_IDLE_SECONDS = 3600
# The names of KubeRay's RayJob, as far as the pods' templates, which are Kubernetes' own.
_KNOWN: Mapping[str, tuple[str, ...]] = {
    "": ("apiVersion", "kind", "metadata", "spec"),
    "spec": words(
        """
        activeDeadlineSeconds backoffLimit clusterSelector deletionStrategy entrypoint entrypointNumCpus
        entrypointNumGpus entrypointResources jobId managedBy metadata preRunningDeadlineSeconds rayClusterSpec
        runtimeEnvYAML shutdownAfterJobFinishes submissionMode submitterConfig submitterPodTemplate suspend
        ttlSecondsAfterFinished
        """
    ),
    "spec.rayClusterSpec": words(
        """
        authOptions autoscalerOptions enableInTreeAutoscaling gcsFaultToleranceOptions headGroupSpec
        headServiceAnnotations managedBy networkPolicy rayVersion suspend tlsOptions upgradeStrategy workerGroupSpecs
        """
    ),
    "headGroupSpec": words("enableIngress headService labels rayStartParams resources serviceType template"),
    "workerGroupSpecs": words(
        """
        groupName idleTimeoutSeconds labels maxReplicas minReplicas numOfHosts rayStartParams replicas resources
        scaleStrategy suspend template
        """
    ),
}
_CLUSTER: Location = ("spec", "rayClusterSpec")
_VERSION = re.compile(r"\b([0-9]+\.[0-9]+\.[0-9]+)(?=-py3[0-9]|$)|ray-?([0-9]+\.[0-9]+\.[0-9]+)")
_PYTHON = re.compile(r"\bpy3([0-9]{1,2})\b")


def check_rayjob(report: Report, *, ray_version: str, python: str, commands: Commands) -> None:
    """Note what is wrong, open, or without limit in a RayJob.

    Args:
        report: the manifest.
        ray_version: what rayVersion and the images have to hold.
        python: `3.11`, likewise.
        commands: of tune-cnn, and the options that each has.
    """
    _check_names(report)
    report.equal(_API, "apiVersion", why="KubeRay's old interfaces know no token authentication")
    report.equal("RayJob", "kind", why="this check is for a job, which ends and takes its cluster with it")
    check_entrypoint(report, ("spec", "entrypoint"), commands)
    why = "the cluster would stay, and cost, after the job"
    report.equal(True, "spec", "shutdownAfterJobFinishes", why=why)
    if report.value("spec", "clusterSelector") is not None:
        text = "takes a cluster that is there already, and nothing below rayClusterSpec would count; remove it"
        report.fault(("spec", "clusterSelector"), text)
    report.needed("spec", "activeDeadlineSeconds", example="86400", why="a job that hangs would cost for ever")
    report.equal(ray_version, *_CLUSTER, "rayVersion", why="not the Ray of constraints.txt", example=f'"{ray_version}"')
    why = "whoever reaches the head can run what he likes on the cluster"
    report.equal("token", *_CLUSTER, "authOptions", "mode", why=why, example="authOptions: {mode: token}")
    _check_head(report)
    _check_workers(report)
    for at in _pods(report):
        _check_pod(report, at, ray_version=ray_version, python=python)


def _check_names(report: Report) -> None:
    groups = range(len(report.items(*_CLUSTER, "workerGroupSpecs")))
    places: list[tuple[Location, str]] = [((), ""), (("spec",), "spec"), (_CLUSTER, "spec.rayClusterSpec")]
    places.append(((*_CLUSTER, "headGroupSpec"), "headGroupSpec"))
    places += [((*_CLUSTER, "workerGroupSpecs", position), "workerGroupSpecs") for position in groups]
    for at, key in places:
        for name in report.section(*at):
            if name not in _KNOWN[key]:
                report.unknown((*at, name), _KNOWN[key])


def _check_head(report: Report) -> None:
    at = (*_CLUSTER, "headGroupSpec")
    why = "trials would run on the head and could take the driver down"
    report.equal("0", *at, "rayStartParams", "num-cpus", why=why, example='num-cpus: "0"')
    if report.value(*at, "rayStartParams", "num-gpus") not in (None, "0"):
        report.fault((*at, "rayStartParams", "num-gpus"), "trials would run on the head; remove it")
    for position in range(len(report.items(*at, "template", "spec", "containers"))):
        limits = (*at, "template", "spec", "containers", position, "resources", "limits", "nvidia.com/gpu")
        if report.value(*limits):
            report.fault(limits, "a GPU that no trial uses, and that costs as long as the head stays; remove it")
    if report.value(*at, "enableIngress"):
        report.fault((*at, "enableIngress"), "true lets the dashboard be reached from outside; remove it")
    for place in ((*at, "serviceType"), (*at, "headService", "spec", "type")):
        service = report.value(*place)
        if service not in (None, "ClusterIP"):
            text = (
                f"{shown(service)} lets the head be reached from outside; write ClusterIP and use kubectl port-forward"
            )
            report.fault(place, text)


def _check_workers(report: Report) -> None:
    at = (*_CLUSTER, "workerGroupSpecs")
    groups = report.items(*at)
    if not groups:
        report.fault(at, "missing, so that no trial would ever run; write a group with a GPU")
    why = "pods would neither come nor go as trials do"
    report.equal(True, *_CLUSTER, "enableInTreeAutoscaling", why=why)
    report.needed(*_CLUSTER, "autoscalerOptions", "idleTimeoutSeconds", example="300", why="when an idle pod goes")
    _check_idle(report, (*_CLUSTER, "autoscalerOptions"))
    for position in range(len(groups)):
        _check_idle(report, (*at, position))
        why = "pods would run, and cost, with nothing to do"
        report.equal(0, *at, position, "minReplicas", why=why)
        most = report.needed(*at, position, "maxReplicas", example="4", why="there would be no limit")
        if isinstance(most, int) and most < 1:
            report.fault((*at, position, "maxReplicas"), f"{most} means that none would ever come; write 1 or more")


def _check_idle(report: Report, at: Location) -> None:
    idle = report.value(*at, "idleTimeoutSeconds")
    if isinstance(idle, int) and not 0 < idle <= _LONGEST_IDLE_SECONDS:
        text = f"{idle} would pay for idle pods, or for none at all; write 60 to {_LONGEST_IDLE_SECONDS}"
        report.fault((*at, "idleTimeoutSeconds"), text)


def _pods(report: Report) -> Iterator[Location]:
    """The place of every pod's spec."""
    if report.value("spec", "submitterPodTemplate") is not None:
        yield ("spec", "submitterPodTemplate", "spec")
    yield (*_CLUSTER, "headGroupSpec", "template", "spec")
    for position in range(len(report.items(*_CLUSTER, "workerGroupSpecs"))):
        yield (*_CLUSTER, "workerGroupSpecs", position, "template", "spec")


def _check_pod(report: Report, at: Location, *, ray_version: str, python: str) -> None:
    if report.value(*at) is None:
        report.fault(at, "missing; write spec: {securityContext: …, containers: …}")
        return
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if report.value(*at, name):
            report.fault((*at, name), "true gives the pod the node's own; remove it")
    for position, volume in enumerate(report.items(*at, "volumes")):
        if isinstance(volume, dict) and "hostPath" in volume:
            text = "gives the pod a folder of the node; write a persistentVolumeClaim"
            report.fault((*at, "volumes", position, "hostPath"), text)
    why = "the containers may run as root"
    report.equal(True, *at, "securityContext", "runAsNonRoot", why=why, example="securityContext: {runAsNonRoot: true}")
    containers = report.items(*at, "containers")
    if not containers:
        report.fault((*at, "containers"), "missing; write a container with image and resources")
    for kind in ("initContainers", "containers"):
        for position in range(len(report.items(*at, kind))):
            _check_container(report, (*at, kind, position), ray_version=ray_version, python=python)


def _check_container(report: Report, at: Location, *, ray_version: str, python: str) -> None:
    security = (*at, "securityContext")
    if report.value(*security, "privileged"):
        report.fault((*security, "privileged"), "true gives the container the whole node; remove it")
    if report.value(*security, "runAsNonRoot") is False or report.value(*security, "runAsUser") == 0:
        report.fault(
            security, "lets the container run as root, whatever the pod says; remove runAsNonRoot and runAsUser"
        )
    if report.value(*security, "capabilities", "add"):
        report.fault((*security, "capabilities", "add"), "gives the container rights of the node; remove it")
    for position, port in enumerate(report.items(*at, "ports")):
        if isinstance(port, dict) and "hostPort" in port:
            text = "opens a port of the node; remove it and use kubectl port-forward"
            report.fault((*at, "ports", position, "hostPort"), text)
    why = "a program in the container may become root"
    example = "securityContext: {allowPrivilegeEscalation: false}"
    report.equal(False, *security, "allowPrivilegeEscalation", why=why, example=example)
    _check_limits(report, (*at, "resources", "limits"))
    for position, variable in enumerate(report.items(*at, "env")):
        if isinstance(variable, dict) and "value" in variable:
            _check_variable(report, (*at, "env", position, "value"), str(variable.get("name")))
    image = report.needed(*at, "image", example=f"REGISTRY/tune-cnn:0.1.0-ray{ray_version}-py{python.replace('.', '')}")
    if isinstance(image, str):
        _check_image(report, (*at, "image"), image, ray_version=ray_version, python=python)


def _check_limits(report: Report, at: Location) -> None:
    why = "it may take the whole node"
    if report.needed(*at, example='{cpu: "4", memory: 16Gi}', why=why) is not None:
        for resource, example in (("cpu", '"4"'), ("memory", "16Gi")):
            report.needed(*at, resource, example=example, why=why)


def _check_variable(report: Report, at: Location, name: str) -> None:
    if names_a_secret(name) and not str(report.value(*at)).startswith(("~", "/")):
        report.fault(
            at, "a secret stands in the file; write valueFrom: {secretKeyRef: …}, or for Ray's authOptions alone"
        )
    if name == "RAY_AUTH_MODE" and report.value(*at) != "token":
        report.fault(at, f"{shown(report.value(*at))} switches authentication off; remove it, authOptions sets it")


def _check_image(report: Report, at: Location, image: str, *, ray_version: str, python: str) -> None:
    """Note an image that may be another tomorrow, or holds another Ray or Python; a digest is taken as it is."""
    if "@sha256:" in image:
        return
    name, _, tag = image.rpartition("/")[2].partition(":")
    wanted = f"ray{ray_version}-py{python.replace('.', '')}"
    if not tag or tag == "latest":
        report.fault(at, f"{shown(image)} may be another image tomorrow; write {name}:0.1.0-{wanted}")
        return
    versions = {first or second for first, second in _VERSION.findall(tag)}
    if "ray" in tag or name == "ray":
        if ray_version not in versions:
            report.fault(
                at, f"{shown(image)} is not of Ray {ray_version}, as constraints.txt is; write {wanted} in its tag"
            )
    elif not versions & {ray_version}:
        report.fault(at, f"{shown(image)} does not say its Ray; write {wanted} in its tag, or a digest")
    minor = _PYTHON.search(tag)
    if minor and minor[1] != python.partition(".")[2]:
        text = f"{shown(image)} has Python 3.{minor[1]}, constraints.txt was made with {python}; write {wanted}"
        report.fault(at, text)
