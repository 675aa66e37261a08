"""Rules for `provider: aws`, where Ray's own schema does not look: what the machines are, and who may reach them."""

import ipaddress
import re

from tune_cnn.cluster.report import Report, words
from tune_cnn.config_faults import listing, shown

_IMAGE = re.compile(r"ami-[0-9a-f]{8}([0-9a-f]{9})?")
_GROUP = re.compile(r"sg-[0-9a-f]{8}([0-9a-f]{9})?")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
_PREFIX = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w.-]+)+/?")
_S3 = re.compile(r"s3://([^\s\"']+)")
_FAMILY = re.compile(r"[a-z]+[0-9]+([a-z0-9-]*)")
_WIDEST_V4, _WIDEST_V6 = 16, 32
_LONGEST_IDLE_MINUTES = 60
# What may stand in node_config: the arguments of EC2's RunInstances, and SubnetIds, which is Ray's.
_NODE_CONFIG = words(
    """
    BlockDeviceMappings CapacityReservationSpecification CpuOptions CreditSpecification DisableApiStop
    DisableApiTermination EbsOptimized EnablePrimaryIpv6 EnclaveOptions HibernationOptions IamInstanceProfile ImageId
    InstanceInitiatedShutdownBehavior InstanceMarketOptions InstanceType KernelId KeyName LaunchTemplate
    LicenseSpecifications MaintenanceOptions MetadataOptions Monitoring NetworkInterfaces NetworkPerformanceOptions
    Placement PrivateDnsNameOptions RamdiskId SecurityGroupIds SubnetId SubnetIds TagSpecifications UserData
    """
)


def check_aws(report: Report) -> None:
    """Note what costs, is open, or is left to Ray's defaults."""
    _check_provider(report)
    _check_ssh(report)
    _check_limits(report)
    report.needed("auth", "ssh_user", example="ec2-user")
    node_types = report.section("available_node_types")
    head = report.needed("head_node_type", example="head")
    if isinstance(head, str) and node_types and head not in node_types:
        report.settle(("head_node_type",), f"{shown(head)} is no node type; write {listing(node_types)}")
    if not node_types:
        text = "missing: Ray's default is an Ubuntu 18.04 image, open to the world; write a head and a worker"
        report.fault(("available_node_types",), text)
    for name in node_types:
        _check_node(report, name)
        if name == head:
            _check_head(report, name)
        elif head in node_types:
            _check_worker(report, name)
    _check_one_image(report)
    _check_one_architecture(report)
    _check_bucket(report)
    if len(node_types) == 1:
        report.fault(("available_node_types",), "only a head, so that no trial would ever run; write a worker, too")


def _check_provider(report: Report) -> None:
    region = report.needed("provider", "region", example="eu-central-1")
    if region is not None and not (isinstance(region, str) and _REGION.fullmatch(region)):
        report.fault(("provider", "region"), f"{shown(region)} is no region; write e.g. eu-central-1")
    why = "a stopped machine's disk costs on, with old software on it"
    report.equal(False, "provider", "cache_stopped_nodes", why=why)
    if "security_group" in report.section("provider"):
        text = "Ray opens SSH to the world in a group that it makes; write SecurityGroupIds in each node_config instead"
        report.fault(("provider", "security_group"), text)


def _check_ssh(report: Report) -> None:
    location = ("metadata", "ssh_cidr")
    cidr = report.needed(*location, example="203.0.113.7/32", why="whence SSH may come is left open")
    if cidr is None or report.is_open(cidr):
        return
    try:
        network = ipaddress.ip_network(str(cidr))
    except ValueError:
        report.fault(location, f"{shown(cidr)} is no block of addresses; write e.g. 203.0.113.7/32")
        return
    if network.prefixlen < (widest := _WIDEST_V4 if network.version == 4 else _WIDEST_V6):
        text = f"{shown(cidr)} lets SSH in from {network.num_addresses} addresses; write a block of /{widest} at most"
        report.fault(location, text)


def _check_limits(report: Report) -> None:
    idle = report.needed("idle_timeout_minutes", example="5", why="how long a machine without work is paid for")
    if isinstance(idle, int | float) and not 0 < idle <= _LONGEST_IDLE_MINUTES:
        text = f"{shown(idle)} would pay for idle machines, or for none at all; write 1 to {_LONGEST_IDLE_MINUTES}"
        report.fault(("idle_timeout_minutes",), text)
    most = report.needed("max_workers", example="4", why="how many machines may be paid for")
    minima = [
        report.value("available_node_types", name, "min_workers") for name in report.section("available_node_types")
    ]
    least = sum(number for number in minima if isinstance(number, int))
    if isinstance(most, int) and (most < 1 or most < least):
        report.fault(("max_workers",), f"{most} is too few for {least} min_workers; write {max(least, 1)} or more")


def _check_node(report: Report, name: str) -> None:
    """Note what is wrong with any machine, head or worker."""
    at = ("available_node_types", name, "node_config")
    for written in report.section(*at):
        if written not in _NODE_CONFIG:
            report.unknown((*at, written), _NODE_CONFIG, "EC2's RunInstances takes no such argument; remove it")
    report.needed(*at, "InstanceType", example="g6.xlarge")
    image = report.needed(*at, "ImageId", example="ami-0123456789abcdef0", why="Ray's default is an Ubuntu 18.04")
    if image is not None and not (isinstance(image, str) and _IMAGE.fullmatch(image)):
        report.fault((*at, "ImageId"), f"{shown(image)} is not pinned; write an id, e.g. ami-0123456789abcdef0")
    _check_groups(report, name)
    for unseen in ("LaunchTemplate", "NetworkInterfaces"):
        if report.value(*at, unseen) is not None:
            text = "brings groups of its own, which nothing here looks at; remove it and write SecurityGroupIds"
            report.fault((*at, unseen), text)
    profile = report.section(*at, "IamInstanceProfile")
    if not profile.get("Name") and not profile.get("Arn"):
        text = "missing: the machine would have all rights on S3, or none; write IamInstanceProfile: {Name: PROFILE}"
        report.fault((*at, "IamInstanceProfile"), text)
    why = "whoever tricks a program into a GET reads the machine's credentials"
    report.equal("required", *at, "MetadataOptions", "HttpTokens", why=why)
    _check_disks(report, name)


def _check_groups(report: Report, name: str) -> None:
    at = ("available_node_types", name, "node_config", "SecurityGroupIds")
    if not report.items(*at):
        text = "missing: Ray would make a group that lets SSH in from everywhere; write [sg-0123456789abcdef0]"
        report.fault(at, text)
    for position, group in enumerate(report.items(*at)):
        if not (isinstance(group, str) and _GROUP.fullmatch(group)):
            report.fault((*at, position), f"{shown(group)} is no id of a group; write e.g. sg-0123456789abcdef0")


def _check_disks(report: Report, name: str) -> None:
    at = ("available_node_types", name, "node_config", "BlockDeviceMappings")
    disks = report.items(*at)
    if not disks:
        example = "[{DeviceName: /dev/xvda, Ebs: {VolumeSize: 200, Encrypted: true}}]"
        report.fault(at, f"missing: the image's own disk is not encrypted; write {example}")
    for position in range(len(disks)):
        why = "images and models would lie on it as they are"
        report.equal(True, *at, position, "Ebs", "Encrypted", why=why)
        if report.value(*at, position, "Ebs", "DeleteOnTermination") is False:
            text = "false: the disk would cost on when its machine has gone; write DeleteOnTermination: true"
            report.fault((*at, position, "Ebs", "DeleteOnTermination"), text)


def _check_one_image(report: Report) -> None:
    """Python has to be the same on all machines, and comes with the image."""
    head = report.value("available_node_types", report.value("head_node_type"), "node_config", "ImageId")
    for name in report.section("available_node_types"):
        at = ("available_node_types", name, "node_config", "ImageId")
        if isinstance(head, str) and _IMAGE.fullmatch(head) and (image := report.value(*at)) not in (None, head):
            report.fault(at, f"{shown(image)} is another image than the head's; write {head}")


def _check_one_architecture(report: Report) -> None:
    """An image starts on the processors that it was made for alone, and all machines have the same."""
    nodes = [
        ("available_node_types", name, "node_config", "InstanceType") for name in report.section("available_node_types")
    ]
    types = {at: text for at in nodes if isinstance(text := report.value(*at), str)}
    arm = {at: text for at, text in types.items() if _is_arm(text)}
    others = sorted({text for at, text in types.items() if at not in arm})
    for at, text in arm.items() if others else ():
        what = f"has an ARM processor and {listing(others)} an x86 one, so that no image starts on both"
        report.fault(at, f"{shown(text)} {what}; write an x86 type, e.g. m7i.xlarge or g6.xlarge")


def _is_arm(instance_type: str) -> bool:
    """Whether a type of EC2 is of Graviton or Grace: what stands behind its generation tells, as in `m7g`."""
    family = instance_type.partition(".")[0]
    found = _FAMILY.fullmatch(family)
    return family == "a1" or (found is not None and "g" in found[1])


def _check_bucket(report: Report) -> None:
    """What the machines fetch has to lie where they may read."""
    why = "which part of S3 the machines may use is left open"
    prefix = report.needed("metadata", "bucket_prefix", example="my-bucket/tune-cnn", why=why)
    if not isinstance(prefix, str) or report.is_open(prefix):
        return
    if not _PREFIX.fullmatch(prefix):
        text = f"{shown(prefix)} is no bucket and prefix; write e.g. my-bucket/tune-cnn, not the whole bucket"
        report.fault(("metadata", "bucket_prefix"), text)
    for location, text in report.scalars():
        for place in _S3.findall(text) if isinstance(text, str) else ():
            if not f"{place}/".startswith(f"{prefix.rstrip('/')}/"):
                report.fault(location, f"s3://{place} is not below metadata.bucket_prefix; write s3://{prefix}/…")


def _check_head(report: Report, name: str) -> None:
    at = ("available_node_types", name)
    why = "trials would run on the head and could take the driver down"
    open_to_trials = [resource for resource in ("CPU", "GPU") if report.value(*at, "resources", resource) != 0]
    for resource in open_to_trials[:1]:
        report.equal(0, *at, "resources", resource, why=why, example="resources: {CPU: 0, GPU: 0}")
    if report.section(*at, "node_config", "InstanceMarketOptions"):
        text = "a head that is taken away takes the search's driver along; remove it, so that the head stays"
        report.fault((*at, "node_config", "InstanceMarketOptions"), text)


def _check_worker(report: Report, name: str) -> None:
    at = ("available_node_types", name)
    why = "machines would run, and cost, with nothing to do"
    report.equal(0, *at, "min_workers", why=why)
    most = report.needed(*at, "max_workers", example="4", why="how many of these may be paid for")
    if isinstance(most, int) and most < 1:
        report.fault((*at, "max_workers"), f"{most} means that none would ever come; write 1 or more")
    why = "trials go on after a loss, so the full price buys nothing"
    example = "InstanceMarketOptions: {MarketType: spot}"
    market = (*at, "node_config", "InstanceMarketOptions")
    report.equal("spot", *market, "MarketType", why=why, example=example)
    if report.value(*market, "SpotOptions", "SpotInstanceType") == "persistent":
        text = "'persistent' starts a machine again whenever it was ended, and costs for ever; write one-time"
        report.fault((*market, "SpotOptions", "SpotInstanceType"), text)
    idle = report.value(*at, "idle_timeout_s")
    if isinstance(idle, int | float) and not 0 < idle <= 60 * _LONGEST_IDLE_MINUTES:
        text = f"{shown(idle)} would pay for idle machines; remove it, idle_timeout_minutes is for all"
        report.fault((*at, "idle_timeout_s"), text)
