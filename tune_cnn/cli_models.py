"""The commands on trained models and on backbones."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import typer
from rich.console import Console

from tune_cnn import cli_options as options
from tune_cnn.cli_terminal import cache_of, terminal
from tune_cnn.errors import DataError, InputError, RunFolderError
from tune_cnn.invocation import program
from tune_cnn.masking import masked
from tune_cnn.results.display import line
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

    Of a run that is its best, of a trial its best epoch's. On the splits of the data set it was trained on, or of one
    of the same layout and classes.
    """
    from tune_cnn.models.chosen import check_scorable

    splits = split or ["val", "test"]
    unknown = sorted(set(splits) - {"train", "val", "test"})
    if unknown:
        raise InputError(f"--split {unknown[0]}: no such split; write train, val or test")
    cache = cache_of(cache_dir, cache_gb)
    root = data and absolute(data)
    with _on_this_machine(model) as folder:
        check_scorable(folder, root)
        from tune_cnn.evaluation import evaluate_model
        from tune_cnn.evaluation_output import evaluations_json, print_evaluations

        found = evaluate_model(folder, data_root=root, splits=splits, cache=cache)
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
    A saved one (of a run its best, of a trial its best epoch's), or an untouched ImageNet network, so that you see what
    your training adds.
    """
    from tune_cnn.models.catalogue import facts, is_backbone, no_model

    saved = is_url(model) or Path(model).is_dir()
    if not saved and not is_backbone(model):
        raise InputError(no_model(model))
    if saved and weights is not None:
        raise InputError(f"--weights {weights}: is for backbones, and {model} has its own weights; leave it out")
    if not saved and out is not None:
        raise InputError(f"--out {out}: is for segmentation models, and {model} gives a class per image; write --csv")
    with ExitStack() as stack:
        folder = stack.enter_context(_on_this_machine(model)) if saved else None
        if folder is not None:
            from tune_cnn.models.chosen import check_usable

            check_usable(folder)
        else:
            facts(model)  # names a misspelt tag
        if not any(image.exists() for image in images):
            raise DataError(f"{image}: cannot be read: no such file" for image in images)
        from tune_cnn.evaluation import predict as predict_images
        from tune_cnn.evaluation import predict_zero_shot
        from tune_cnn.evaluation_output import print_predictions

        if folder is not None:
            found = predict_images(folder, images)
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
    """Give the folder of the model that is meant; of one in a storage a copy, for as long as the block lasts."""
    if not is_url(model):
        from tune_cnn.models.chosen import chosen_model

        chosen = chosen_model(Path(model))
        if chosen.told:
            _say(chosen.told)
        yield chosen.folder
        return
    from tune_cnn.storage.remote import Remote

    url = model.rstrip("/")
    Remote(url).answers()
    with tempfile.TemporaryDirectory(prefix="tc-") as scratch:
        folder, name = _pulled(url, Path(scratch) / "model")
        if name != url:
            _say(f"{url}: its best model")
        try:
            yield folder
        except RunFolderError as error:
            raise RunFolderError(fault.replace(str(folder), name) for fault in error.faults) from error


def _pulled(url: str, into: Path) -> tuple[Path, str]:
    """Fetch a model, or of a run or a trial the best; give its folder on this machine, and its address."""
    from tune_cnn.results.best_model import BEST
    from tune_cnn.storage.pull import pull_model

    try:
        return pull_model(url, into), url
    except RunFolderError:
        with suppress(RunFolderError):
            return pull_model(f"{url}/{BEST}", into), f"{url}/{BEST}"
        raise


def _say(text: str) -> None:
    """Say something beside the output proper."""
    Console(stderr=True).print(line(masked(text)), soft_wrap=True)
