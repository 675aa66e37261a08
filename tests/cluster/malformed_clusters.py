"""Cluster files with one thing wrong each: the shipped ones, filled in, with one text replaced by another."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
AWS, LOCAL, JOB = "cluster.yaml", "cluster-local.yaml", "kubernetes/rayjob.yaml"
FILLED_IN = {
    "FILL-IN-CIDR": "203.0.113.7/32",
    "FILL-IN-BUCKET": "my-bucket",
    "FILL-IN-REGION": "eu-central-1",
    "FILL-IN-IMAGE": "ami-0123456789abcdef0",
    "FILL-IN-GROUP": "sg-0123456789abcdef0",
    "FILL-IN-HEAD": "gpu1.example.org",
    "FILL-IN-WORKER": "gpu2.example.org",
    "FILL-IN-USER": "ada",
    "FILL-IN-REGISTRY": "registry.example.org",
    "FILL-IN-CLAIM": "shared",
}


def line_of(kind: str, beginning: str) -> str:
    """The whole line of a shipped file that begins so."""
    return next(line for line in filled_in(kind).splitlines(keepends=True) if line.strip().startswith(beginning))


@dataclass(frozen=True)
class MalformedCluster:
    """One replacement in a shipped file, and what its fault says."""

    id: str
    kind: str
    old: str
    new: str
    says: str
    above: int = 0
    """How many lines above the replacement the fault is laid: what is missing is laid to what it is missing from."""
    faults: int = 1

    @property
    def text(self) -> str:
        """The whole file; the replacement is made once."""
        good = filled_in(self.kind)
        assert self.old in good, self.old
        return good.replace(self.old, self.new, 1)

    @property
    def line(self) -> int | None:
        """The line of the fault; None where nothing is left of what was replaced."""
        if not self.new.strip():
            return None
        at = filled_in(self.kind).index(self.old) + len(self.new) - len(self.new.lstrip("\n"))
        return filled_in(self.kind).count("\n", 0, at) + 1 - self.above


def filled_in(kind: str) -> str:
    """A shipped file with all that has to be filled in."""
    text = (ROOT / kind).read_text()
    for placeholder, value in FILLED_IN.items():
        text = text.replace(placeholder, value)
    return text


_TOKEN = "RAY_AUTH_MODE=token "  # noqa: S105 - no secret, the name of a mode

MALFORMED_CLUSTERS = [
    MalformedCluster(
        "ssh-open-to-the-world", AWS, "203.0.113.7/32  ", "0.0.0.0/0", "lets SSH in from 4294967296 addresses"
    ),
    MalformedCluster("ssh-open-to-the-world-v6", AWS, "203.0.113.7/32  ", "::/0", "write a block of /32 at most"),
    MalformedCluster("ssh-from-half-the-world", AWS, "203.0.113.7/32  ", "128.0.0.0/1", "write a block of /16 at most"),
    MalformedCluster("ssh-from-no-block", AWS, "203.0.113.7/32  ", "my office", "'my office' is no block of addresses"),
    MalformedCluster("ssh-from-host-bits", AWS, "203.0.113.7/32  ", "203.0.113.7/24", "is no block of addresses"),
    MalformedCluster(
        "ssh-left-open", AWS, "  ssh_cidr: 203", "  # ssh_cidr: 203", "whence SSH may come is left open", above=1
    ),
    MalformedCluster(
        "ray-makes-the-group",
        AWS,
        "SecurityGroupIds: [sg-0123456789abcdef0]",
        "SecurityGroupIds: []",
        "lets SSH in from everywhere",
    ),
    MalformedCluster("a-group-by-name", AWS, "[sg-0123456789abcdef0]", "[my-group]", "'my-group' is no id of a group"),
    MalformedCluster(
        "a-group-of-ray-with-rules",
        AWS,
        "  cache_stopped_nodes",
        "  security_group: {GroupName: mine, IpPermissions: []}\n  cache_stopped_nodes",
        "Ray opens SSH to the world",
    ),
    MalformedCluster(
        "no-image",
        AWS,
        "      ImageId: ami-0123456789abcdef0          # pinned",
        "      # pinned",
        "Ray's default is an Ubuntu 18.04",
        above=2,
    ),
    MalformedCluster(
        "an-image-that-moves", AWS, "ami-0123456789abcdef0", "latest_dlami", "'latest_dlami' is not pinned"
    ),
    MalformedCluster("an-image-looked-up", AWS, "ami-0123456789abcdef0", "resolve:ssm:/aws/x", "is not pinned"),
    MalformedCluster(
        "two-images",
        AWS,
        "ami-0123456789abcdef0          # the same",
        "ami-0fedcba9876543210          # the same",
        "another image than the head's",
    ),
    MalformedCluster(
        "a-misspelt-argument",
        AWS,
        "      InstanceType: m7i",
        "      InstancetType: m7i",
        "did you mean 'InstanceType'?",
        faults=2,
    ),
    MalformedCluster("an-open-disk", AWS, "Encrypted: true", "Encrypted: false", "images and models would lie on it"),
    MalformedCluster("a-disk-of-yes", AWS, "Encrypted: true", "Encrypted: yes", "is taken for something else by Ray"),
    MalformedCluster(
        "no-disks",
        AWS,
        "      BlockDeviceMappings:            # the image",
        "      TagSpecifications:            # the image",
        "the image's own disk is not encrypted",
        above=5,
    ),
    MalformedCluster("no-profile", AWS, line_of(AWS, "IamInstanceProfile"), "", "IamInstanceProfile: missing"),
    MalformedCluster(
        "open-credentials", AWS, "HttpTokens: required", "HttpTokens: optional", "reads the machine's credentials"
    ),
    MalformedCluster(
        "trials-on-the-head", AWS, "resources: {CPU: 0, GPU: 0}", "resources: {}", "could take the driver down"
    ),
    MalformedCluster(
        "a-head-on-spot",
        AWS,
        "      InstanceType: m7i",
        "      InstanceMarketOptions: {MarketType: spot}\n      InstanceType: m7i",
        "takes the search's driver along",
    ),
    MalformedCluster(
        "workers-at-full-price", AWS, line_of(AWS, "InstanceMarketOptions"), "", "the full price buys nothing"
    ),
    MalformedCluster(
        "workers-that-never-go", AWS, "min_workers: 0", "min_workers: 2", "with nothing to do; write min_workers: 0"
    ),
    MalformedCluster(
        "workers-that-never-come", AWS, "    max_workers: 4", "    max_workers: 0", "none would ever come"
    ),
    MalformedCluster("no-idle-timeout", AWS, line_of(AWS, "idle_timeout_minutes"), "", "idle_timeout_minutes: missing"),
    MalformedCluster(
        "an-idle-timeout-of-a-day",
        AWS,
        "idle_timeout_minutes: 5",
        "idle_timeout_minutes: 1440",
        "would pay for idle machines",
    ),
    MalformedCluster(
        "stopped-machines-kept", AWS, "cache_stopped_nodes: false", "cache_stopped_nodes: true", "disk costs on"
    ),
    MalformedCluster("no-such-region", AWS, "eu-central-1", "Frankfurt", "'Frankfurt' is no region"),
    MalformedCluster(
        "no-such-head", AWS, "head_node_type: head", "head_node_type: haed", "'haed' is no node type; write head or gpu"
    ),
    MalformedCluster(
        "data-from-elsewhere",
        AWS,
        "s3://my-bucket/tune-cnn/data",
        "s3://other/data",
        "is not below metadata.bucket_prefix",
    ),
    MalformedCluster(
        "a-whole-bucket", AWS, "bucket_prefix: my-bucket/tune-cnn", "bucket_prefix: my-bucket", "not the whole bucket"
    ),
    MalformedCluster(
        "a-misspelt-name", AWS, "max_workers: 4  ", "max_wokers: 4", "did you mean 'max_workers'?", faults=2
    ),
    MalformedCluster("a-number-in-quotes", AWS, "max_workers: 4  ", 'max_workers: "4"', "write a whole number"),
    MalformedCluster("a-provider-misspelt", AWS, "type: aws", "type: awz", "did you mean 'aws'?"),
    MalformedCluster("a-provider-not-known-here", AWS, "type: aws", "type: gcp", "write aws or local"),
    MalformedCluster("no-provider-type", AWS, "  type: aws\n", "", "provider.type: missing"),
    MalformedCluster(
        "credentials-in-the-file",
        AWS,
        "  type: aws\n",
        "  type: aws\n  aws_credentials: {aws_secret_access_key: abcdefgh}\n",
        "a secret stands in the file",
        above=-1,
    ),
    MalformedCluster(
        "a-token-in-the-file",
        AWS,
        "RAY_AUTH_MODE=token ~",
        "RAY_AUTH_TOKEN=s3cret RAY_AUTH_MODE=token ~",
        "a secret stands in the file",
        above=1,
    ),
    MalformedCluster(
        "nightly-ray",
        AWS,
        "--quiet --constraint ../constraints.txt",
        "-U https://host/ray-wheels/latest/ray.whl -c ../constraints.txt",
        "installs a nightly build of Ray",
        above=1,
    ),
    MalformedCluster(
        "another-ray",
        AWS,
        '"tune-cnn[cloud,cluster] @ file',
        '"ray[default]==2.9.0" "tune-cnn[cloud,cluster] @ file',
        "installs Ray 2.9.0, constraints.txt has 2.60.0",
        above=2,
    ),
    MalformedCluster(
        "any-ray", AWS, "  - mkdir -p ~/runs", "  - pip install ray[default]", "installs whatever Ray is newest"
    ),
    MalformedCluster(
        "no-ray-at-all", LOCAL, "--constraint ../constraints.txt\n", "\n", "nothing here settles Ray's version"
    ),
    MalformedCluster("another-python", AWS, "python3.11 -m venv", "python3.9 -m venv", "uses Python 3.9"),
    MalformedCluster("no-token", AWS, _TOKEN, "", "starts Ray without token authentication"),
    MalformedCluster(
        "no-token-on-workers",
        LOCAL,
        f"{_TOKEN}~/tune-cnn/.venv/bin/ray start --address",
        "~/tune-cnn/.venv/bin/ray start --address",
        "starts Ray without token authentication",
    ),
    MalformedCluster(
        "authentication-off",
        LOCAL,
        "RAY_AUTH_MODE=token ~",
        "RAY_AUTH_MODE=disabled ~",
        "switches authentication off",
        above=1,
    ),
    MalformedCluster(
        "no-token-file", AWS, "  ~/.ray/auth_token: ~", "  ~/.ray/other: ~", "no token goes to the machines", above=4
    ),
    MalformedCluster(
        "an-open-dashboard",
        AWS,
        "--dashboard-host=127.0.0.1 --",
        "--dashboard-host=0.0.0.0 --",
        "the dashboard answers at '0.0.0.0'",
        above=2,
    ),
    MalformedCluster(
        "an-open-dashboard-of-ones-own",
        LOCAL,
        "--dashboard-host=127.0.0.1 --",
        "--dashboard-host 10.0.0.1 --",
        "answers at '10.0.0.1'",
        above=2,
    ),
    MalformedCluster(
        "ray's-own-start", AWS, "head_start_ray_commands:", "head_setup_commands_: ", "unknown name", faults=2
    ),
    MalformedCluster(
        "a-head-that-starts-no-workers",
        LOCAL,
        "--autoscaling-config=~/ray_bootstrap_config.yaml ",
        "",
        "no workers would ever be started",
    ),
    MalformedCluster(
        "another-port", LOCAL, "$RAY_HEAD_IP:6379", "$RAY_HEAD_IP:6380", "looks for the head at port 6380"
    ),
    MalformedCluster("no-head", LOCAL, "  head_ip: gpu1", "  # gpu1", "provider.head_ip: missing", above=2),
    MalformedCluster("a-machine-twice", LOCAL, "[gpu2.example.org]", "[gpu1.example.org]", "is named twice"),
    MalformedCluster("one-machine-as-text", LOCAL, "[gpu2.example.org]", "gpu2.example.org", "write a list"),
    MalformedCluster(
        "the-last-machine-left-out",
        LOCAL,
        "RAY_enable_autoscaler_v2=0 RAY",
        "RAY",
        "Ray would leave the last machine out",
        above=1,
    ),
    MalformedCluster(
        "types-of-ones-own-machines",
        LOCAL,
        "cluster_name: tune-cnn  ",
        "available_node_types: {a: {node_config: {}, resources: {}}}\ncluster_name: tune-cnn  ",
        "they are all of one type",
    ),
    MalformedCluster("an-old-interface", JOB, "ray.io/v1\n", "ray.io/v1alpha1\n", "write apiVersion: ray.io/v1"),
    MalformedCluster("another-kind", JOB, "kind: RayJob", "kind: RayCluster", "this check is for a job"),
    MalformedCluster(
        "another-ray-version", JOB, 'rayVersion: "2.60.0"', 'rayVersion: "2.9.0"', "not the Ray of constraints.txt"
    ),
    MalformedCluster("another-image", JOB, "0.1.0-ray2.60.0-py311", "0.1.0-ray2.52.0-py311", "is not of Ray 2.60.0"),
    MalformedCluster("the-latest-image", JOB, ":0.1.0-ray2.60.0-py311", ":latest", "may be another image tomorrow"),
    MalformedCluster("an-image-that-does-not-say", JOB, ":0.1.0-ray2.60.0-py311", ":0.1.0", "does not say its Ray"),
    MalformedCluster("an-image-of-another-python", JOB, "2.60.0-py311", "2.60.0-py310", "has Python 3.10"),
    MalformedCluster(
        "no-token-on-kubernetes",
        JOB,
        "authOptions: {mode: token} ",
        "authOptions: {mode: disabled} ",
        "can run what he likes",
    ),
    MalformedCluster(
        "a-privileged-container",
        JOB,
        "{allowPrivilegeEscalation: false,",
        "{privileged: true, allowPrivilegeEscalation: false,",
        "the whole node; remove it",
    ),
    MalformedCluster(
        "a-container-that-may-become-root",
        JOB,
        "allowPrivilegeEscalation: false",
        "allowPrivilegeEscalation: true",
        "may become root",
    ),
    MalformedCluster(
        "a-pod-of-root", JOB, "runAsNonRoot: true", "runAsNonRoot: false", "the containers may run as root"
    ),
    MalformedCluster(
        "no-limits", JOB, 'limits: {cpu: "4", memory: 16Gi}', 'limits: {cpu: "4"}', "it may take the whole node"
    ),
    MalformedCluster(
        "the-node's-own-network",
        JOB,
        "          containers:",
        "          hostNetwork: true\n          containers:",
        "true gives the pod the node's own",
    ),
    MalformedCluster(
        "a-folder-of-the-node",
        JOB,
        "persistentVolumeClaim: {claimName: shared}",
        "hostPath: {path: /}",
        "gives the pod a folder of the node",
    ),
    MalformedCluster(
        "reached-from-outside",
        JOB,
        "serviceType: ClusterIP",
        "serviceType: LoadBalancer",
        "lets the head be reached from outside",
    ),
    MalformedCluster("trials-on-the-head-pod", JOB, '{num-cpus: "0"}', "{}", "could take the driver down"),
    MalformedCluster("pods-that-never-go", JOB, "minReplicas: 0", "minReplicas: 1", "with nothing to do"),
    MalformedCluster(
        "pods-without-limit",
        JOB,
        "        maxReplicas: 4                # what may be spent; without limit by default\n",
        "",
        "there would be no limit",
    ),
    MalformedCluster(
        "a-job-without-end",
        JOB,
        "activeDeadlineSeconds: 86400",
        "# activeDeadlineSeconds",
        "would cost for ever",
        above=4,
    ),
    MalformedCluster(
        "a-cluster-that-stays",
        JOB,
        "shutdownAfterJobFinishes: true",
        "shutdownAfterJobFinishes: false",
        "after the job",
    ),
    MalformedCluster(
        "a-misspelt-name-of-kuberay", JOB, "backoffLimit: 2", "backofLimit: 2", "did you mean 'backoffLimit'?"
    ),
    MalformedCluster(
        "yaml-of-two-minds", JOB, "serviceType: ClusterIP", "serviceType: no", "is taken for something else by Ray"
    ),
    MalformedCluster(
        "a-date-to-ray", AWS, "cluster_name: tune-cnn", "cluster_name: 2026-11-21", "is taken for something else by Ray"
    ),
    MalformedCluster(
        "a-tag",
        AWS,
        "cluster_name: tune-cnn",
        "cluster_name: !!python/object/apply:os.system [ls]",
        "the tag '!!python/object/apply:os.system' is not taken",
    ),
    MalformedCluster(
        "a-name-twice",
        AWS,
        "cluster_name: tune-cnn\n",
        "cluster_name: tune-cnn\nmax_workers: 1\n",
        "written twice",
        above=-3,
    ),
    MalformedCluster("two-documents", LOCAL, "auth:", "---\nauth:", "keep one document per file"),
    MalformedCluster("a-tab", LOCAL, "  type: local", "\ttype: local", "indent with spaces"),
    MalformedCluster(
        "a-section-that-is-none", AWS, "auth:\n  ssh_user: ec2-user", "auth: ec2-user\n", "write a section"
    ),
]
