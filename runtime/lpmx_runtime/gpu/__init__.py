"""GPUs in a container.

What the host has: nvidia.py, rocm.py, cdi.py. What was asked for: request.py, choose.py. Whether
image and driver fit: cuda.py. Where things appear inside: expose.py.

A driver has two halves that must match: the kernel's, and libraries like libcuda.so.1 that come
with it. So the libraries are the host's, shown in the container's own library folder, one by one:
nothing else of the host's folder comes along. Devices are not hidden from anyone: choosing some
sets CUDA_VISIBLE_DEVICES, as a batch system does.
"""
