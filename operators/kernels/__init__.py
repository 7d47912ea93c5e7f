"""Kernels over Arrow buffers: pure functions that release the GIL and make no Python object a document."""
