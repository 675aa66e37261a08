"""Where pretrained weights come from. Asked once, by the driver, before anything starts; trials get a local file."""

import errno
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import timm

from tune_cnn.errors import WeightsError
from tune_cnn.models import packaged
from tune_cnn.models.catalogue import BackboneFacts, facts, known_backbones
from tune_cnn.models.classifier import check_fit
from tune_cnn.models.hub import FILE, HUGGING_FACE, Hub, HubError
from tune_cnn.models.weights_fit import read_shapes
from tune_cnn.results.display import place

_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
_CUSTOM = "custom"  # the name under which networks from scratch go


@dataclass(frozen=True)
class ResolvedWeights:
    """A backbone's starting weights as a local file."""

    file: Path | None
    """Absolute; None for random weights."""
    sha256: str | None
    """Of the file."""
    source: str
    """Where it came from, in words for the user."""


def resolve_weights(
    backbone: str, weights: str, *, weights_dir: Path | None, cache_dir: Path, hub: Hub = HUGGING_FACE
) -> ResolvedWeights:
    """Find the file for a backbone's weights, and make sure that it fits.

    `imagenet` is looked for in `weights_dir`, the packaged file, the hub's local cache and the hub, in this order.

    Args:
        backbone: a name of the catalogue, with or without a tag; or `custom`, whose file must be a path.
        weights: `imagenet`, `none`, or the path of a safetensors file.
        weights_dir: the user's folder of `BACKBONE*.safetensors`, if any.
        cache_dir: where the packaged weights are converted to.
        hub: the model hub; tests hand in their own.

    Raises:
        SpaceFileError: no such backbone.
        WeightsError: they cannot be had anywhere, with each place and the ways out; or they do not fit.
    """
    if backbone == _CUSTOM:
        return _for_custom(weights)
    known = facts(backbone)
    if weights == "none":
        return ResolvedWeights(None, None, "random")
    if weights != "imagenet":
        return _checked(known, Path(weights).expanduser().absolute(), "file")
    tried: list[str] = []
    for file, source in _places(known, weights_dir, cache_dir, hub, tried):
        return _checked(known, file, source)
    raise WeightsError(_nowhere(known, weights_dir, tried))


def _for_custom(weights: str) -> ResolvedWeights:
    """Only that the file can be read is checked: several layouts may share it, and each trial holds its own to it."""
    if weights == "none":
        return ResolvedWeights(None, None, "random")
    file = Path(weights).expanduser().absolute()
    read_shapes(file)
    return ResolvedWeights(file, _digest(file), f"file: {place(file)}")


def _checked(known: BackboneFacts, file: Path, source: str) -> ResolvedWeights:
    check_fit(known.name, file)
    return ResolvedWeights(file, _digest(file), f"{source}: {place(file)}")


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _convert(file: Path, folder: Path) -> Path:
    try:
        return packaged.convert_packaged(file, folder)
    except OSError as error:
        if error.errno not in _NOT_WRITABLE:
            raise
        raise WeightsError(
            f"{folder}: cannot be written ({error.strerror}), and the weights of {packaged.PACKAGE} go there; write "
            "--cache-dir DIR with a folder that can, or --weights DIR"
        ) from error


def _places(
    known: BackboneFacts, weights_dir: Path | None, cache_dir: Path, hub: Hub, tried: list[str]
) -> Iterator[tuple[Path, str]]:
    """Give what is found, one place after the other, and note in `tried` where nothing was."""
    if weights_dir is None:
        tried.append("no --weights folder was given")
    elif file := in_folder(known.name, weights_dir):
        yield file, "--weights"
    else:
        tried.append(f"{weights_dir} has no {known.name}*.safetensors")
    if known.name.removesuffix(".in1k") != packaged.BACKBONE:
        tried.append(f"the packaged file is for {packaged.BACKBONE}")
    elif file := packaged.packaged_file():
        yield _convert(file, cache_dir.absolute() / "weights"), f"package {packaged.PACKAGE}"
    else:
        tried.append(f"the package {packaged.PACKAGE} is not installed")
    if known.hub_id is None:
        tried.append("the model hub has no safetensors for it")
        return
    if file := hub.cached(known.hub_id):
        yield file.absolute(), "model hub's cache"
    tried.append(f"the hub's local cache has no {known.hub_id}/{FILE}")
    try:
        yield hub.fetch(known.hub_id).absolute(), f"model hub, {known.hub_id}"
    except HubError as error:
        tried.append(f"the hub gave no {known.hub_id}/{FILE} ({error})")


def in_folder(backbone: str, folder: Path) -> Path | None:
    """Find a backbone's weights in a folder: `NAME.safetensors`, else the only `NAME.*.safetensors` or `NAME-*`.

    Raises:
        WeightsError: no such folder, or several files that could be meant.
    """
    if not folder.is_dir():
        raise WeightsError(f"--weights {folder}: no such folder; give one that holds {backbone}.safetensors")
    exact = folder / f"{backbone}.safetensors"
    if exact.is_file():
        return exact.absolute()
    # Not `NAME*`: resnet50d.safetensors and resnet50_gn.safetensors are other backbones.
    found = sorted(file for end in ".-" for file in folder.glob(f"{backbone}{end}*.safetensors"))
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise WeightsError(
            f"--weights {folder}: {names} could all be {backbone}; rename the one you mean to {exact.name}, "
            f"or write its path as model.weights"
        )
    return found[0].absolute() if found else None


def _nowhere(known: BackboneFacts, weights_dir: Path | None, tried: list[str]) -> str:
    ways = [
        f"give --weights DIR with {known.name}.safetensors",
        "write `weights: none`",
    ]
    if within_reach := _within_reach(weights_dir):
        ways.append(f"take a backbone that can be had: --set model.backbone={within_reach[0]}")
        if within_reach[1:]:
            ways[-1] += f" (or {', '.join(within_reach[1:])})"
    return f"{known.name}: its ImageNet weights cannot be had: {'; '.join(tried)}. Ways out: {'; '.join(ways)}"


def _within_reach(weights_dir: Path | None) -> list[str]:
    """Backbones whose weights lie on this machine."""
    files = sorted(weights_dir.glob("*.safetensors")) if weights_dir else []
    known = set(known_backbones())
    names = [name for file in files if (name := file.name.partition(".")[0].partition("-")[0]) in known]
    return list(dict.fromkeys([*names, *([packaged.BACKBONE] if packaged.packaged_file() else [])]))


def hub_places(architecture: str) -> dict[str, str]:
    """Give, for the catalogue, the tags of an architecture's weights and their places on the hub, timm's default first.

    Weights in formats of their authors, or under other file names, are left out.
    """
    default = timm.get_pretrained_cfg(architecture)
    configs = timm.models.get_arch_pretrained_cfgs(architecture).values()
    usable = [
        each for each in configs if each.hf_hub_id and each.tag and not each.custom_load and not each.hf_hub_filename
    ]
    usable.sort(key=lambda each: each.tag != (default.tag if default else None))
    return {each.tag: str(each.hf_hub_id).removesuffix("/") for each in usable}


def architectures() -> list[str]:
    """Give, for the catalogue, the names of all networks in timm, without tags."""
    return list(timm.list_models())
