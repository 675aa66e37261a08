"""The command line: thin. Heavy imports stay inside the commands, so that --help and a typo answer at once."""

import json
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tune_cnn.errors import ChangedDataError, InputError, StoreError, TuneCnnError
from tune_cnn.results.display import line

if TYPE_CHECKING:
    from tune_cnn.search.open_space import OpenedSpace

app = typer.Typer(
    name="tune-cnn",
    help="Search the best CNN for your images: freeze depth, learning rates, augmentation; on one machine or many.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

SpaceFile = Annotated[Path, typer.Argument(metavar="SPACE", help="A space file, such as spaces/aquarium.yaml.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, such as runs/aquarium.")]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A model folder, such as runs/aquarium/best.")]
DataDir = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Where the images are; overrides data.root.")
]
WeightsDir = Annotated[
    Path | None,
    typer.Option("--weights", metavar="DIR", help="A folder with pretrained weights, BACKBONE*.safetensors."),
]
OutDir = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where run folders go.")]
CacheDir = Annotated[
    Path | None, typer.Option("--cache-dir", metavar="DIR", help="Where decoded images are kept between trials.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Replace a value of the space, e.g. training.epochs=5. Repeatable."
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.", is_eager=True)]

_SIGTERM_CODE = 143
_debug = False


@app.callback()
def _options(debug: Debug = False) -> None:
    global _debug  # noqa: PLW0603 - the one setting that main() needs after typer is through
    _debug = debug


@app.command()
def search(
    space_file: SpaceFile,
    data: DataDir = None,
    weights: WeightsDir = None,
    out: OutDir = Path("runs"),
    name: Annotated[str | None, typer.Option(help="The run folder's name; the space's name by default.")] = None,
    trials: Annotated[int | None, typer.Option(help="How many configurations to try.")] = None,
    epochs: Annotated[int | None, typer.Option(help="At most so many epochs per trial.")] = None,
    hours: Annotated[float | None, typer.Option(help="Stop after so many hours.")] = None,
    concurrent: Annotated[int | None, typer.Option(help="Trials at a time; as many as fit by default.")] = None,
    cpus_per_trial: Annotated[float | None, typer.Option(help="CPUs of one trial.")] = None,
    gpus_per_trial: Annotated[float | None, typer.Option(help="GPUs of one trial; a fraction shares one.")] = None,
    address: Annotated[str | None, typer.Option(help="A Ray cluster to search on; this machine by default.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the sampler and of every trial.")] = None,
    cache_dir: CacheDir = None,
    sets: Sets = None,
) -> None:
    """Search a space: trials, leaderboard, best checkpoints. Run again, it goes on where it was."""
    flags = {
        "search.trials": trials,
        "training.epochs": epochs,
        "search.hours": hours,
        "search.concurrent": concurrent,
        "search.per_trial.cpus": cpus_per_trial,
        "search.per_trial.gpus": gpus_per_trial,
        "search.seed": seed,
    }
    overrides = [*(sets or []), *(f"{flag}={value}" for flag, value in flags.items() if value is not None)]
    from tune_cnn.search.open_space import open_space

    opened = open_space(space_file, overrides=overrides, data_root=data)
    run = out / (name or opened.space.name)
    _search(opened, run, weights=weights, address=address, cache_dir=cache_dir)


@app.command()
def resume(
    run: RunPath,
    weights: WeightsDir = None,
    address: Annotated[str | None, typer.Option(help="A Ray cluster to search on.")] = None,
    cache_dir: CacheDir = None,
) -> None:
    """Go on with an interrupted search; finished trials stay, running ones go on after their last epoch."""
    from tune_cnn.results.records import RunFolder
    from tune_cnn.search.open_space import open_space

    folder = RunFolder(run)
    if not folder.space.is_file():
        raise InputError(f"{folder.space}: no such file; give a run folder that `tune-cnn search` wrote")
    _search(open_space(folder.space), run, weights=weights, address=address, cache_dir=cache_dir)


@app.command()
def check(
    space_file: SpaceFile,
    data: DataDir = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="List what is doubtful about the images here.")
    ] = None,
    sets: Sets = None,
    cache_dir: CacheDir = None,
) -> None:
    """Validate a space, show what it searches and what is doubtful in it, and look at the data. Trains nothing."""
    from tune_cnn.search.check import check_space
    from tune_cnn.search.open_space import open_space

    opened = open_space(space_file, overrides=sets or [], data_root=data)
    check_space(opened.space, _console(), cache_dir=_cache(cache_dir), csv_file=csv)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A trial's config.yaml.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="Where the images are; overrides the config's data.root."),
    ] = None,
    weights: WeightsDir = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The new trial folder; runs/NAME-train-1, -2, … by default."),
    ] = None,
    cache_dir: CacheDir = None,
) -> None:
    """Train one configuration without Ray; for a trial of a run, say whether it came out equal."""
    from tune_cnn.repeat import repeat_trial

    repeat_trial(config, out, cache_dir=_cache(cache_dir), console=_console(), weights_dir=weights, data_root=data)


@app.command()
def leaderboard(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write all rows and columns here.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many rows to show.")] = 10,
    best_per: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Show only the best trial for each value of NAME, with its costs, e.g. --best-per model.backbone.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all rows and columns as JSON.")] = False,
) -> None:
    """Show or export the trials of one or several runs, best first.

    Runs are ranked together if they saw the same images and were judged by the same metric.
    """
    from tune_cnn.results.tables import json_text, write_csv
    from tune_cnn.search.compare import compare_runs, show_comparison

    comparison = compare_runs(runs, best_per=best_per)
    if comparison.warning:
        Console(stderr=True).print(line(comparison.warning), soft_wrap=True)
    if as_json:
        typer.echo(json_text(comparison.rows))
    else:
        show_comparison(comparison, _console(), top=top)
    if csv is not None:
        write_csv(csv, comparison.columns, comparison.rows)
        if not as_json:
            _console().print(line(f"wrote {csv}"), soft_wrap=True)


@app.command()
def evaluate(
    model: ModelPath,
    data: DataDir = None,
    split: Annotated[list[str] | None, typer.Option(help="train, val or test; val and test by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, the confusion matrix included.")] = False,
    cache_dir: CacheDir = None,
) -> None:
    """Score a saved model on the splits of its data set."""
    from tune_cnn.evaluation import evaluate_model
    from tune_cnn.evaluation_output import evaluations_json, print_evaluations

    splits = split or ["val", "test"]
    unknown = sorted(set(splits) - {"train", "val", "test"})
    if unknown:
        raise InputError(f"--split {unknown[0]}: no such split; write train, val or test")
    found = evaluate_model(model, data_root=data and data.absolute(), splits=splits, cache_dir=_cache(cache_dir))
    if as_json:
        typer.echo(evaluations_json(found))
    else:
        print_evaluations(found, _console())


@app.command()
def predict(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model folder, such as runs/aquarium/best; or a backbone, such as tf_efficientnet_lite0, which "
            "answers with the classes of ImageNet.",
        ),
    ],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="DIR", help="For a backbone: a folder with BACKBONE*.safetensors."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the probability of every class here.")
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="How many classes to show; 3 by default, 5 of a backbone's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write a class mask per image here (segmentation).")
    ] = None,
    cache_dir: CacheDir = None,
) -> None:
    """Say what a saved model sees in images, or what an untouched ImageNet backbone does.

    That is the likeliest classes, or, for segmentation, each class's share of the area.
    """
    from tune_cnn.models.catalogue import is_backbone, no_model

    saved = Path(model).is_dir()
    if not saved and not is_backbone(model):
        raise InputError(no_model(model))
    if saved and weights is not None:
        raise InputError(f"--weights {weights}: is for backbones, and {model} has its own weights; leave it out")
    if not saved and out is not None:
        raise InputError(f"--out {out}: is for segmentation models, and {model} gives a class per image; write --csv")
    from tune_cnn.evaluation import predict as predict_images
    from tune_cnn.evaluation import predict_zero_shot
    from tune_cnn.evaluation_output import print_predictions

    if saved:
        found = predict_images(Path(model), images)
    else:
        found = predict_zero_shot(model, images, weights_dir=weights, cache_dir=_cache(cache_dir))
    print_predictions(found, _console(), top=top or (3 if saved else 5), csv_file=csv, masks_dir=out)


@app.command()
def backbones(
    pattern: Annotated[str, typer.Argument(help="A part of a name, or a pattern such as 'mobilenet*'.")] = "",
) -> None:
    """List the backbones a space may name, with their units and parameters."""
    from tune_cnn.models.catalogue import find

    found = find(pattern)
    if not found:
        raise InputError(f"no backbone matches {pattern!r}; run `tune-cnn backbones` for all of them")
    width = max(len(facts.name) for facts in found)
    for facts in found:
        typer.echo(
            f"{facts.name:<{width}}  {facts.parameters / 1e6:7.2f} M parameters  {len(facts.line.strides):3d} units"
        )


@app.command()
def schema() -> None:
    """Print the JSON Schema of space files, for editors."""
    from tune_cnn.space.json_schema import space_json_schema

    typer.echo(json.dumps(space_json_schema(), indent=2))


@app.command()
def init(
    data_dir: Annotated[Path, typer.Argument(metavar="DATA_DIR", help="A folder with your images.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="The space file to write.")] = None,
) -> None:
    """Write a starter space for a folder of images."""
    from tune_cnn.starter import write_starter

    file = write_starter(data_dir, out)
    typer.echo(f"wrote {file}; try `tune-cnn check {file}`, then `tune-cnn search {file}`")


@app.command()
def sample(
    name: Annotated[str, typer.Argument(help="Which data set to generate.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or new folder.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other images.")] = 0,
) -> None:
    """Generate a small stand-in data set of drawn images."""
    from tune_cnn.sample import write_sample

    write_sample(name, folder, seed=seed)
    typer.echo(f"wrote {folder}")


def _search(
    opened: "OpenedSpace", run: Path, *, weights: Path | None, address: str | None, cache_dir: Path | None
) -> None:
    from tune_cnn.results.records import RunFolder
    from tune_cnn.search.screen import Screen
    from tune_cnn.search.search import SearchPlaces, search

    places = SearchPlaces(RunFolder(run.absolute()), _cache(cache_dir), weights, address)
    try:
        search(
            opened.space,
            places,
            Screen(_console()),
            backbones=opened.backbones,
            command=shlex.join(["tune-cnn", *sys.argv[1:]]),
        )
    except (KeyboardInterrupt, StoreError, ChangedDataError) as ended:
        again = shlex.join(["tune-cnn", "resume", str(run), *_again(weights, address, cache_dir)])
        why = "interrupted; " if isinstance(ended, KeyboardInterrupt) else ""
        Console(stderr=True).print(line(f"{why}go on with: {again}"), soft_wrap=True)
        raise


def _again(weights: Path | None, address: str | None, cache_dir: Path | None) -> list[str]:
    """Give the options of a call that the next one needs too; what the space holds, the run folder remembers."""
    given = {"--weights": weights, "--address": address, "--cache-dir": cache_dir}
    return [text for name, value in given.items() if value is not None for text in (name, str(value))]


def _console() -> Console:
    """Give the terminal, or a pipe with lines long enough that no table is cut."""
    out = sys.stdout  # held here: a trial sends what is printed later to its log
    console = Console(file=out)
    return console if console.is_terminal else Console(file=out, width=160)


def _cache(chosen: Path | None) -> Path:
    """Give the cache folder: the chosen one, or the user's own as XDG has it."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (chosen or base / "tune-cnn").absolute()


def main() -> None:
    """Run the command line; every error on purpose becomes one message and an exit code, never a traceback."""
    terminated = False

    def end(_signal: int, _frame: object) -> None:
        """End as Ctrl-C does: kill, Slurm, Kubernetes and `ray job stop` send SIGTERM."""
        nonlocal terminated
        terminated = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    try:
        app()
    except SystemExit as done:
        sys.exit(_SIGTERM_CODE if terminated else done.code)
    except (TuneCnnError, OSError) as error:
        if _debug:
            raise
        Console(stderr=True).print(line(str(error)), soft_wrap=True)
        sys.exit(2 if isinstance(error, InputError) else 1)
