"""The images of a run that goes on: still there, still readable, still those that its trials saw."""

from tune_cnn.config import TrialConfig
from tune_cnn.data.dataset import ImageData, open_data
from tune_cnn.errors import RunFolderError, UnreadableImagesError
from tune_cnn.results.records import RunFolder
from tune_cnn.search.changes import count_differences
from tune_cnn.search.commands import new_run_command
from tune_cnn.search.places import SearchPlaces
from tune_cnn.search.run_facts import RunFacts, read_facts
from tune_cnn.search.study import Study
from tune_cnn.search.study_file import is_half_made
from tune_cnn.space.schema import Space


def open_run_images(default: TrialConfig, places: SearchPlaces) -> ImageData:
    """Open the images of a search, new or begun.

    Raises:
        RunFolderError: it was begun, and some of its images cannot be read any more.
        DataError: they cannot be used.
    """
    try:
        return open_data(default.data, default.image, cache=places.cache)
    except UnreadableImagesError as error:
        if not places.run.run.exists():
            raise
        raise _refusal(places.run, read_facts(places.run), error) from error


def check_trials_images(run: RunFolder, space: Space, data: ImageData) -> None:
    """Hold the images against those that the trials saw, where run.json has been lost and cannot tell.

    Raises:
        RunFolderError: they are others.
    """
    if not run.study.exists() or is_half_made(run.study):
        return
    study = Study.read(run.study, space.search)
    try:
        others = {trial.data for trial in study.records() if trial.data} - {data.fingerprint}
    finally:
        study.close()
    if others:
        raise RunFolderError(
            f"{run.path}: its trials saw other images (fingerprint {min(others)[:12]}, now {data.fingerprint[:12]}); "
            f"bring back those that it began with and go on, or begin a new run: {new_run_command(run.path)}"
        )


def _refusal(run: RunFolder, before: RunFacts, error: UnreadableImagesError) -> RunFolderError:
    """Say which images cannot be read, and in the same breath whether others are gone.

    To leave them out is no way to go on: a run goes on with the images that it began with.
    """
    counts = count_differences(before, error.counts) if before.images else []
    return RunFolderError(
        [
            f"{run.path}: some of the images that it began with cannot be read{', others are gone' * bool(counts)}:",
            *(f"  {text}" for text in (*error.reasons, *counts)),
            "bring back the images that it began with and go on, or begin a new run without those that cannot be read: "
            + new_run_command(run.path, "data.on_bad=skip"),
        ]
    )
