"""Where the checkout is that is tested: two folders up, or ECHELONGYM_CHECKOUT where tests run on a wheel from elsewhere."""

import os
from pathlib import Path

CHECKOUT = Path(os.environ.get("ECHELONGYM_CHECKOUT", Path(__file__).resolve().parents[2]))
