"""A real S3 server on loopback, and what the tests put there."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

from tests.conftest import trial_config
from tests.storage.life import Life

KEYS = {"AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST", "AWS_SECRET_ACCESS_KEY": "never-to-be-seen-0123456789"}


class S3:
    """A server whose buckets outlive its stops."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        self._server.start()
        self.port = self._server.get_host_and_port()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.environment = {**KEYS, "AWS_ENDPOINT_URL": self.endpoint, "AWS_DEFAULT_REGION": "us-east-1"}

    @property
    def client(self) -> Any:
        names = {"aws_access_key_id": KEYS["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": KEYS["AWS_SECRET_ACCESS_KEY"]}
        return boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", **names)

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", port=self.port, verbose=False)
        self._server.start()

    def forbid(self, after_requests: int = 0) -> None:
        """From now on let in only who has a key that was made in the server: nobody."""
        requests.post(f"{self.endpoint}/moto-api/reset-auth", data=str(after_requests).encode(), timeout=10)

    def allow(self) -> None:
        requests.post(f"{self.endpoint}/moto-api/reset-auth", data=b"inf", timeout=10)

    def bucket(self) -> str:
        name = f"tune-cnn-{uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=name)
        return name

    def upload(self, folder: Path, bucket: str, prefix: str) -> str:
        client = self.client
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            client.put_object(Bucket=bucket, Key=f"{prefix}/{file.relative_to(folder)}", Body=file.read_bytes())
        return f"s3://{bucket}/{prefix}"

    def keys(self, bucket: str, prefix: str = "") -> set[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {each["Key"].removeprefix(prefix) for page in pages for each in page.get("Contents", ())}


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    server = S3()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def bucket(s3: S3) -> str:
    return s3.bucket()


@pytest.fixture
def life(tmp_path: Path, shapes: Path) -> Life:
    return Life(tmp_path, trial_config(shapes))
