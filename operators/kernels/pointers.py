"""Arrays without their owners: what a kernel hands to the functions that it calls in its inner loop.

Numba passes an array as seven words and counts its uses, with an atomic addition at each call. A pointer is one word and is indexed in
the same way; it has no length, a negative index is not counted from the end, and the array must outlive it. Against arrays this made the
English words 2 to 4 times as fast.
"""

from __future__ import annotations

from typing import Any

from numba.core import cgutils, types
from numba.extending import intrinsic


@intrinsic
def pointer(typing_context: Any, array: Any) -> Any:  # noqa: ARG001  the typing context comes with every intrinsic
    """Pointer to the first item of a contiguous array with one dimension, for kernels."""
    if not isinstance(array, types.Array) or array.ndim != 1 or array.layout != "C":
        return None

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        structure = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=arguments[0])
        return structure.data

    made: Any = types
    return made.CPointer(array.dtype)(array), code
