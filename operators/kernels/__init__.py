"""Kernels over Arrow buffers: pure functions of offsets and bytes, compiled with numba."""
