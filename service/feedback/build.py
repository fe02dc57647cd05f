"""The build: what must be equal for two machines to compute equal bits."""

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("choirrec-serving", "numpy", "onnxruntime", "onnxruntime-gpu")


@cache
def build_name() -> str:
    """Versions of what computes, and the processor, whose instructions decide the last bits."""
    parts = [f"{name} {found}" for name in _PACKAGES if (found := _version(name))]
    return ", ".join([*parts, platform.machine(), _processor()])


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
