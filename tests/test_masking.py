"""Secrets are kept out of what is shown, logged and kept."""

import pytest

from tune_cnn.errors import DataError
from tune_cnn.masking import has_credentials, masked
from tune_cnn.results.failures import failure_of

HUSH = "hush-hush-0123"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param(f"s3://AKIA:{HUSH}@bucket/a", "s3://…@bucket/a", id="user-and-key"),
        pytest.param("s3://AKIA:a/b+c/d=@bucket/a", "s3://…@bucket/a", id="a-key-with-slashes"),
        pytest.param("Authorization: Bearer abc.def-0123", "Authorization: Bearer …", id="a-bearers-token"),
        pytest.param(f"https://{HUSH}@host/a", "https://…@host/a", id="a-token-for-a-user"),
        pytest.param(f"/home/s3:/AKIA:{HUSH}@bucket", "/home/s3:/…@bucket", id="an-address-taken-for-a-path"),
        pytest.param(f"https://h/a?X-Amz-Signature={HUSH}&b=1", "https://h/a?X-Amz-Signature=…&b=1", id="signed"),
        pytest.param(f"https://h/a?sig={HUSH}", "https://h/a?sig=…", id="a-signature-of-azure"),
        pytest.param(f"RAY_AUTH_TOKEN={HUSH} ray start", "RAY_AUTH_TOKEN=… ray start", id="an-assignment"),
        pytest.param(f"the token {HUSH} is wrong", "the token … is wrong", id="a-value-of-the-environment"),
    ],
)  # fmt: skip
def test_a_secret_is_masked(text: str, shown: str) -> None:
    assert masked(text, {"MY_TOKEN": HUSH}) == shown


@pytest.mark.parametrize(
    "text",
    [
        "C:/me@home/images",
        "data/a@b",
        "s3://bucket/me@home.jpg",
        "--address 10.0.0.1:6379",
        "http://host:8080/a@b",
        "tokens=3 of 5",
        "passwords",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text, {"SHORT_TOKEN": "a", "RAY_AUTH_TOKEN_PATH": "/home/me", "A_TOKEN": "~/token/file"}) == text
    assert not has_credentials(text)


def test_the_reason_of_a_failed_trial_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", HUSH)
    reason = failure_of(DataError(f"s3://AKIA:other@bucket: refused {HUSH}")).reason
    assert reason == "DataError: s3://…@bucket: refused …"
