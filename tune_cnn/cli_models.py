"""The commands on trained models and on backbones."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import typer

from tune_cnn import cli_options as options
from tune_cnn.cli_terminal import cache_of, terminal
from tune_cnn.errors import InputError, RunFolderError
from tune_cnn.invocation import program
from tune_cnn.urls import absolute, is_url

app = typer.Typer(rich_markup_mode=None)


@app.command()
def evaluate(
    model: options.ModelPath,
    data: options.DataNow = None,
    split: options.Split = None,
    as_json: options.ScoresJson = False,
    cache_dir: options.CacheDir = None,
    cache_gb: options.CacheGb = None,
) -> None:
    """Score a saved model, per class too.

    On the splits of the data set it was trained on, or of one of the same layout and classes.
    """
    from tune_cnn.evaluation import evaluate_model
    from tune_cnn.evaluation_output import evaluations_json, print_evaluations

    splits = split or ["val", "test"]
    unknown = sorted(set(splits) - {"train", "val", "test"})
    if unknown:
        raise InputError(f"--split {unknown[0]}: no such split; write train, val or test")
    cache = cache_of(cache_dir, cache_gb)
    with _on_this_machine(model) as folder:
        found = evaluate_model(folder, data_root=data and absolute(data), splits=splits, cache=cache)
    if as_json:
        typer.echo(evaluations_json(found))
    else:
        print_evaluations(found, terminal())


@app.command()
def predict(
    model: options.Asked,
    images: options.Images,
    weights: options.BackboneWeights = None,
    csv: options.SharesCsv = None,
    top: options.TopClasses = None,
    out: options.MasksOut = None,
    cache_dir: options.CacheDir = None,
) -> None:
    """Say what a model sees in images.

    That is the likeliest classes, or, for segmentation, each class's share of the area.
    A saved one, or an untouched ImageNet network, so that you see what your training adds.
    """
    from tune_cnn.models.catalogue import is_backbone, no_model

    saved = is_url(model) or Path(model).is_dir()
    if not saved and not is_backbone(model):
        raise InputError(no_model(model))
    if saved and weights is not None:
        raise InputError(f"--weights {weights}: is for backbones, and {model} has its own weights; leave it out")
    if not saved and out is not None:
        raise InputError(f"--out {out}: is for segmentation models, and {model} gives a class per image; write --csv")
    from tune_cnn.evaluation import predict as predict_images
    from tune_cnn.evaluation import predict_zero_shot
    from tune_cnn.evaluation_output import print_predictions

    with ExitStack() as stack:
        if saved:
            found = predict_images(stack.enter_context(_on_this_machine(model)), images)
        else:
            found = predict_zero_shot(model, images, weights_dir=weights, cache=cache_of(cache_dir))
        print_predictions(found, terminal(), top=top or (3 if saved else 5), csv_file=csv, masks_dir=out)


@app.command()
def backbones(
    pattern: options.Pattern = "",
) -> None:
    """List the backbones that a space may name.

    With their parameters, and the units that model.freeze counts.
    """
    from tune_cnn.models.catalogue import find

    found = find(pattern)
    if not found:
        raise InputError(f"no backbone matches {pattern!r}; run `{program()} backbones` for all of them")
    width = max(len(facts.name) for facts in found)
    for facts in found:
        typer.echo(
            f"{facts.name:<{width}}  {facts.parameters / 1e6:7.2f} M parameters  {len(facts.line.strides):3d} units"
        )


@contextmanager
def _on_this_machine(model: str) -> Iterator[Path]:
    """Give a model's folder; of one in a storage a copy, for as long as the block lasts."""
    if not is_url(model):
        yield Path(model)
        return
    from tune_cnn.storage.pull import pull_model
    from tune_cnn.storage.remote import Remote

    url = model.rstrip("/")
    Remote(url).answers()
    with tempfile.TemporaryDirectory(prefix="tc-") as scratch:
        folder = pull_model(url, Path(scratch) / "model")
        try:
            yield folder
        except RunFolderError as error:
            raise RunFolderError(fault.replace(str(folder), url) for fault in error.faults) from error
