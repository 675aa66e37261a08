"""The commands that one begins with: what a space may say, starters of one's own, files of clusters."""

import json
from typing import Any

import typer

from tune_cnn import cli_options as options
from tune_cnn.cli_terminal import terminal
from tune_cnn.invocation import program
from tune_cnn.results.display import line, word

app = typer.Typer(rich_markup_mode=None)


@app.command()
def schema() -> None:
    """Print the JSON Schema of space files, for editors."""
    from tune_cnn.space.json_schema import space_json_schema

    typer.echo(json.dumps(space_json_schema(), indent=2))


@app.command()
def init(
    data_dir: options.NewData,
    out: options.SpaceOut = None,
) -> None:
    """Write a starter space for a folder of images."""
    from tune_cnn.starter import write_starter

    file = write_starter(data_dir, out)
    name = word(str(file))
    _say(f"wrote {file}; try `{program()} check {name}`, then `{program()} search {name}`")


@app.command()
def sample(
    name: options.SampleName,
    folder: options.SampleFolder,
    seed: options.SampleSeed = 0,
) -> None:
    """Generate a small stand-in data set of drawn images."""
    from tune_cnn.sample import write_sample

    write_sample(name, folder, seed=seed)
    _say(f"wrote {folder}")


@app.command("check-cluster")
def check_cluster(context: typer.Context, file: options.ClusterFile) -> None:
    """Look over a cluster file, offline.

    One for `ray up` (aws or local), or a RayJob of KubeRay: what Ray's schema finds, and what it leaves open.
    """
    from tune_cnn.search.cluster_check import check_cluster

    what = check_cluster(file, commands=options_of_commands(context.find_root().command))
    _say(f"{file}: {what}, nothing wrong or open")


def options_of_commands(whole: Any) -> dict[str, list[str]]:
    """Give the names of all commands of a program, and the options that each has."""
    commands = whole.commands  # it is a group, of a kind that typer does not tell of
    names = {name: [word for each in command.params for word in each.opts] for name, command in commands.items()}
    return {name: [word for word in words if word.startswith("--")] for name, words in names.items()}


def _say(text: str) -> None:
    terminal().print(line(text), soft_wrap=True)
