"""The model hub, behind two functions. Only the driver of a search comes here; trials get a local file.

The hub is asked for safetensors and nothing else. `HF_HUB_OFFLINE=1`, `HF_ENDPOINT`, `HF_HOME` and `HF_TOKEN` work as
in huggingface_hub itself. Its telemetry is off unless the user's environment says otherwise.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = "model.safetensors"
# With five retries, the hub's client takes 24 s to find that there is no network. One question of 5 s comes before it.
TIMEOUT_SECONDS = 5.0
# For processes that run trials: they must never ask the hub, from where many at once are turned away (429).
TRIAL_ENVIRONMENT: Mapping[str, str] = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


class HubError(Exception):
    """The hub did not hand the file out; the text says why, in half a line."""


@dataclass(frozen=True)
class Hub:
    """Where pretrained weights come from. Tests hand in one of their own."""

    cached: Callable[[str], Path | None]
    """From a repository's id to its weights in the local cache; None if they are not there."""
    fetch: Callable[[str], Path]
    """From a repository's id to its weights, downloaded; raises HubError."""


def cached_file(hub_id: str) -> Path | None:
    """Look into the local cache of the hub, without network."""
    _no_telemetry()
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(hub_id, FILE)
    return Path(found) if isinstance(found, str) else None


def fetch_file(hub_id: str) -> Path:
    """Download a repository's weights into the local cache of the hub.

    Raises:
        HubError: no network, no such repository, no safetensors in it, or no permission; within some 15 seconds.
    """
    _no_telemetry()
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_download, hf_hub_url

    try:
        get_hf_file_metadata(hf_hub_url(hub_id, FILE), timeout=TIMEOUT_SECONDS)
        return Path(hf_hub_download(hub_id, FILE, etag_timeout=TIMEOUT_SECONDS))
    except errors.OfflineModeIsEnabled as error:
        raise HubError("HF_HUB_OFFLINE is set") from error
    except errors.HfHubHTTPError as error:
        raise HubError(f"the hub says: {_first_line(error)}") from error
    except (errors.XetDownloadError, OSError) as error:  # a broken transfer, a full disk
        raise HubError(f"download failed: {_first_line(error)}") from error
    except errors.HTTPError as error:  # type: ignore[attr-defined]  # no connection, in its HTTP library's own words
        raise HubError(f"not reachable: {_first_line(error)}") from error


HUGGING_FACE = Hub(cached_file, fetch_file)


def _no_telemetry() -> None:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
