# SPDX-License-Identifier: BSD-3-Clause
"""The programs and fixtures of the end-to-end tests."""
import importlib.util
import pathlib
import sys

E2E = pathlib.Path(__file__).resolve().parents[1] / "e2e"
sys.path.append(str(E2E))

# Every directory has a module of this name.
spec = importlib.util.spec_from_file_location("e2e_fixtures", E2E / "conftest.py")
fixtures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fixtures)
run, tmp, what_is_tested = fixtures.run, fixtures.tmp, fixtures.what_is_tested
