"""Files of `ray up` with one thing wrong each: the shipped ones with one text replaced by another."""

from tests.cluster.shipped import AWS, LOCAL, MalformedCluster, line_of

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
    ),
    MalformedCluster(
        "an-arm-head-with-the-image-of-the-others",
        AWS,
        "m7i.xlarge  ",
        "m7g.xlarge  ",
        "'m7g.xlarge' has an ARM processor and g6.xlarge an x86 one, so that no image starts on both",
    ),
    MalformedCluster(
        "an-arm-gpu-machine", AWS, "g6.xlarge  ", "g5g.xlarge  ", "'g5g.xlarge' has an ARM processor and m7i.xlarge an"
    ),
    MalformedCluster(
        "a-folder-that-is-not-here", AWS, "tune-cnn/spaces: spaces", "tune-cnn/spaces: spcaes", "spcaes: no such file"
    ),
    MalformedCluster(
        "a-token-that-is-not-here",
        LOCAL,
        "auth_token: ~/.ray/auth_token ",
        "auth_token: ~/.ray/autth_token ",
        "~/.ray/autth_token: no such file or folder; `ray get-auth-token --generate` makes it",
    ),
    MalformedCluster("no-wheel", LOCAL, "tune-cnn/dist: dist ", "tune-cnn/dist: spaces ", "holds no tune_cnn-*.whl"),
    MalformedCluster(
        "a-name-of-nobody-s-home", AWS, "tune-cnn/spaces: spaces", "tune-cnn/spaces: ~nobody-here/x", "no such file"
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
    MalformedCluster("a-misspelt-name", AWS, "max_workers: 4  ", "max_wokers: 4", "did you mean 'max_workers'?"),
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
    MalformedCluster(
        "gpu-trials-on-the-head", AWS, "{CPU: 0, GPU: 0}", "{CPU: 0, GPU: 1}", "1: trials would run on the head"
    ),
    MalformedCluster(
        "the-head's-gpu-left-open", AWS, "{CPU: 0, GPU: 0}", "{CPU: 0}", "resources.GPU: missing: trials would run"
    ),
    MalformedCluster(
        "groups-of-an-interface",
        AWS,
        "      InstanceType: m7i",
        "      NetworkInterfaces: [{DeviceIndex: 0, Groups: [sg-0fedcba9876543210]}]\n      InstanceType: m7i",
        "brings groups of its own",
    ),
    MalformedCluster(
        "what-a-template-says",
        AWS,
        "      InstanceType: m7i",
        "      LaunchTemplate: {LaunchTemplateName: ours, Version: '1'}\n      InstanceType: m7i",
        "which nothing here looks at",
    ),
    MalformedCluster(
        "disks-that-stay", AWS, "DeleteOnTermination: true", "DeleteOnTermination: false", "would cost on when"
    ),
    MalformedCluster(
        "spot-machines-that-come-again",
        AWS,
        "{MarketType: spot}",
        "{MarketType: spot, SpotOptions: {SpotInstanceType: persistent}}",
        "starts a machine again whenever it was ended",
    ),
    MalformedCluster(
        "an-idle-timeout-of-one-type",
        AWS,
        "    min_workers: 0 ",
        "    idle_timeout_s: 86400\n    min_workers: 0 ",
        "86400 would pay for idle machines",
    ),
    MalformedCluster(
        "a-group-as-text", AWS, "[sg-0123456789abcdef0]", "sg-0123456789abcdef0", "is not a list; write [sg-0123456789"
    ),
    MalformedCluster(
        "a-token-that-ray-never-sees", AWS, f"{_TOKEN}~", "RAY_AUTH_MODE=token; ~", "starts Ray without token", above=1
    ),
    MalformedCluster(
        "a-token-for-another-program", LOCAL, f"{_TOKEN}~", f"{_TOKEN}true && ~", "starts Ray without token", above=1
    ),
    MalformedCluster(
        "a-token-in-a-comment",
        LOCAL,
        f"{_TOKEN}~/tune-cnn/.venv/bin/ray start --address=$RAY_HEAD_IP:6379",
        "~/tune-cnn/.venv/bin/ray start --address=$RAY_HEAD_IP:6379 # RAY_AUTH_MODE=token",
        "starts Ray without token authentication",
    ),
    MalformedCluster(
        "two-dashboards",
        AWS,
        "--dashboard-host=127.0.0.1 --",
        "--dashboard-host=127.0.0.1 --dashboard-host '0.0.0.0' --",
        "the dashboard answers at '0.0.0.0'",
        above=2,
    ),
    MalformedCluster(
        "your-own-keys-on-every-machine",
        AWS,
        "  ~/tune-cnn/spaces: spaces",
        "  ~/.aws: ~/.aws",
        "your own keys in ~/.aws would lie on every machine",
    ),
    MalformedCluster(
        "an-image-of-another-ray",
        AWS,
        "head_node_type: head",
        "docker: {image: 'rayproject/ray:latest', container_name: ray}\nhead_node_type: head",
        "does not say that it holds Ray 2.60.0",
    ),
    MalformedCluster(
        "a-secret-of-another-program",
        AWS,
        "  - mkdir -p ~/runs",
        "  - export WANDB_API_KEY=0123456789",
        "a secret stands in the file",
    ),
    MalformedCluster(
        "no-number-of-machines",
        LOCAL,
        "idle_timeout_minutes:",
        "min_workers: -1\nidle_timeout_minutes:",
        "is not a number",
    ),
    MalformedCluster("no-key", LOCAL, "~/.ssh/id_ed25519 ", "'' ", "empty: Ray would take whatever key SSH finds"),
]
