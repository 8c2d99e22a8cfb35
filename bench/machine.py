"""What this machine is: the line above the table, and the processors that a program of N threads gets."""

import os
import pathlib

# In the order in which they are named.
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "asimd", "sve")


def describe():
    cpu = {}
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        cpu.setdefault(key.strip(), value.strip())
    name = cpu.get("model name", os.uname().machine)
    has = set(cpu.get("flags", cpu.get("Features", "")).split())
    flags = [f for f in FLAGS if f in has]
    cores = len(os.sched_getaffinity(0))
    family = f" (family {cpu['cpu family']}, model {cpu['model']})" if "cpu family" in cpu else ""
    system = f"{os.uname().sysname} {os.uname().release}"
    return {
        "cpu": name,
        "cores": cores,
        "flags": flags,
        "system": system,
        "text": f"{name}{family}, {cores} processors, {' '.join(flags)}, {system}",
    }


def processors(n):
    """Of those that this process may use n, one of each core before the second of any."""
    by_core = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        file = pathlib.Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        core = file.read_text() if file.exists() else str(cpu)
        by_core.setdefault(core, []).append(cpu)
    turns = [group[i] for i in range(max(map(len, by_core.values()))) for group in by_core.values() if i < len(group)]
    return set(turns[:n])
