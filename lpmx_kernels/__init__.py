"""Container images as Jupyter kernels: kernel specs, their launcher and the kernel provisioner."""

from __future__ import annotations
