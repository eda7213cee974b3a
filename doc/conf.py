# SPDX-License-Identifier: BSD-3-Clause
"""Sphinx configuration: `make doc` builds HTML into build/doc."""
project = 'hvnetvsc'
copyright = '2026, the hvnetvsc authors'
master_doc = 'index'
extensions = []
exclude_patterns = []
html_theme = 'alabaster'
