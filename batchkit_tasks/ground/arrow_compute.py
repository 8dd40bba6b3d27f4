"""Arrow's compute functions, without the types of its stubs.

The stubs refuse plain values, which the functions take.
"""

from __future__ import annotations

from typing import Any

import pyarrow.compute

pc: Any = pyarrow.compute
