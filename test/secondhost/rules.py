# SPDX-License-Identifier: BSD-3-Clause
"""What the guest did wrong, in words."""


class Rules:
    """A record of broken rules; the host goes on, as far as it can."""

    def __init__(self):
        self.broken = []

    def check(self, holds, text):
        """A rule that must hold; whether it does."""
        if not holds and len(self.broken) < 100:
            self.broken.append(text)
        return bool(holds)

    def equal(self, value, wanted, what):
        return self.check(value == wanted, f"{what} is {value!r}, must be {wanted!r}")

    def zero(self, data, what):
        """Bytes that nobody reads must not carry what the guest's memory held before."""
        return self.check(not any(data), f"{what} not zero: {bytes(data).hex()}")
