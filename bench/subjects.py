"""The programs that a comparison runs: ours and oneDNN's anew for each sample, those in Python once, and asked again and again.

What cannot be timed raises Failed, with one line that says why.
"""

import dataclasses
import functools
import json
import os
import pathlib
import select
import subprocess
import time

import machine
from rows import PEERS, PlanCost

HERE = pathlib.Path(__file__).resolve().parent


class Failed(Exception):
    pass


def limited_to(threads):
    cpus = machine.processors(threads)
    return lambda: os.sched_setaffinity(0, cpus)


def reason(command, status, error):
    if status < 0:
        return f"died of signal {-status}"
    lines = [line for line in error.strip().splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else f"{pathlib.Path(command[0]).name} ended with status {status}"


def answer(line):
    try:
        return json.loads(line)
    except ValueError:
        raise Failed(f"no JSON: {line[:100]!r}") from None


class Program:
    """One process for each sample."""

    def __init__(self, command, threads, environment, timeout):
        self.command, self.threads, self.environment, self.timeout = command, threads, environment, timeout
        self.sample(0)  # refuses what it does not offer before anybody else has begun

    def sample(self, seconds):
        try:
            done = subprocess.run(
                [*self.command, "--min-time", str(seconds)],
                capture_output=True,
                text=True,
                env=self.environment,
                timeout=self.timeout,
                preexec_fn=limited_to(self.threads),
            )
        except FileNotFoundError:
            raise Failed(f"{self.command[0]} is not built") from None
        except subprocess.TimeoutExpired:
            raise Failed(f"not done in {self.timeout:.0f} s") from None
        if done.returncode:
            raise Failed(reason(self.command, done.returncode, done.stderr))
        return answer(done.stdout.strip().splitlines()[-1])

    def end(self):
        pass


class Server:
    """One process for the whole row: what it compiles, it compiles once."""

    def __init__(self, command, threads, environment, timeout):
        self.command, self.timeout = command, timeout
        self.process = subprocess.Popen(
            [*command, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            preexec_fn=limited_to(threads),
        )
        try:
            self.read(timeout)
        except Failed:
            self.end()
            raise

    def read(self, timeout):
        # Its errors are read last: more than a pipe holds would stop it, so they are drained here.
        errors, line, end = b"", b"", time.monotonic() + timeout
        streams = [self.process.stdout, self.process.stderr]
        while not line.endswith(b"\n"):
            ready, _, _ = select.select(streams, [], [], max(0, end - time.monotonic()))
            if not ready:
                raise Failed(f"not ready in {timeout:.0f} s")
            for stream in ready:
                part = os.read(stream.fileno(), 65536)
                if not part:
                    streams.remove(stream)
                elif stream is self.process.stdout:
                    line += part
                else:
                    errors = (errors + part)[-10000:]
            if not streams:
                raise Failed(reason(self.command, self.process.wait(), errors.decode(errors="replace")))
        return answer(line.decode().strip().splitlines()[-1])

    def sample(self, seconds):
        try:
            self.process.stdin.write(f"{seconds}\n".encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # read() says why
        return self.read(self.timeout)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                stream.close()
            except BrokenPipeError:
                pass


class Subjects:
    def __init__(self, options):
        self.options = options
        self.rondo = str(options.build / "rondo")
        self.onednn = str(options.build / "rondo_bench_onednn")
        self.plan = str(options.build / "rondo_bench_plan")
        self.versions = self.found()

    def environment(self, name):
        """Of a newer oneDNN: it, and the OpenCL runtime that one built with SYCL finds the processor by, lie in one folder."""
        if name != "onednn_new":
            return None
        libs = self.options.onednn_libs.resolve()
        more = {"LD_LIBRARY_PATH": f"{libs}:{os.environ.get('LD_LIBRARY_PATH', '')}"}
        if (libs / "libintelocl.so").exists():
            more["OCL_ICD_FILENAMES"] = str(libs / "libintelocl.so")
        return {**os.environ, **more}

    def run(self, command, name="", threads=1, folder=None):
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                env=self.environment(name),
                timeout=self.options.timeout,
                preexec_fn=limited_to(threads),
                cwd=folder,
            )
        except (OSError, subprocess.TimeoutExpired) as e:
            raise Failed(str(e)) from None
        if done.returncode:
            raise Failed(reason(command, done.returncode, done.stderr))
        return done.stdout.strip()

    def found(self):
        """{peer: version, or None where it is not there}"""
        versions = dict.fromkeys(p for p in PEERS if p != "fused")
        try:
            versions.update(answer(self.run([self.options.python, str(HERE / "peers.py"), "--versions"])))
        except Failed:
            pass
        for name in ("onednn", "onednn_new"):
            if name == "onednn" or self.options.onednn_libs:
                try:
                    versions[name] = self.run([self.onednn, "--version"], name)
                except Failed:
                    pass
        for name in filter(None, self.options.without.split(",")):
            versions[name] = None
        return versions

    @functools.cached_property
    def training(self):
        """What the vowels demo saves before its first step: the very graph that it trains."""
        demo, folder = (self.options.build / "examples" / "vowels").resolve(), self.options.out
        folder.mkdir(parents=True, exist_ok=True)
        self.run([str(demo), "--epochs", "0", "--threads", "1"], folder=folder)
        return str(folder / "vowels.rondo")

    def command(self, name, task):
        if isinstance(task, PlanCost):
            return [self.plan, *task.arguments()] + (["--model", self.training] if task.figure != "node" else [])
        if name in ("rondo", "fused"):
            task = dataclasses.replace(task, form="fused") if name == "fused" else task
            return [self.rondo, "bench", *task.arguments(), "--json"]
        if self.versions[name] is None:
            raise Failed("not installed")
        if name.startswith("onednn"):
            return [self.onednn, *task.arguments(), "--json"]
        return [self.options.python, str(HERE / "peers.py"), *task.arguments(), "--peer", name]

    def start(self, name, task):
        command = self.command(name, task)
        kind = Program if command[0] in (self.rondo, self.onednn, self.plan) else Server
        return kind(command, task.threads, self.environment(name), self.options.timeout)

    def peaks(self, threads, sizes):
        command = [str(self.options.build / "rondo_bench_peak"), "--threads", str(threads)]
        try:
            return answer(self.run(command + [a for n in sizes for a in ("--bytes", str(n))], threads=threads))
        except Failed:
            return None

    def peak_bytes(self, name, task):
        """Of the workload less that of T=1, B=1: what the program and its libraries take is in both."""
        return self.resident(name, task) - self.resident(name, dataclasses.replace(task, time=1, batch=1))

    def resident(self, name, task):
        """The largest resident size of a process, as the kernel says while it runs: ru_maxrss would count what its parent had."""
        command = [*self.command(name, task), "--min-time", "0.5"]
        try:
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=self.environment(name), preexec_fn=limited_to(task.threads)
            )
        except FileNotFoundError:
            raise Failed(f"{command[0]} is not built") from None
        peak = 0
        while process.poll() is None:
            try:
                status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                break
            peak = max([peak] + [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")])
            time.sleep(0.005)
        error = process.communicate()[1].decode(errors="replace")
        if process.returncode:
            raise Failed(reason(command, process.returncode, error))
        return peak
