"""The options and arguments of the commands, with their help."""

from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

SpaceFile = Annotated[Path, typer.Argument(metavar="SPACE", help="A space file, such as spaces/aquarium.yaml.")]
ClusterFile = Annotated[Path, typer.Argument(metavar="FILE", help="Such as cluster.yaml or kubernetes/rayjob.yaml.")]
RunPath = Annotated[
    str, typer.Argument(metavar="RUN", help="A run folder, such as runs/aquarium or s3://BUCKET/PREFIX/aquarium.")
]
ModelPath = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A run or trial, for its best model, or a model folder: runs/aquarium, runs/aquarium/trials/0003, "
        "s3://BUCKET/PREFIX/aquarium/best.",
    ),
]
DataDir = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="DIR", help="Where the images are, a folder or s3://BUCKET/PREFIX; overrides data.root."
    ),
]
WeightsDir = Annotated[
    Path | None,
    typer.Option(
        "--weights", metavar="DIR", help="A folder with pretrained weights, BACKBONE*.safetensors; looked into first."
    ),
]
OutDir = Annotated[
    str, typer.Option("--out", metavar="DIR", help="Where run folders go, a folder or s3://BUCKET/PREFIX.")
]
CacheDir = Annotated[
    Path | None,
    typer.Option(
        "--cache-dir",
        metavar="DIR",
        help="Where images and features are kept for all trials and searches; ~/.cache/tune-cnn by default.",
    ),
]
CacheGb = Annotated[
    float | None,
    typer.Option(
        "--cache-gb",
        metavar="X",
        min=0.0,
        help="How much the cache may hold, in 10^9 bytes; by default half of what its disk would have free without it.",
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Replace a value of the space, e.g. training.epochs=5. Repeatable."
    ),
]


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"tune-cnn {metadata.version('tune-cnn')}")
        raise typer.Exit


Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.", is_eager=True)]
Version = Annotated[
    bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
]

RunName = Annotated[
    str | None, typer.Option(metavar="NAME", help="The run folder's name; the space's name by default.")
]
Trials = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="How many configurations to try; overrides search.trials.")
]
TrialsInTheEnd = Annotated[
    int,
    typer.Option(
        "--trials", metavar="N", min=1, help="How many trials the run is to have in the end, the old ones among them."
    ),
]
ChangedSpace = Annotated[
    Path | None,
    typer.Option("--space", metavar="NEW", help="A changed space for the trials to come; the run's own by default."),
]
Epochs = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="At most so many epochs per trial; overrides training.epochs."),
]
Hours = Annotated[float | None, typer.Option(metavar="H", help="Stop after so many hours; overrides search.hours.")]
Concurrent = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Trials at a time; as many as fit by default.")
]
CpusPerTrial = Annotated[
    float | None, typer.Option(metavar="X", help="CPUs of one trial; overrides search.per_trial.cpus.")
]
GpusPerTrial = Annotated[
    str | None,
    typer.Option(
        metavar="X",
        help="GPUs of one trial, a fraction shares one; auto: as many trials on a GPU as its memory was measured to "
        "hold; by default one if there is any, else none.",
    ),
]
Address = Annotated[str | None, typer.Option(metavar="A", help="A Ray cluster to search on; this machine by default.")]
InsecureCluster = Annotated[
    bool, typer.Option("--insecure-cluster", help="Search on a cluster that lets in whoever reaches it.")
]
Seed = Annotated[
    int | None,
    typer.Option(metavar="N", min=0, help="Seed of the sampler and of every trial; overrides search.seed."),
]

ConfigFile = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG", help="A config with no searched value, such as runs/aquarium/trials/0007/config.yaml."
    ),
]
ConfigData = Annotated[
    str | None,
    typer.Option("--data", metavar="DIR", help="Where the images are; overrides the config's data.root."),
]
TrialOut = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="The new trial folder; runs/NAME-train-1, -2, … by default."),
]
RunPaths = Annotated[
    list[str], typer.Argument(metavar="RUN", help="Run folders, such as runs/aquarium or s3://BUCKET/PREFIX/aquarium.")
]
RowsCsv = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write all rows and columns here.")]
TopRows = Annotated[int, typer.Option(metavar="N", min=1, help="How many rows to show.")]
BestPer = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Show only the best trial for each value of NAME, with its costs, e.g. --best-per model.backbone.",
    ),
]
RowsJson = Annotated[bool, typer.Option("--json", help="Print all rows and columns as JSON.")]
PlanJson = Annotated[bool, typer.Option("--json", help="Print JSON; figures as P10, P50 and P90.")]
DataNow = Annotated[
    str | None, typer.Option("--data", metavar="DIR", help="Where the images are now; where they were by default.")
]
Split = Annotated[
    list[str] | None,
    typer.Option(metavar="SPLIT", help="train, val or test; val and test by default. Repeatable."),
]
ScoresJson = Annotated[bool, typer.Option("--json", help="Print JSON, the confusion matrix included.")]
Asked = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A run, trial or model folder, such as runs/aquarium; or a backbone, such as tf_efficientnet_lite0, which "
        "answers with the classes of ImageNet.",
    ),
]
Images = Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files.")]
BackboneWeights = Annotated[
    Path | None,
    typer.Option("--weights", metavar="DIR", help="For a backbone: a folder with BACKBONE*.safetensors."),
]
SharesCsv = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="Write the probability of every class here.")
]
TopClasses = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="How many classes to show; 3 by default, 5 of a backbone's.")
]
MasksOut = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Write a class mask per image here (segmentation).")
]
Pattern = Annotated[str, typer.Argument(metavar="PATTERN", help="A part of a name, or a pattern such as 'mobilenet*'.")]
NewData = Annotated[Path, typer.Argument(metavar="DATA_DIR", help="A folder with your images.")]
SpaceOut = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="The space file to write; spaces/FOLDER'S NAME.yaml by default."),
]
SampleName = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="shapes (class folders), boxes (boxes in CSV), lists (text files) or masks (for segmentation).",
    ),
]
SampleFolder = Annotated[Path, typer.Argument(metavar="DIR", help="An empty or new folder.")]
SampleSeed = Annotated[int, typer.Option(metavar="N", min=0, help="Another seed gives other images.")]
DoubtsCsv = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="List what is doubtful about the images here.")
]
