"""The commands of docs/cluster.md for AWS make what cluster.yaml names, and nothing that is open."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.shipped import AWS, ROOT, filled_in
from tune_cnn.yaml_files import read_yaml

# Stands in for AWS's command line: writes down how it was called, a line each, and answers with a word.
_AWS = """\
set -eu
aws() { printf '%s\\x1f' "$@" | tr '\\n' ' ' >> calls; echo >> calls; echo made-up; }
"""


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Every call of the document's only bash block, as words, in a folder with a cluster.yaml that is filled in."""
    folder = tmp_path_factory.mktemp("aws")
    (folder / "cluster.yaml").write_text(filled_in(AWS).replace("cluster_name: tune-cnn", "cluster_name: ours"))
    (block,) = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "cluster.md").read_text(), re.DOTALL)
    subprocess.run(["bash", "-c", _AWS + block], cwd=folder, check=True, capture_output=True)
    return [call.split("\x1f")[:-1] for call in (folder / "calls").read_text().splitlines()]


def option(call: list[str], name: str) -> str:
    return call[call.index(name) + 1]


def test_ssh_is_let_in_from_the_file_s_range_alone(calls: list[list[str]]) -> None:
    opened = [call for call in calls if "authorize-security-group-ingress" in call]
    assert [option(call, "--cidr") for call in opened if "--cidr" in call] == ["203.0.113.7/32"]
    assert [option(call, "--source-group") for call in opened if "--cidr" not in call] == ["made-up"]


def test_the_roles_are_those_of_the_file(calls: list[list[str]], tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(filled_in(AWS))
    types: dict[str, Any] = read_yaml(tmp_path / "c.yaml").tree["available_node_types"]
    named = {node_type["node_config"]["IamInstanceProfile"]["Name"] for node_type in types.values()}
    made = {option(call, "--instance-profile-name") for call in calls if "create-instance-profile" in call}
    assert made == named


def test_the_head_may_tag_and_end_no_machines_but_its_cluster_s(calls: list[list[str]]) -> None:
    policies = [json.loads(option(call, "--policy-document")) for call in calls if "--policy-document" in call]
    statements = [statement for policy in policies for statement in policy["Statement"]]
    changing = [one for one in statements if re.search("Terminate|CreateTags", str(one["Action"]))]
    of_the_cluster = {"StringEquals": {"ec2:ResourceTag/ray-cluster-name": "ours"}}
    at_the_start = {"StringEquals": {"ec2:CreateAction": "RunInstances"}}
    assert [one["Condition"] for one in changing] == [at_the_start, of_the_cluster]


def test_the_roles_reach_the_bucket_s_prefix_and_no_other_storage(calls: list[list[str]]) -> None:
    policies = [json.loads(option(call, "--policy-document")) for call in calls if "--policy-document" in call]
    statements = [statement for policy in policies for statement in policy["Statement"]]
    storage = [one for one in statements if "s3:" in str(one["Action"])]
    assert {one["Resource"] for one in storage} == {"arn:aws:s3:::my-bucket/tune-cnn/*", "arn:aws:s3:::my-bucket"}
    assert all(one["Condition"] for one in storage if one["Resource"] == "arn:aws:s3:::my-bucket")
    assert not any("*" in action for one in storage for action in one["Action"])
    assert {
        json.loads(option(call, "--assume-role-policy-document"))["Version"] for call in calls if "create-role" in call
    }
