"""What the machine is found to have, as container and driver tell it."""

from __future__ import annotations

import os
from pathlib import Path

from voxterra.core.machine import disk_free_bytes
from voxterra.pipeline import machine


def test_this_machine_has_something_of_everything(tmp_path):
    facts = machine.this_machine_facts()
    assert 1 <= facts.cores <= (os.cpu_count() or 1)
    if facts.memory_bytes is not None and facts.available_bytes is not None:
        assert 1e8 < facts.available_bytes <= facts.memory_bytes
    free = disk_free_bytes(tmp_path / "not" / "yet" / "there")
    assert free is not None and free > 0


def test_a_container_sets_the_limits(tmp_path: Path, monkeypatch):
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "memory.max").write_text("1000000000\n")
    (tmp_path / "memory.current").write_text("600000000\n")
    (tmp_path / "memory.stat").write_text("anon 400000000\ninactive_file 200000000\n")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert machine.cores() == 2
    assert machine.memory() == (1_000_000_000, 600_000_000)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.cores() == 16 and machine.memory()[0] != 1_000_000_000


def test_gpus_are_as_the_driver_lists_them(tmp_path: Path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA A, B 80GB, 81559, 580.1'\necho 'garbage'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert machine.gpus() == (machine.Gpu("NVIDIA A, B 80GB", 81559 << 20, "580.1"),)
    program.write_text("#!/bin/sh\necho 'Failed to initialize NVML'\nexit 9\n")
    assert machine.gpus() == ()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert machine.gpus() == ()
