"""Names the arrays that the package passes around."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Ranked = tuple[IntArray, FloatArray]  # Rows and their similarities, best first, equal ones by row.
