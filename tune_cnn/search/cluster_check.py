"""`tune-cnn check-cluster`: what Ray's own schema finds in a cluster file, and what it does not look at. Offline.

The second importer of Ray, for the schema of `ray up` alone: it starts nothing.
"""

import contextlib
import copy
import io
import json
import logging
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its stubs are a package of their own
import ray.autoscaler
from ray.autoscaler._private.util import prepare_config, validate_config

from tune_cnn.cluster.aws import check_aws
from tune_cnn.cluster.commands import PYTHON, check_commands
from tune_cnn.cluster.entrypoint import Commands
from tune_cnn.cluster.everywhere import check_everywhere, check_words
from tune_cnn.cluster.kubernetes import check_rayjob
from tune_cnn.cluster.machines import check_machines
from tune_cnn.cluster.report import Report
from tune_cnn.config_faults import shown
from tune_cnn.config_shape import Location, nearest
from tune_cnn.errors import ClusterFileError
from tune_cnn.invocation import program
from tune_cnn.results.display import word
from tune_cnn.yaml_files import plain_words, read_yaml

_NAMES = "cluster_name and provider, or apiVersion and kind"
_BEGINNINGS = {"cluster_name", "provider", "apiVersion", "kind"}
_OF_A_SPACE = {"task", "data", "model", "training", "search"}
_PROVIDERS = {"aws": check_aws, "local": check_machines}


def check_cluster(file: Path, *, commands: Commands) -> str:
    """Check a file of `ray up`, or a KubeRay RayJob.

    Args:
        file: the file; what it copies to the machines is looked for on this one, from the working directory.
        commands: of tune-cnn, and the options that each has.

    Returns:
        What it is, in a few words.

    Raises:
        SpaceFileError: it is no YAML, or has tags, aliases without end and the like.
        ClusterFileError: every other fault, a line each.
    """
    document = read_yaml(file, least=_NAMES)
    report = Report(document)
    if not (isinstance(document.tree, dict) and _BEGINNINGS & set(document.tree)):
        raise ClusterFileError(f"{document.where(())}: {_other(document.tree, file)}")
    check_everywhere(report)
    check_words(report, plain_words(file))
    if {"apiVersion", "kind"} & set(document.tree):
        check_rayjob(report, ray_version=metadata.version("ray"), python=PYTHON, commands=commands)
        what = "a RayJob of KubeRay"
    else:
        what = _check_ray_up(report)
    if lines := report.lines():
        raise ClusterFileError(lines)
    return what


def _other(tree: Any, file: Path) -> str:
    """Say what a file is that is none for a cluster."""
    if isinstance(tree, dict) and len(_OF_A_SPACE & set(tree)) > 1:
        return f"this is a search space, not a cluster file; look it over with `{program()} check {word(str(file))}`"
    return f"not a cluster file; write {_NAMES}"


def _check_ray_up(report: Report) -> str:
    _check_schema(report)
    kind = report.section("provider").get("type")
    if kind in _PROVIDERS:
        _PROVIDERS[kind](report)
        check_commands(report, ray_version=metadata.version("ray"))
    elif isinstance(kind, str):
        close = nearest(kind, list(_PROVIDERS))
        hint = f"did you mean {close!r}?" if close else "write aws or local; for Kubernetes, a RayJob"
        report.fault(("provider", "type"), f"{shown(kind)} is not known here; {hint}")
    if not report.lines():
        _check_as_ray_does(report)
    return f"a `ray up` file for provider {kind}"


def _check_schema(report: Report) -> None:
    """Note everything in which the file differs from Ray's schema, where Ray itself would stop at the first."""
    file = Path(ray.autoscaler.__file__).with_name("ray-schema.json")
    validator = jsonschema.Draft7Validator(json.loads(file.read_text()))
    for error in validator.iter_errors(report.document.tree):
        location = tuple(error.absolute_path)
        if error.validator == "additionalProperties":
            known = list(error.schema.get("properties", {}))
            for name in sorted(set(error.instance) - set(known) - _beyond_the_schema(report, location)):
                report.unknown((*location, name), known)
        elif error.validator == "required":
            for name in sorted(set(error.validator_value) - set(error.instance)):
                report.fault((*location, name), f"missing; write {name}: …")
        elif error.validator == "type":
            wanted = {"object": "a section", "array": "a list", "string": "text", "boolean": "true or false"}
            kinds = [error.validator_value] if isinstance(error.validator_value, str) else error.validator_value
            words = " or ".join(
                wanted.get(kind, f"a whole {kind}".replace("whole integer", "whole number")) for kind in kinds
            )
            report.settle(location, f"{shown(error.instance)} cannot stand here; write {words}")
        else:
            report.fault(location, f"{shown(error.instance)}: {error.message}; write what Ray's schema takes")


def _beyond_the_schema(report: Report, location: Location) -> set[str]:
    """What Ray takes from a file before it looks at it with its schema: how many machines of one's own stay."""
    return {"min_workers"} if not location and report.section("provider").get("type") == "local" else set()


@contextlib.contextmanager
def _silent_ray() -> Iterator[None]:
    """Nothing of what Ray prints or logs in here is for the user."""
    logger = logging.getLogger("ray.autoscaler")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _check_as_ray_does(report: Report) -> None:
    """Let Ray have the last word, on what its schema cannot say."""
    tree = copy.deepcopy(report.document.tree)
    try:
        with _silent_ray():
            validate_config(prepare_config(tree))
    except (jsonschema.ValidationError, ValueError, RuntimeError, AssertionError, KeyError) as error:
        report.fault((), f"Ray refuses the file: {str(error).splitlines()[0]}; write what it asks for")
