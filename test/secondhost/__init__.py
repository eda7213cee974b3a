# SPDX-License-Identifier: BSD-3-Clause
"""A second Hyper-V network host, written from the protocol's description alone.

It shares no code, header or constant with the host, the libraries and the driver of this
project, so that a mistake they agree on is seen here. It is not fast; it is strict: whatever a
guest must not do is recorded (rules.py), and a test ends with an empty record.
"""
