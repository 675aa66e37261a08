"""Rules for `provider: local`: a cluster of machines of one's own."""

from tune_cnn.cluster.report import Report
from tune_cnn.config_faults import shown


def check_machines(report: Report) -> None:
    """Note what keeps the machines from being reached, or some of them from being used."""
    if "coordinator_address" in report.section("provider"):
        text = "a coordinator hands machines out to anyone who asks; write head_ip and worker_ips instead"
        report.fault(("provider", "coordinator_address"), text)
    report.needed("provider", "head_ip", example="HEAD")
    report.needed("provider", "worker_ips", example="[WORKER], or [] for none")
    report.needed("auth", "ssh_user", example="USER")
    report.needed("auth", "ssh_private_key", example="~/.ssh/id_ed25519", why="Ray would take whatever key SSH finds")
    if "available_node_types" in report.section():
        text = "not for machines of one's own, they are all of one type; remove it"
        report.fault(("available_node_types",), text)
    _check_names(report)
    _check_all_are_used(report)
    least = report.value("min_workers")
    if least is not None and not (isinstance(least, int) and not isinstance(least, bool) and least >= 0):
        report.fault(("min_workers",), f"{shown(least)} is not a number of machines; write 0 or more")


def _check_names(report: Report) -> None:
    workers = report.items("provider", "worker_ips")
    for position, worker in enumerate(workers):
        location = ("provider", "worker_ips", position)
        if not isinstance(worker, str):
            report.fault(location, f"{shown(worker)} is not a name or address; write it in quotes")
        elif worker in workers[:position] or worker == report.value("provider", "head_ip"):
            report.fault(location, f"{shown(worker)} is named twice; write every machine once")


def _check_all_are_used(report: Report) -> None:
    """Ray's second autoscaler counts the head as one of the workers here, and so leaves the last machine out."""
    commands = [text for text in report.items("head_start_ray_commands") if isinstance(text, str)]
    starts = [text for text in commands if "ray start" in text]
    if report.items("provider", "worker_ips") and starts and "RAY_enable_autoscaler_v2=0" not in starts[0]:
        text = "Ray would leave the last machine out; write RAY_enable_autoscaler_v2=0 before ray start --head"
        report.fault(("head_start_ray_commands", commands.index(starts[0])), text)
