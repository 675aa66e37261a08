from collections.abc import Mapping
from pathlib import Path

import pytest

from tune_cnn import machine


def test_at_least_one_cpu_can_be_used() -> None:
    assert machine.usable_cpus() >= 1


V1 = "4:cpu,cpuacct:/box\n2:memory:/box\n0::/\n"


@pytest.mark.parametrize(
    ("groups", "files", "cpus"),
    [
        pytest.param("0::/box\n", {"box/cpu.max": "150000 100000\n"}, 1.5, id="v2"),
        pytest.param("0::/box\n", {"box/cpu.max": "max 100000\n"}, None, id="v2-without-a-quota"),
        pytest.param(
            "0::/pod/box\n",
            {"pod/cpu.max": "200000 100000", "pod/box/cpu.max": "max 100000"},
            2.0,
            id="v2-ruled-from-above",
        ),
        pytest.param("0::/host/box\n", {"cpu.max": "400000 100000"}, 4.0, id="v2-with-the-host-s-path"),
        pytest.param(
            V1,
            {"cpu,cpuacct/box/cpu.cfs_quota_us": "300000", "cpu,cpuacct/box/cpu.cfs_period_us": "100000"},
            3.0,
            id="v1",
        ),
        pytest.param(
            V1, {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5, id="v1-with-the-host-s-path"
        ),
        pytest.param(
            V1, {"cpu/box/cpu.cfs_quota_us": "-1", "cpu/box/cpu.cfs_period_us": "100000"}, None, id="v1-without-a-quota"
        ),
        pytest.param("0::/box\n", {"box/cpu.max": "garbage\n"}, None, id="unreadable"),
        pytest.param("2:memory:/box\n", {"memory/box/cpu.max": "100000 100000"}, None, id="another-controller"),
    ],
)
def test_the_quota_of_a_control_group_is_found(
    groups: str, files: Mapping[str, str], cpus: float | None, tmp_path: Path
) -> None:
    for name, text in {"proc/self/cgroup": groups, **{f"sys/fs/cgroup/{name}": files[name] for name in files}}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert machine.cgroup_cpus(tmp_path) == cpus


def test_a_machine_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert machine.cgroup_cpus(tmp_path) is None


@pytest.mark.parametrize(
    ("affinity", "quota", "usable"),
    [
        pytest.param(8, None, 8, id="no-quota"),
        pytest.param(8, 2.5, 2, id="whole-cpus-only"),
        pytest.param(8, 0.5, 1, id="half-a-cpu-still-runs-one-trial"),
        pytest.param(2, 16.0, 2, id="a-quota-beyond-the-machine"),
    ],
)
def test_whole_cpus_within_the_quota_are_usable(affinity: int, quota: float | None, usable: int) -> None:
    assert machine.within_quota(affinity, quota) == usable


@pytest.mark.skipif(not machine._CLEAR_REFS.exists(), reason="only Linux can forget a peak")
def test_the_peak_of_the_past_is_forgotten() -> None:
    machine.reset_peak_memory()
    before = machine.peak_memory_mb()
    block = b"x" * (300 * 2**20)
    assert machine.peak_memory_mb() >= before + 250
    del block
    machine.reset_peak_memory()
    assert machine.peak_memory_mb() <= before + 100


def test_the_kills_of_the_kernel_for_memory_are_counted(tmp_path: Path) -> None:
    assert machine.oom_kills(tmp_path) == 0
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "vmstat").write_text("pgmajfault 12\noom_kill 7\ndrop_pagecache 0\n")
    assert machine.oom_kills(tmp_path) == 7
