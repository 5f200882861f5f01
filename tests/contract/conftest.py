from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

# importlib mode has no sys.path entry for helpers beside the tests
_spec = importlib.util.spec_from_file_location("contract_helpers", Path(__file__).with_name("helpers.py"))
assert _spec is not None
assert _spec.loader is not None
_helpers = importlib.util.module_from_spec(_spec)
sys.modules["contract_helpers"] = _helpers
_spec.loader.exec_module(_helpers)
